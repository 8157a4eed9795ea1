import json
from dataclasses import asdict, replace

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.markers import DEFAULT
from preflexor_pl.pairs.pair import question_key, read_pairs
from tests.tiny import PAIR


def test_one_line_a_pair_and_back(tmp_path):
    pairs = [PAIR, replace(PAIR, id="0000-0002", rejected="Ünï\ncode \\ \t 絹")]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(pair.to_json() + "\n" for pair in pairs), encoding="utf-8")
    assert read_pairs(path) == pairs
    assert json.loads(path.read_text(encoding="utf-8").split("\n")[0])["prompt"] == PAIR.prompt


def test_a_file_without_grounding_is_read(tmp_path):
    record = asdict(replace(PAIR, grounding=0.5, invented_numbers=2))
    old = {name: record[name] for name in record if name not in ("grounding", "invented_numbers")}
    lines = [json.dumps(old), json.dumps(record), PAIR.to_json()]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    read = read_pairs(tmp_path / "pairs.jsonl")
    assert [pair.grounding for pair in read] == [None, 0.5, None]
    assert [pair.invented_numbers for pair in read] == [None, 2, None]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_line_separators_inside_a_text_end_no_line(tmp_path, separator):
    pair = replace(PAIR, rejected=f"one{separator}two")
    path = tmp_path / "pairs.jsonl"
    path.write_text(pair.to_json() + "\n", encoding="utf-8")
    assert read_pairs(path) == [pair]


NO_NUMBER = PAIR.to_json().replace('"round": 0', '"round": "0"')
NOT_TEXT = PAIR.to_json().replace('"Because."', "5"), PAIR.to_json().replace("Beca", r"\ud800")
OTHER_TYPES = [
    json.dumps(asdict(PAIR) | {name: value})
    for name, value in [
        *(("topic", None), ("teacher", 1), ("finish_reason", ["stop"])),
        *(("chunk_ids", None), ("chunk_ids", "silk.md#0"), ("chunk_ids", [1])),
        *(("grounding", "0.5"), ("grounding", True), ("invented_numbers", 0.5)),
        *(("chunk_ids", ["\ud800"]), ("seed", 2**63), ("round", 0.5), ("policy_step", True)),
    ]
]
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", '"text"', '{"id": "0000-0001"}', *NOT_TEXT, NO_NUMBER, *OTHER_TYPES, DEEP],
    ids=lambda line: line[:9],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, line):
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{PAIR.to_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"pairs\.jsonl:2 is not a preference pair"):
        read_pairs(path)


def test_a_last_line_may_lack_its_end(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(f"{PAIR.to_json()}\n{PAIR.to_json()}", encoding="utf-8")
    assert read_pairs(tmp_path / "pairs.jsonl") == [PAIR, PAIR]


def test_a_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "pairs.jsonl").write_bytes("Faß".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"pairs\.jsonl is not UTF-8"):
        read_pairs(tmp_path / "pairs.jsonl")


def test_a_question_is_a_prompt_without_its_trigger():
    assert DEFAULT.question(PAIR.prompt) == "Why is silk tough?"


def test_questions_are_the_same_whatever_their_case_and_spaces():
    assert question_key(" Why  is\nSILK tough?") == question_key("Why is silk tough?")
    assert question_key("Why is silk tough?") != question_key("Why is silk rough?")
