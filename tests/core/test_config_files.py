"""Config files are YAML 1.2: what is meant as text stays text, and nothing is said twice."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from preflexor_pl.core.config_files import dump_yaml, load_yaml, parse_yaml, read_config
from preflexor_pl.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no, yes, on, off, n, y]", ["no", "yes", "on", "off", "n", "y"]),
        ("[true, False, TRUE]", [True, False, True]),
        ("{on: 1, off: 2}", {"on": 1, "off": 2}),
        ("[1:30, 2026-01-01, 1_000]", ["1:30", "2026-01-01", "1_000"]),
        ("[010, 0o10, 0x1F, -3]", [10, 8, 31, -3]),
        ("[1e-3, 5.0e-7, .5, 2., .inf]", [1e-3, 5e-7, 0.5, 2.0, float("inf")]),
        ("[null, ~, '']", [None, None, ""]),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
    ],
)
def test_values_are_those_of_yaml_1_2_and_come_back_from_what_is_written(text, value):
    assert load_yaml(text) == value
    assert load_yaml(dump_yaml(value)) == value


@pytest.mark.parametrize(
    "text", ["off", "010", "1e-3", "0o10", "true", "1:30", "", "~", "a: b", "-"]
)
def test_text_that_looks_like_something_else_is_quoted(text):
    assert load_yaml(dump_yaml([text])) == [text]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\nb: 2\na: 3\n", 3), ("m:\n  lr: 1\n  lr: 1\n", 3), ("a: {x: 1, x: 2}", 1)],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(text, line):
    with pytest.raises(ConfigError, match=rf"f\.yaml, line {line}: the key .* again"):
        parse_yaml(text, Path("f.yaml"))


def test_a_byte_order_mark_is_no_key(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfdata: {held_out: 1}\n")
    assert read_config(tmp_path / "a.yaml") == {"data": {"held_out": 1}}


class Kind(StrEnum):
    STEP = "step"


def test_defaults_of_other_classes_are_written_as_a_config_gives_them():
    values = [Kind.STEP, Path("a/b"), timedelta(days=1, hours=2, minutes=3, seconds=4)]
    assert load_yaml(dump_yaml(values)) == ["step", "a/b", "01:02:03:04"]
