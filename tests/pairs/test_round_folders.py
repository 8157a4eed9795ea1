import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.round_folders import complete_rounds, round_folder, vouched_pairs
from tests.tiny import PAIR


def test_a_round_is_complete_with_its_manifest(tmp_path):
    with pytest.raises(ConfigError, match=r"no complete round yet: run fit first"):
        complete_rounds(tmp_path)
    for index in (10, 2, 0, 1):
        Journal(round_folder(tmp_path, index)).finish([PAIR], [], {})
    (round_folder(tmp_path, 1) / "manifest.json").unlink()
    assert complete_rounds(tmp_path) == [0, 2, 10]
    assert complete_rounds(tmp_path, [10, 0, 10]) == [0, 10]
    with pytest.raises(ConfigError, match=r"no round 1: its complete rounds are \[0, 2, 10\]"):
        complete_rounds(tmp_path, [0, 1])


def test_pairs_are_those_that_the_manifest_vouches_for(tmp_path):
    Journal(tmp_path).finish([PAIR, PAIR], [], {})
    assert vouched_pairs(tmp_path) == 2
    path = tmp_path / "pairs.jsonl"
    path.write_text(path.read_text().replace("Because", "because"))
    with pytest.raises(CorpusError, match=r"pairs\.jsonl was changed"):
        vouched_pairs(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(CorpusError, match="is damaged"):
        vouched_pairs(tmp_path)
