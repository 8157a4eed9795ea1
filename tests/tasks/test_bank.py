"""A bank of questions: where its rows come from, what is refused, and how they are split."""

import json
from collections import Counter
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.tasks.bank import QuestionBank
from preflexor_pl.tasks.task import Task

ROOT = Path(__file__).parents[2]
ROW = {"question": "How stiff is it?", "answer": "4 GPa"}
CHOICE = {"id": "c", "kind": "choice", "question": "Which?", "answer": "wax"}


def rows(count, **more):
    return [{"question": f"What is {n} + 0?", "answer": n, **more} for n in range(count)]


def all_items(bank, split):
    return [item for level in bank.levels for item in bank.items(split, level, 0, 10**6)]


def first(row, **more):
    """The item of a row, with another row beside it."""
    bank = QuestionBank([row, {"id": "other", **ROW}], **more)
    [item] = [
        one
        for split in ("train", "held_out")
        for one in all_items(bank, split)
        if one.id != "other"
    ]
    return bank, item


# Where rows come from


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "saved", "folder", "hub"])
def test_every_source_gives_the_same_items(tmp_path, monkeypatch, name):
    import datasets
    from huggingface_hub import constants

    source = [{"id": str(n), "question": f"{n}?", "answer": "x", "level": None} for n in range(9)]
    path, made = tmp_path / name, datasets.Dataset.from_list(source)
    text = "".join(json.dumps(row) + "\n" for row in source)
    if name == "a.jsonl":
        path.write_text(text)
    elif name == "a.json":
        path.write_text(json.dumps(source))
    elif name == "a.parquet":
        made.to_parquet(path)
    elif name == "saved":
        made.save_to_disk(path)
    elif name == "folder":
        path.mkdir()
        (path / "train.jsonl").write_text(text)
        (path / "test.jsonl").write_text("not read")
    else:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        folder, commit = tmp_path / "datasets--someone--bank", "0" * 40
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "train.jsonl").write_text(text)
        path = "someone/bank"
    assert QuestionBank(str(path)).identity == QuestionBank(source).identity
    assert len(all_items(QuestionBank(str(path)), "train")) == 7


def test_a_row_is_an_item_with_all_its_columns():
    row = ROW | {"id": 7, "kind": "number", "shown": "Facts.", "context": "Silk.", "level": 3}
    row |= {"document": "silk.md", "unit": "MPa", "tolerance": 100}
    bank, item = first(row)
    assert (item.id, item.shown, item.source) == ("7", "Facts.", "Silk.")
    assert (item.level, item.group, item.prompt) == (3, "silk.md", "Facts.\n\nHow stiff is it?")
    assert item.details == {"kind": "number", "unit": "MPa", "tolerance": 100.0}
    said = {"3.95 GPa": "right", "3800 MPa": "wrong", "soft": "unreadable"}
    assert {answer: bank.check(item, answer) for answer in said} == said
    assert bank.check_thinking(item, "It is stiff.") is None


def test_a_row_may_have_a_question_and_an_answer_alone():
    bank, item = first({"question": "2 + 2?", "answer": 4})
    assert (len(item.id), item.group, item.level, item.source) == (16, item.id, 1, "")
    assert item == first({"question": "2 + 2?", "answer": 4})[1]
    assert [bank.check(item, one) for one in ("4", "four", "")] == ["right", "wrong", "unreadable"]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"answer": "Wax"}, {"wax."}),
        ({"answer": "Wax", "kind": "exact"}, {"wax."}),
        ({"answer": "wax", "kind": "one_of", "accept": ["paraffin"]}, {"wax.", "paraffin"}),
        ({"answer": "wax", "kind": "contains"}, {"wax.", "It is wax, 5 m"}),
        ({"answer": 5, "kind": "number"}, {"5", "It is wax, 5 m"}),
        ({"answer": 5, "kind": "number", "unit": "cm"}, {"5"}),
        ({"answer": "wax", "kind": "choice", "distractors": ["5", "paraffin"]}, {"wax."}),
    ],
)
def test_each_kind_is_checked_in_its_way(row, right):
    bank, item = first({"question": "Which?", **row})
    said = ["wax.", "paraffin", "5", "It is wax, 5 m"]
    if row.get("kind") == "choice":
        said.remove("It is wax, 5 m")  # it names two
    assert {answer for answer in said if bank.check(item, answer) == "right"} == right
    assert bank.check(item, item.answer) == "right"


def test_rows_without_a_kind_have_that_of_the_bank():
    bank, item = first({"question": "2 + 2?", "answer": 4}, checker="number")
    assert bank.check(item, "It is 4.0") == "right"


def test_a_choice_shows_its_options_with_the_right_one_in_a_place_by_its_id():
    places = Counter()
    for n in range(200):
        _, item = first(CHOICE | {"id": f"c{n}", "distractors": ["bark", "steel", "sugar"]})
        letter, _, text = item.answer.partition(": ")
        assert text == "wax"
        assert item.question.splitlines()[1 + "ABCD".index(letter)] == f"{letter}: wax"
        assert item.question.endswith("\nAnswer with the letter of the right option.")
        places[letter] += 1
    assert set(places) == set("ABCD")
    assert max(places.values()) < 75


