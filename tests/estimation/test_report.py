"""Money, time and budgets: numbers that can be checked by hand."""

import pytest

from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.estimation.report import Rates, report
from preflexor_pl.estimation.round_cost import Cost, RoundCost

FOUR_SECONDS = Rates(seconds_per_call=4)
COST = Cost(calls=120, prompt=1000, completion=6000, most=6500)


def told(rates=FOUR_SECONDS, done=(), here=False, **settings):
    """The report on a round of 120 calls and held-out pairs without any."""
    server = ServerSettings("http://localhost:1/v1", "m", in_flight=4, **settings)
    one = RoundCost("round-0000", 8, 8, {("teacher", "answer"): COST})
    parts = [RoundCost("held_out", 2, 2, {}), one]
    servers = {} if here else {"teacher": ("key", server)}
    return "\n".join(report(parts, done, servers, rates))


def test_time():
    # 120 calls of 4 s, 4 at a time: 120 s. At 40 calls a minute: 3 minutes.
    assert "Server time: 2.0 minutes, 4 calls at a time" in told()
    assert "Server time: 3.0 minutes" in told(requests_per_minute=40)
    # 6000 tokens, 50 a second: 120 s.
    assert "Time of this machine: 2.0 minutes" in told(Rates(tokens_per_second=50), here=True)
    unknown = told(Rates())
    assert "Server time: unknown; give --seconds_per_call" in unknown
    assert "Time of this machine: unknown; give --tokens_per_second" in unknown


def test_money():
    lines = told(Rates(price_in=1000, price_out=2000))
    assert "\nMoney: 13.000, at most 14.000\n" in lines  # 1000 x 1e-3 + 6000 or 6500 x 2e-3
    assert "Money: unknown; give --price_in and --price_out" in told()
    assert "Money" not in told(here=True)


def test_what_is_complete_costs_nothing_more():
    lines = told(done=["round-0000"])
    assert "Complete: round-0000; what follows is for the rest" in lines
    assert "The teacher, m at localhost: 0 calls" in lines


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        ({"max_calls": 120}, "max_calls: 120 suffices: 120 are expected"),
        ({"max_calls": 119}, "max_calls: 119 is too small: 120 are expected"),
        ({"max_calls": 30}, "exit code 4 and must be given 4 times"),
        ({"max_tokens": 7500}, "max_tokens: 7500 suffices: 7000 are expected"),
        ({"max_tokens": 7000}, "max_tokens: 7000 suffices for the 7000 expected, not for the most"),
        ({"max_tokens": 6999}, "max_tokens: 6999 is too small: 7000 are expected"),
        ({"max_minutes": 2}, "max_minutes: 2 suffices: 2 are expected"),
        ({"max_minutes": 1.5}, "max_minutes: 1.5 is too small"),
    ],
    ids=str,
)
def test_budgets(budget, line):
    assert line in told(**budget)


def test_a_budget_of_time_without_a_time():
    line = "key.max_minutes: 5 cannot be compared without --seconds_per_call"
    assert line in told(Rates(), max_minutes=5)
