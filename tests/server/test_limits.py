"""What a server may cost and for how long it is waited for; and that its key is shown nowhere."""

import time
import traceback
from email.utils import formatdate

import pytest

from preflexor_pl.core.errors import ConfigError, TeacherError
from preflexor_pl.server.replies import redacted, seconds_to_wait
from tests.server.bad_server import GOOD, BadServer, ask, failure, first_then_good, good, status

pytestmark = pytest.mark.usefixtures("short_waits")

KEY = "sk-live-0123456789abcdefghij"


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY)
    return {"api_key_env": "TEACHER_KEY"}


def kept_of(generator, requests):
    """How many texts came, and the line of the error."""
    kept = []
    with pytest.raises(TeacherError) as raised:
        generator.complete_each(requests, lambda place, made: kept.append(made))
    assert kept == [GOOD] * len(kept)
    return len(kept), str(raised.value)


def test_retry_after_is_waited_for_by_every_call():
    with BadServer(first_then_good(status(429, Retry_After="0.4"))) as server:
        generator, requests = ask(server, 2, in_flight=1)
        assert generator.complete(requests) == [GOOD, GOOD]
    refused, *others = (call.at for call in server.calls)
    assert len(others) == 2
    assert min(others) - refused >= 0.4


@pytest.mark.parametrize("seconds", [0.0, 0.03])
def test_told_to_stop_it_ends_with_an_error_and_keeps_what_was_in_flight(seconds):
    with BadServer(lambda call: good(seconds=seconds)) as server:
        generator, requests = ask(server, 400, in_flight=2)
        kept = []

        def keep(place, made):
            kept.append(made)
            generator.stopping = len(kept) >= 2

        with pytest.raises(TeacherError, match="was told to stop"):
            generator.complete_each(requests, keep)
    assert kept == [GOOD] * len(server.calls)
    assert 2 <= len(kept) < 400


def test_a_server_that_wants_an_hour_is_asked_another_time():
    with BadServer(lambda call: status(429, Retry_After="3600")) as server:
        started = time.monotonic()
        line = failure(*ask(server, 4, in_flight=1))
    assert time.monotonic() - started < 5
    assert len(server.calls) == 1
    assert "asks to be left alone for 3600 s" in line


def test_waiting_is_within_the_budget_of_time():
    with BadServer(lambda call: status(503, Retry_After="90")) as server:
        started = time.monotonic()
        line = failure(*ask(server, max_minutes=1))
    assert time.monotonic() - started < 5
    assert "data.teacher.server.max_minutes" in line


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("1.5", 1.5), ("-3", 0), (None, 0), ("", 0), ("soon", 0), ("nan", 0), ("inf", 0)],
)
def test_retry_after_in_seconds(header, seconds):
    assert seconds_to_wait(header) == seconds


def test_retry_after_as_a_date():
    at = formatdate(time.time() + 100, usegmt=True)
    assert 98 <= seconds_to_wait(at) <= 100
    assert seconds_to_wait(formatdate(0)) == 0


def test_calls_run_out():
    with BadServer() as server:
        generator, requests = ask(server, 5, max_calls=3)
        count, line = kept_of(generator, requests)
    assert count == len(server.calls) == 3
    assert line.startswith("data.teacher.server.max_calls: the 3 of one command are used up")
    assert "the same command goes on from here with as many again" in line


def test_a_second_try_is_a_call_too():
    with BadServer(lambda call: status(500)) as server:
        kept_of(*ask(server, max_calls=3))
    assert len(server.calls) == 3


def test_tokens_run_out():
    with BadServer() as server:  # 10 tokens a call
        count, line = kept_of(*ask(server, 9, max_tokens=25, in_flight=1))
    assert (count, len(server.calls)) == (3, 3)
    assert line.startswith("data.teacher.server.max_tokens")


def test_time_runs_out_and_counts_asking_only():
    with BadServer(lambda call: good(seconds=0.4)) as server:
        warm, requests = ask(server, 9)
        warm.complete(requests[:1])
        generator, requests = ask(server, 9, max_minutes=0.02, in_flight=1)
        assert generator.complete(requests[:1]) == [GOOD]  # 0.4 s of 1.2
        time.sleep(1)  # a model is trained
        count, line = kept_of(generator, requests[1:])
    assert count == 2  # they end at 0.8 and 1.2 s
    assert line.startswith("data.teacher.server.max_minutes")


def test_calls_begin_at_the_rate():
    with BadServer() as server:
        generator, requests = ask(server, 5, requests_per_minute=600)
        assert generator.complete(requests) == [GOOD] * 5
    times = [call.at for call in server.calls]
    assert times[-1] - times[0] >= 0.3  # four gaps of 0.1 s; a late first arrival shortens one


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (401, "check the key (TEACHER_KEY)"),
        (403, "this key (TEACHER_KEY) may not use the model"),
        (404, "check base_url, which mostly ends in /v1, and model"),
        (400, "no request like this will be answered"),
        (402, "no request like this will be answered"),
    ],
)
def test_what_will_not_pass_ends_at_once_and_shows_no_key(code, advice, key, caplog):
    caplog.set_level("DEBUG")
    echo = f"no such thing for Bearer {KEY} or {KEY[3:20]}"
    with BadServer(lambda call: status(code, echo)) as server:
        generator, requests = ask(server, 9, in_flight=1, **key)
        with pytest.raises(TeacherError) as raised:
            generator.complete(requests)
    assert len(server.calls) == 1
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
    line = str(raised.value)
    assert f"status {code}" in line
    assert advice in line
    shown = "".join(traceback.format_exception(raised.value)) + caplog.text + repr(generator)
    assert not any(KEY[i : i + 8] in shown for i in range(len(KEY) - 7))


def test_an_account_without_credit_is_not_asked_again():
    with BadServer(lambda call: status(429, "pay first", "insufficient_quota")) as server:
        line = failure(*ask(server))
    assert len(server.calls) == 1
    assert "pay first" in line


def test_only_pieces_of_the_key_are_hidden():
    assert redacted(f"key {KEY}!", KEY) == "key ***!"
    assert redacted(f"key {KEY[:8]}", KEY) == "key ***"
    assert redacted(f"key {KEY[:7]}...", KEY) == "key sk-live..."
    assert redacted("a\x1b[2Jb\n c", KEY) == "a [2Jb c"
    assert redacted("a line", "") == "a line"


@pytest.mark.parametrize("value", [None, "", "  ", "sk\nlive", "sk-\u00e9"])
def test_a_key_that_is_none_is_a_config_error(value, monkeypatch):
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEACHER_KEY", value)
    with BadServer() as server:
        generator, requests = ask(server, api_key_env="TEACHER_KEY")
        with pytest.raises(ConfigError, match="api_key_env: the environment variable TEACHER_KEY"):
            generator.complete(requests)
        assert server.calls == []


def test_no_other_key_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with BadServer() as server:
        generator, requests = ask(server)
        generator.complete(requests)
    assert "authorization" not in server.calls[0].headers
