"""Which items a round asks: levels in turn, or the frontier of the pass rates."""

from collections import Counter

from preflexor_pl.pairs.item_choice import ItemTries, choose_items, level_rates
from preflexor_pl.tasks import Item, MultiHop

TASK = MultiHop((1, 2, 3))


class Few:
    """Three items of one level."""

    identity, levels, worked = "few", (1,), ()

    def items(self, split, level, start, count):
        return [Item(f"i{n}", "?", "!") for n in range(3)][start : start + count]


def history(level, right, tries=4, round=0, count=4, first=0):
    return [
        ItemTries(f"train-{level}-{n:05d}", level, round, tries, right)
        for n in range(first, first + count)
    ]


def by_level(items):
    return dict(Counter(item.level for item in items))


def test_levels_take_turns():
    assert by_level(choose_items(TASK, "train", 9)) == {1: 3, 2: 3, 3: 3}


def test_an_item_is_not_asked_again_before_all_others():
    first = choose_items(TASK, "train", 6)
    asked = [ItemTries(item.id, item.level, 0, 4, 2) for item in first]
    assert not {i.id for i in first} & {i.id for i in choose_items(TASK, "train", 6, asked)}
    old = [ItemTries("i1", 1, 0, 4, 2)]
    assert [i.id for i in choose_items(Few(), "train", 9, old)] == ["i0", "i2", "i1"]


def test_the_frontier_begins_at_the_first_level():
    assert by_level(choose_items(TASK, "train", 8, (), frontier=True)) == {1: 8}


def test_a_level_that_is_passed_raises_the_frontier_and_stays_with_a_share():
    passed = history(1, right=4)
    assert by_level(choose_items(TASK, "train", 8, passed, frontier=True)) == {2: 6, 1: 2}
    both = passed + history(2, right=4, round=1)
    assert by_level(choose_items(TASK, "train", 8, both, frontier=True)) == {3: 6, 1: 1, 2: 1}
    all_passed = both + history(3, right=4, round=2)
    assert by_level(choose_items(TASK, "train", 8, all_passed, frontier=True))[3] == 6


def test_a_level_is_judged_by_the_last_round_that_asked_it():
    fell = history(1, right=4) + history(1, right=1, round=1, first=50)
    assert level_rates(fell) == {1: 0.25}
    assert by_level(choose_items(TASK, "train", 8, fell, frontier=True)) == {1: 8}


def test_items_of_middling_pass_rate_alternate_with_new_ones():
    known = history(1, right=2, count=9) + history(1, right=0, first=9) + history(1, 4, first=13)
    for wanted in (8, 192):  # a round stops long before the end of what is planned
        chosen = [item.id for item in choose_items(TASK, "train", wanted, known, frontier=True)]
        assert len(chosen) == len(set(chosen)) == wanted
        places = [id in {one.item for one in known[:9]} for id in chosen[:8]]
        assert places == [True, False] * 4
        assert not {one.item for one in known[9:]} & {*chosen[:8]}


def test_a_level_is_judged_by_items_that_were_new():
    """Those that were asked again are there because they were right half of the time."""
    known = history(1, right=2) + history(1, right=2, round=1) + history(1, 4, round=1, first=50)
    assert level_rates(known) == {1: 1.0}
    assert level_rates(history(1, right=2) + history(1, right=1, round=1)) == {1: 0.25}


def test_a_bank_that_is_used_up_gives_what_was_asked_least_and_longest_ago():
    tries = [ItemTries("i0", 1, 2, 4, 2), ItemTries("i1", 1, 0, 4, 2), ItemTries("i2", 1, 1, 4, 2)]
    assert [i.id for i in choose_items(Few(), "train", 3, tries)] == ["i1", "i2", "i0"]
    tries.append(ItemTries("i1", 1, 3, 4, 2))
    assert [i.id for i in choose_items(Few(), "train", 3, tries)] == ["i2", "i0", "i1"]


class Gap(Few):
    """Its second level has no items."""

    levels = (1, 2)

    def items(self, split, level, start, count):
        return super().items(split, level, start, count) if level == 1 else []


def test_a_level_without_items_is_passed_over():
    passed = [ItemTries("i0", 1, 0, 4, 4)]
    assert len(choose_items(Gap(), "train", 3, passed, frontier=True)) == 3
    assert len(choose_items(Gap(), "held_out", 3)) == 3


def test_a_bank_that_is_at_its_end_gives_what_it_has():
    asked = [ItemTries(f"i{n}", 1, 0, 4, 2) for n in range(3)]
    assert len(choose_items(Few(), "train", 9, asked, frontier=True)) == 3
