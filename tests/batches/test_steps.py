import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflexor_pl.batches.steps import StepLoader, micro_batches
from preflexor_pl.batches.tokenized import TokenizedPair


def pair(name, length=4):
    """A pair whose longer side has ``length`` tokens."""
    return TokenizedPair(str(name), [1], [2] * (length - 1), [3])


def names(batches):
    return [[p.id for p in batch] for batch in batches]


def loader(epoch=0, seed=0, count=10, per_step=4):
    """Steps whose micro-batches are lists of ids."""
    pairs = [pair(n) for n in range(count)]
    return StepLoader(pairs, lambda batch: [p.id for p in batch], per_step, 10**6, seed, epoch)


def flat(steps):
    return [sorted(name for batch in step for name in batch) for step in steps]


def test_micro_batches_go_from_long_to_short_within_the_budget():
    pairs = [pair("a", 3), pair("b", 10), pair("c", 4), pair("d", 5), pair("e", 30)]
    # A pair is two rows: 2 * 30 is too much and stands alone; 2 * 2 * 10 = 40, 2 * 2 * 4 = 16.
    assert names(micro_batches(pairs, 40)) == [["e"], ["b", "d"], ["c", "a"]]
    assert names(micro_batches(pairs, 39)) == [["e"], ["b"], ["d", "c", "a"]]
    assert names(micro_batches(pairs, 1)) == [["e"], ["b"], ["d"], ["c"], ["a"]]
    assert micro_batches([], 40) == []


@settings(max_examples=50, deadline=None)  # machines are shared
@given(st.lists(st.integers(2, 60), max_size=20), st.integers(1, 400))
def test_micro_batches_lose_nothing_and_keep_the_budget(lengths, budget):
    pairs = [pair(place, length) for place, length in enumerate(lengths)]
    batches = micro_batches(pairs, budget)
    assert sorted(p.id for batch in batches for p in batch) == sorted(p.id for p in pairs)
    for batch in batches:
        tokens = 2 * len(batch) * max(p.longest for p in batch)
        assert tokens <= budget or len(batch) == 1
    assert batches == micro_batches(pairs[::-1], budget)


def test_an_epoch_holds_every_pair_once_and_its_last_step_the_rest():
    steps = list(loader())
    assert [len(step[0]) for step in steps] == [4, 4, 2]
    assert len(loader()) == 3
    assert {name for step in flat(steps) for name in step} == {str(n) for n in range(10)}


def test_the_order_follows_from_seed_and_epoch():
    assert flat(loader(1)) == flat(loader(1))
    assert len({str(flat(loader(epoch, seed))) for epoch in range(4) for seed in range(4)}) == 16


def test_micro_batches_of_a_step_follow_the_budget():
    pairs = [pair(n, 10) for n in range(4)]
    (step,) = StepLoader(pairs, lambda batch: [p.id for p in batch], 4, 40, 0, 0)
    assert [len(batch) for batch in step] == [2, 2]


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_loader_goes_on_where_another_stopped(done):
    whole = list(loader(1))
    first = loader(1)
    steps = iter(first)
    for _ in range(done):
        next(steps)
    second = loader(1)
    second.load_state_dict(first.state_dict())
    assert list(second) == whole[done:]
    assert list(second) == whole  # once only


def test_the_state_of_a_finished_or_of_another_epoch_starts_at_the_beginning():
    done = loader(1)
    list(done)
    for epoch in (1, 2):
        following = loader(epoch)
        following.load_state_dict(done.state_dict())
        assert list(following) == list(loader(epoch))
    half = loader(1)
    next(iter(half))
    other = loader(2)
    other.load_state_dict(half.state_dict())
    assert list(other) == list(loader(2))
