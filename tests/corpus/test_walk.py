"""A walk over a circle of 24 points, whose neighbours are those beside them."""

import numpy as np
import pytest

from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.corpus.walk import REACH, STRIDE, walk

N = 24
IDS = [f"{n:02d}" for n in range(N)]


@pytest.fixture(scope="module")
def circle():
    angles = 2 * np.pi * np.arange(N) / N
    return CorpusGraph.build(IDS, np.stack([np.cos(angles), np.sin(angles)], 1).astype("f4"))


def apart(a, b):
    steps = abs(int(a) - int(b))
    return min(steps, N - steps)


def test_a_walk_starts_where_it_is_told_and_comes_to_nothing_twice(circle):
    for seed in range(20):
        found = walk(circle, "05", 5, seed)
        assert found[0] == "05"
        assert len(set(found)) == len(found) == 5


def test_a_walk_gets_farther_than_the_nearest_neighbours(circle):
    reached = [max(apart("00", id) for id in walk(circle, "00", 3, seed)) for seed in range(40)]
    assert max(apart("00", id) for id in circle.neighbours("00", 2)[0]) == 1
    assert np.mean(reached) > 3
    assert max(reached) <= REACH * STRIDE * 2


def test_the_seed_decides_and_the_limits_hold(circle):
    assert walk(circle, "00", 4, 1) == walk(circle, "00", 4, 1)
    assert len({tuple(walk(circle, "00", 4, seed)) for seed in range(9)}) > 1
    within = IDS[:5]
    for seed in range(9):
        assert set(walk(circle, "00", 3, seed, within)) <= set(within)


def test_a_walk_that_finds_no_way_on_is_shorter(circle):
    assert walk(circle, "00", 5, 0, IDS[:3]) == ["00"]  # two steps, and three make a stride
    assert len(walk(circle, "00", 5, 0, IDS[:4])) == 2


def test_bad_requests_are_refused(circle):
    with pytest.raises(ValueError, match="at least 1"):
        walk(circle, "00", 0, 0)
    with pytest.raises(ValueError, match="not in the graph"):
        walk(circle, "no", 2, 0)
