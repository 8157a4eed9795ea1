"""Invented chains of facts: what an item is made of, and what of a response is right."""

import re

import pytest

from preflexor_pl.tasks import Item, MultiHop

TASK = MultiHop((1, 2, 3))
ITEM = Item(
    id="x",
    question="At how many degrees does the Velmar pump soften?",
    answer="340 degrees",
    shown=(
        "The Velmar pump is made of Kelbrit.\nThe Dorin pump is made of Sumal.\n"
        "Kelbrit softens at 340 degrees.\nSumal softens at 77 degrees."
    ),
    level=2,
    details={
        "number": "340",
        "chain": ("The Velmar pump is made of Kelbrit.", "Kelbrit softens at 340 degrees."),
    },
)


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_an_item_holds_its_chain_among_others(split, level):
    for item in TASK.items(split, level, 0, 20):
        facts = item.shown.split("\n")
        assert len(facts) == len(set(facts)) == 4 * level
        assert set(item.source.split("\n")) == set(item.details["chain"]) < set(facts)
        assert len(item.details["chain"]) == level
        assert TASK.check(item, item.answer) == "right"
        assert TASK.check_thinking(item, " ".join(item.details["chain"])) == "right"
        assert item.prompt == f"{item.shown}\n\n{item.question}"


def test_items_are_pure_functions_of_seed_split_level_and_number():
    assert TASK.items("train", 2, 5, 3) == TASK.items("train", 2, 0, 8)[5:]
    assert MultiHop((2,), seed=1).items("train", 2, 0, 1) != TASK.items("train", 2, 0, 1)
    items = [item for split in ("train", "held_out") for item in TASK.items(split, 2, 0, 50)]
    assert len({item.id for item in items}) == len({item.prompt for item in items}) == 100


def test_held_out_names_and_relation_words_are_never_trained_on():
    def words(split):
        items = [item for level in TASK.levels for item in TASK.items(split, level, 0, 200)]
        text = " ".join(item.prompt for item in items)
        names = set(re.findall(r"(?<=[ \n])[A-Z][a-z]+", text)) - {"The"}
        return names - {"At", "How", "For", "To", "In", "Under", "Over"}, text

    (trained, train_text), (held, held_text) = words("train"), words("held_out")
    assert not trained & held
    assert len(held) > 300
    for phrase in ("is coated with", "was written by", "is attacked by", "wrote", "cracks under"):
        assert phrase in held_text
        assert phrase not in train_text


def test_worked_examples_are_of_no_split():
    shown = {one.item.prompt for one in TASK.worked}
    for split in ("train", "held_out"):
        assert not shown & {
            i.prompt for level in (1, 2, 3) for i in TASK.items(split, level, 0, 99)
        }
    assert [one.item.level for one in TASK.worked] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("340 degrees", "right"),
        ("It softens at 340.", "right"),
        ("The answer is 340, so 340.", "right"),
        ("77 degrees", "wrong"),
        ("340 or 77 degrees", "wrong"),  # who names all numbers is not right
        ("3400", "wrong"),
        ("", "unreadable"),
        ("It softens.", "unreadable"),
    ],
)
def test_an_answer_is_right_where_its_one_number_is(answer, verdict):
    assert TASK.check(ITEM, answer) == verdict


@pytest.mark.parametrize(
    ("thinking", "verdict"),
    [
        ("The Velmar pump is made of Kelbrit. Kelbrit softens at 340 degrees.", "right"),
        ("Kelbrit softens at 340 degrees; the Velmar pump is made of Kelbrit", "right"),
        ("First, the Velmar pump is made of Kelbrit, which softens at 340 degrees.", "right"),
        ("The Velmar pump is made of Kelbrit and Kelbrit softens at 340 degrees.", "right"),
        (
            "The Velmar pump is made of Kelbrit. Kelbrit softens at 340 degrees. "
            "So the Velmar pump softens at 340 degrees.",
            "right",
        ),
        (
            "The Velmar pump is made of Kelbrit. Kelbrit softens at 340 degrees. "
            "Thus, this pump softens at 340 degrees.",
            "right",
        ),
        (  # more facts than are needed, all of them given
            "Sumal softens at 77 degrees. The Velmar pump is made of Kelbrit. "
            "Kelbrit softens at 340 degrees.",
            "right",
        ),
        ("The Velmar pump is made of Kelbrit.", "wrong"),  # a hop short
        ("Kelbrit softens at 340 degrees.", "wrong"),
        ("The Velmar pump is made of Sumal. Sumal softens at 77 degrees.", "wrong"),
        ("The Velmar pump is made of steel. Kelbrit softens at 340 degrees.", "wrong"),
        ("The Velmar pump is not made of Kelbrit. Kelbrit softens at 340 degrees.", "wrong"),
        ("The Velmar pump is made of Kelbrit. Kelbrit softens at 341 degrees.", "wrong"),
        ("The answer is 340 degrees.", "wrong"),
        ("", "unreadable"),
        ("...", "unreadable"),
    ],
)
def test_thinking_is_right_where_the_whole_chain_is_said_and_nothing_else(thinking, verdict):
    assert TASK.check_thinking(ITEM, thinking) == verdict


def test_a_text_without_end_is_checked_up_to_a_limit():
    assert TASK.check(ITEM, "9" * 10**6) == "wrong"
    assert TASK.check_thinking(ITEM, "a, " * 10**6) == "unreadable"


@pytest.mark.parametrize("hops", [(), (0,), (2, 1), (1, 4), (1, 1)])
def test_other_hops_are_refused(hops):
    with pytest.raises(ValueError, match=r"data\.task\.hops"):
        MultiHop(hops)
