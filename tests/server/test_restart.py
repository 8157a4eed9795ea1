"""A round whose teacher goes away anywhere ends as one left alone, and pays for no text twice."""

import json
import signal
import time

import pytest

from preflexor_pl.core.errors import TeacherError
from preflexor_pl.server.generator import RemoteGenerator
from tests.scripted import GOOD, SUBJECTS, make_round, scripted_maker
from tests.server.bad_server import Answer, BadServer, good, status

pytestmark = pytest.mark.usefixtures("short_waits")

STAGES = {41: "question", 42: "thinking", 43: "answer"}


def script(call):
    """Good texts, but nacre's first question is of no use and bone's answers cannot be read."""
    stage = STAGES[call.body["max_tokens"]]
    subject = next(s for s in SUBJECTS if f"subject: {s}" in call.prompt)
    if (stage, subject, call.body["temperature"]) == ("question", "nacre", 0.25):
        return good("Nacre is strong.")
    return (
        Answer(b"") if (stage, subject) == ("answer", "bone") else good(GOOD[stage].format(subject))
    )


def play(folder, until=10**9, **settings):
    """A round of 3 pairs whose server fails from call ``until`` on: the texts that it gave."""
    with BadServer(lambda c: script(c) if c.number < until else status(500)) as server:
        settings = {"tries": 2, "in_flight": 4} | settings
        maker = scripted_maker(RemoteGenerator(server.settings(**settings)))
        try:
            make_round(maker, folder, 3, 0)
        except TeacherError:
            assert not (folder / "manifest.json").exists()
    answered = [call for call in server.calls[:until] if script(call).body]
    return [(call.prompt, call.body["temperature"], call.seed) for call in answered]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, play(folder)


def test_the_script_has_drops_and_second_tries(undisturbed):
    folder, given = undisturbed
    assert len(given) == len(set(given)) > 15
    assert len((folder / "pairs.jsonl").read_text().splitlines()) == 3
    [drop] = [json.loads(line) for line in (folder / "drops.jsonl").read_text().splitlines()]
    assert drop["reason"] == "server_not_json"


@pytest.mark.parametrize("until", range(0, 21, 3))
def test_a_server_that_goes_away_anywhere_changes_nothing(undisturbed, tmp_path, until):
    whole, given = undisturbed
    first = play(tmp_path, until)
    second = play(tmp_path)
    assert first or not until
    assert sorted(first + second) == sorted(given)  # nothing missing, nothing twice
    for name in ("pairs.jsonl", "drops.jsonl", "manifest.json", "plan.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_budget_a_command_leads_to_the_same_round(undisturbed, tmp_path):
    whole, given = undisturbed
    made, commands = [], 0
    while not (tmp_path / "manifest.json").exists():
        made, commands = made + play(tmp_path, max_calls=6), commands + 1
    assert sorted(made) == sorted(given)
    assert commands >= len(given) / 6
    assert (tmp_path / "pairs.jsonl").read_bytes() == (whole / "pairs.jsonl").read_bytes()


class Died(BaseException):
    """Stands for Stopped."""


def test_a_signal_ends_the_waiting_and_no_text_that_had_come_is_lost(tmp_path):
    def die(*_):
        raise Died

    before = signal.signal(signal.SIGALRM, die)
    try:
        with BadServer(lambda c: script(c) if c.number < 6 else good(seconds=60)) as server:
            maker = scripted_maker(RemoteGenerator(server.settings(in_flight=2)))
            started = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 2)
            with pytest.raises(Died):
                make_round(maker, tmp_path, 3, 0)
            assert time.monotonic() - started < 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(server.calls) == 8  # two were in flight
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 6