def test_the_answer_to_a_choice_may_be_a_letter_of_its_options():
    bank, item = first(CHOICE | {"answer": "B", "options": ["bark", "wax", "steel"]})
    assert item.answer.endswith(": wax")
    assert bank.check(item, "wax") == "right"
    _, item = first(CHOICE | {"answer": "B", "options": ["A", "B"]})
    assert item.answer.endswith(": B")


def test_a_check_of_ones_own_has_the_columns_that_the_bank_does_not_know(tmp_path, monkeypatch):
    monkeypatch.setattr("preflexor_pl.tasks.user_check.module_path", [str(tmp_path)])
    text = "def even(answer, item):\n    return int(answer) % item.details['base'] == 0\n"
    (tmp_path / "own_checks.py").write_text(text)
    row = {"question": "An even number?", "answer": "2", "kind": "own_checks:even", "base": 2}
    bank, item = first(row)
    assert item.details == {"kind": "own_checks:even", "base": 2}
    said = {"4": "right", "3": "wrong", "four": "unreadable"}
    assert {answer: bank.check(item, answer) for answer in said} == said
    with pytest.raises(ConfigError, match=r"^data\.task: the check own_checks:odd cannot be used"):
        QuestionBank([row, row | {"id": "x", "kind": "own_checks:odd"}])


# What is refused


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("text", "it is a str, not an object"),
        ({}, "it has no question"),
        ({"question": "Why?"}, "it has no answer"),
        (ROW | {"question": " "}, "it has no question"),
        (ROW | {"answer": True}, "answer is True, must be a text"),
        (ROW | {"answer": ["a"]}, "answer is .'a'., must be a text"),
        (ROW | {"kind": "open"}, "kind is 'open', must be exact, one_of, .* or module:function"),
        (ROW | {"level": 0}, "level is 0, must be a whole number from 1 on"),
        (ROW | {"level": "hard"}, "level is 'hard'"),
        (ROW | {"group": 3}, "group is 3, must be a text"),
        (ROW | {"kind": "contains", "accept": "wax"}, "accept is 'wax', must be a list"),
        (ROW | {"kind": "one_of", "accept": [" "]}, "' ' says nothing"),
        (ROW | {"kind": "choice"}, "2 to 26 options that differ"),
        (ROW | {"kind": "choice", "options": ["a", "b"]}, "'4 GPa' is none of its options"),
        (CHOICE | {"answer": "AB", "options": ["a", "b"]}, "'AB' is none of its options"),
        (CHOICE | {"distractors": ["bark", "Bark"]}, "2 to 26 options that differ"),
        (CHOICE | {"distractors": ["bark", 3]}, "distractors is .*, must be a list of texts"),
        (ROW | {"kind": "number", "answer": "many"}, "the answer 'many' holds no number"),
        (ROW | {"kind": "number", "unit": "K"}, "the answer '4 GPa' cannot be given in K"),
        (ROW | {"kind": "number", "unit": "wings"}, "'wings' is no unit"),
        (ROW | {"kind": "number", "tolerance": "1"}, "tolerance is '1', must be a number"),
        (ROW | {"kind": "number", "tolerance": -1}, "tolerance is -1.0, must be >= 0"),
    ],
)
def test_a_bad_row_is_named_by_its_place(tmp_path, row, told):
    path = tmp_path / "bank.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n\n{json.dumps(row)}\n")
    with pytest.raises(
        CorpusError, match=rf"^data\.task: .*bank\.jsonl:3 is no question: .*{told}"
    ):
        QuestionBank(str(path))


def test_an_id_that_is_there_twice_is_refused():
    with pytest.raises(CorpusError, match="row 1 has the id a of row 0: give each row an id"):
        QuestionBank([ROW | {"id": "a"}, {"id": "a", "question": "What?", "answer": "x"}])
    with pytest.raises(CorpusError, match=r"row 1 has the id .*row without one"):
        QuestionBank([ROW, ROW])


