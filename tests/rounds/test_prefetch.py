"""A round that is made ahead in a thread."""

import threading
from types import SimpleNamespace

import pytest

from preflexor_pl.core.errors import TeacherError
from preflexor_pl.rounds.prefetch import RoundPrefetcher


def test_every_round_is_begun_once_and_waited_for(capsys):
    made, go = [], threading.Event()

    def prepare(index):
        go.wait(10)
        made.append(index)

    ahead = RoundPrefetcher(prepare, SimpleNamespace(stopping=False))
    ahead.begin(1)
    ahead.begin(1)
    assert made == []  # it does not wait
    go.set()
    ahead.finish()
    ahead.finish()
    ahead.begin(2)
    ahead.finish()
    assert made == [1, 2]
    assert "round 2" in capsys.readouterr().out


def test_a_teacher_that_fails_is_told_and_left_to_the_round(capsys):
    def prepare(index):
        raise TeacherError("data.teacher.server: it sleeps")

    ahead = RoundPrefetcher(prepare, SimpleNamespace(stopping=False))
    ahead.begin(3)
    ahead.finish()
    assert "round 3: not all could be made ahead: data.teacher.server" in capsys.readouterr().out


@pytest.mark.parametrize("end", [RoundPrefetcher.finish, RoundPrefetcher.abandon])
def test_a_fault_in_the_code_is_not_swallowed(end):
    def prepare(index):
        raise KeyError("x")

    ahead = RoundPrefetcher(prepare, SimpleNamespace(stopping=False))
    ahead.begin(3)
    with pytest.raises(KeyError):
        end(ahead)


def test_to_abandon_has_the_teacher_stop_and_can_be_followed_by_another():
    teacher = SimpleNamespace(stopping=False)
    ended = []

    def prepare(index):
        while not teacher.stopping:
            threading.Event().wait(0.01)
        ended.append(index)

    ahead = RoundPrefetcher(prepare, teacher)
    ahead.abandon()
    ahead.begin(1)
    ahead.abandon()
    assert (ended, teacher.stopping) == ([1], False)
