"""Own pairs that are written with other markers than the configured ones are refused by name."""

import json
from dataclasses import asdict

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.pairs.own_pair import OwnPair
from preflexor_pl.pairs.own_pairs import OwnPairs, OwnSet, read_own

TAGS = MarkerStrings("<think>", "</think>", "<reflect>", "</reflect>")
OWN = MarkerStrings("[[t]]", "[[/t]]", "[[r]]", "[[/r]]")
ROW = {"prompt": "Why?", "chosen": "It bends.", "rejected": "No."}
THOUGHT = "<|thinking|>\nIt bends.\n<|/thinking|>\nSo it bends."
REFLECTED = "\n<reflect>\nNo, it is\n</reflect>\nSo."


@pytest.mark.parametrize(
    ("markers", "row", "told"),
    [
        (DEFAULT, {"chosen": "<think>\nHm, why?\n</think>\nSo."}, "chosen .*<think> </think>"),
        (DEFAULT, {"rejected": "Hm, why?\n</think>\n\nSo."}, "rejected .*</think>, and"),
        (DEFAULT, {"rejected": "<think>\nHm, why does"}, "rejected .* <think>, and"),
        (DEFAULT, {"chosen": "[THINK]Hm, why?[/THINK]So."}, r"chosen .*\[THINK\] \[/THINK\]"),
        (DEFAULT, {"chosen": THOUGHT + REFLECTED}, "chosen .*<reflect> </reflect>"),
        (DEFAULT, {"prompt": "Why? Use <think>."}, "prompt .*Use <think>., and"),
        (TAGS, {"chosen": THOUGHT}, r"chosen .* <\|thinking\|> <\|/thinking\|>, and .*is <think> "),
        (TAGS, {"prompt": f"Why?{DEFAULT.suffix}"}, r"prompt .*Use <\|thinking\|>., and"),
    ],
)
def test_other_markers_are_refused_by_row_and_text(markers, row, told):
    with pytest.raises(CorpusError, match=rf"^data\.pairs: row 1: {told}.*model.policy.markers"):
        read_own([ROW, ROW | row], None, markers)


@pytest.mark.parametrize(
    ("markers", "row"),
    [
        (DEFAULT, {"chosen": THOUGHT, "prompt": f"Why?{DEFAULT.suffix}"}),
        (TAGS, {"chosen": "<think>\nHm, why?\n</think>\nSo.", "prompt": f"Why?{TAGS.suffix}"}),
        (DEFAULT, {"chosen": "DeepSeek-R1 thinks between <think> and </think>."}),
        (DEFAULT, {"chosen": "The tag `<think>` opens a section, `</think>` closes it."}),
        (DEFAULT, {"prompt": "Which tag makes a text bold? Use <b>."}),
        (DEFAULT, {"prompt": "What is <think> good for?"}),
        (DEFAULT, {"chosen": "See [the reasons] and <reasons@example.org>."}),
    ],
)
def test_the_configured_markers_and_texts_about_tags_are_taken(markers, row):
    row = ROW | row
    assert read_own([row], None, markers) == [OwnPair(**row)]


def test_markers_on_record_with_a_round_are_known(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(ROW | {"chosen": "[[t]] Hm, why? [[/t]] So."}) + "\n")
    assert len(read_own(str(path), None)) == 1  # nothing says that they are markers
    (tmp_path / "manifest.json").write_text(json.dumps({"markers": asdict(OWN)}))
    with pytest.raises(CorpusError, match=r"pairs.jsonl:1: chosen .*\[\[t\]\] \[\[/t\]\], and"):
        read_own(str(path), None)
    assert len(read_own(str(path), None, OWN)) == 1


def test_the_markers_of_the_run_are_those_that_count():
    rows = [
        ROW | {"prompt": f"Why {n}?", "chosen": f"<think>\nHm, {n}?\n</think>\nSo."}
        for n in range(3)
    ]
    assert len(OwnSet(OwnPairs(rows), 2, None, 0, TAGS).train) == 1
    with pytest.raises(CorpusError, match="row 0: chosen"):
        OwnSet(OwnPairs(rows), 2, None, 0)