@pytest.mark.parametrize(
    ("source", "error", "told"),
    [
        ("none.jsonl", ConfigError, "there is no 'none.jsonl'; give a file"),
        ([], CorpusError, "there is not one row"),
        (7, ValueError, r"\.source: got 'int'"),
        ([ROW], ConfigError, "all rows are of the group .*give rows of two groups"),
        (rows(3, group="g"), ConfigError, "all rows are of the group 'g'"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(source, error, told):
    with pytest.raises(error, match=rf"^data\.task.*{told}"):
        QuestionBank(source)


@pytest.mark.parametrize(
    "settings", [{"held_out": 0.0}, {"held_out": 1.0}, {"worked": -1}, {"checker": "fuzzy"}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    [name] = settings
    with pytest.raises(ValueError, match=rf"^data\.task\.{name}: got"):
        QuestionBank(rows(4), **settings)


# How rows are split


def test_groups_are_on_one_side_each():
    source = [row | {"group": f"g{n // 3}"} for n, row in enumerate(rows(30))]
    bank = QuestionBank(source)
    groups = {
        split: {item.group for item in all_items(bank, split)} for split in ("train", "held_out")
    }
    assert not groups["train"] & groups["held_out"]
    assert (len(groups["train"]), len(groups["held_out"])) == (8, 2)
    assert sum(len(all_items(bank, split)) for split in groups) == 30


def test_the_split_and_the_order_follow_from_the_rows_and_the_seed():
    one, again = QuestionBank(rows(50)), QuestionBank(rows(50)[::-1])
    other = QuestionBank(rows(50), seed=1)
    for split in ("train", "held_out"):
        assert all_items(one, split) == all_items(again, split)  # whatever their order in the file
        assert {i.id for i in all_items(one, split)} != {i.id for i in all_items(other, split)}
    items = all_items(one, "train")
    assert [int(item.answer) for item in items] != sorted(int(item.answer) for item in items)
    assert one.items("train", 1, 5, 3) == items[5:8]
    assert one.items("train", 1, 38, 9) == items[38:]
    assert one.items("train", 2, 0, 9) == one.items("train", 1, 99, 9) == []


@pytest.mark.parametrize(("share", "held"), [(0.01, 1), (0.5, 2), (0.99, 3)])
def test_both_sides_have_an_item(share, held):
    bank = QuestionBank(rows(4), held_out=share)
    assert len(all_items(bank, "held_out")) == held


def test_levels_are_those_to_train_on_the_easiest_first():
    bank = QuestionBank([*rows(9, level=3), *(ROW | {"id": str(n)} for n in range(9))])
    assert list(bank.levels) == [1, 3]
    assert {item.level for item in bank.items("train", 3, 0, 99)} == {3}


def test_worked_rows_are_the_first_to_train_on_and_in_neither_split():
    source = [row | {"thinking": "It stays." * (n % 2)} for n, row in enumerate(rows(20))]
    bank, plain = QuestionBank(source, worked=3), QuestionBank(source)
    train = {item.id: int(item.answer) for item in all_items(plain, "train")}
    first_ones = sorted(number for number in train.values() if number % 2)[:3]
    assert [int(one.item.answer) for one in bank.worked] == first_ones
    assert {one.thinking for one in bank.worked} == {"It stays."}
    assert all_items(bank, "held_out") == all_items(plain, "held_out")
    left = [int(item.answer) for item in all_items(bank, "train")]
    assert sorted([*left, *first_ones]) == sorted(train.values())
    assert plain.worked == []


def test_too_few_worked_rows_are_refused():
    with pytest.raises(ConfigError, match=r"^data\.task\.worked: 1 are wanted, but 0 .*lower it"):
        QuestionBank(rows(4), worked=1)
    with pytest.raises(ConfigError, match=r"^data\.task\.worked: 3 leaves no row to train on"):
        QuestionBank(rows(4, thinking="So."), worked=3)


def test_what_the_items_follow_from_is_their_identity():
    source = rows(6, thinking="So.")
    banks = [
        QuestionBank(source),
        QuestionBank(source[:5]),
        QuestionBank([source[0] | {"answer": "x"}, *source[1:]]),
        QuestionBank(source, held_out=0.5),
        QuestionBank(source, worked=1),
        QuestionBank(source, checker="contains"),
        QuestionBank(source, seed=1),
    ]
    assert len({bank.identity for bank in banks}) == len(banks)
    assert QuestionBank(source).identity == banks[0].identity
    assert isinstance(banks[0], Task)


def test_a_config_names_a_bank_by_its_class(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(4)))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--task", type=str | Task | None)
    settings = {"source": str(tmp_path / "a.jsonl"), "held_out": 0.5}
    named = {"class_path": "preflexor_pl.tasks.QuestionBank", "init_args": settings}
    made = parser.instantiate(parser.parse_object({"task": named})).task
    assert made.identity == QuestionBank(**settings).identity


# The shipped questions are a bank

FACTS = QuestionBank(str(ROOT / "facts/items.jsonl"))
SHIPPED = [json.loads(line) for line in (ROOT / "facts/items.jsonl").read_text().splitlines()]


def test_every_shipped_question_tells_its_answer_from_what_is_wrong():
    items = {item.id: item for split in ("train", "held_out") for item in all_items(FACTS, split)}
    assert set(items) == {row["id"] for row in SHIPPED}
    for row in SHIPPED:
        item = items[row["id"]]
        assert FACTS.check(item, item.answer) == FACTS.check(item, row["answer"]) == "right"
        assert [d for d in row["distractors"] if FACTS.check(item, d) != "wrong"] == []
        assert FACTS.check(item, "") == "unreadable"
        assert item.group == (row["document"] or row["id"])


def test_documents_of_shipped_questions_are_held_out_whole():
    held = {item.group for item in all_items(FACTS, "held_out")}
    assert not held & {item.group for item in all_items(FACTS, "train")}
    assert any(name.endswith(".md") for name in held)
