"""The old name of a key is answered with the new one, wherever it is given."""

import pytest

from preflexor_pl.cli.config_keys import RENAMED
from tests.tiny import refused


@pytest.mark.parametrize("flag", [["--data.overlap=false"], ["--data.overlap", "false"]])
def test_a_flag_is_answered_with_its_new_name(train, flag):
    refused(train(*flag), 2, "data.overlap is now data.prefetch")


@pytest.mark.parametrize("line", ["  overlap: true\n", "  overlap:\n"])
def test_a_config_file_is_named(train, line):
    refused(train(text=train.ok + line), 2, "mine.yaml: data.overlap is now data.prefetch")


def test_a_dotted_key_of_a_file_is_known_too(train):
    text = train.ok + "data.overlap: true\n"
    refused(train(text=text), 2, "data.overlap is now data.prefetch")


@pytest.mark.parametrize("key", RENAMED.values())
def test_the_new_name_is_a_key(train, key):
    _, _, stderr = train(f"--{key}=[1]")
    assert key in stderr
    assert "is now" not in stderr
    assert "did you mean" not in stderr
