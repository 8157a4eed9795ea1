"""A server as the teacher: what it is sent, and what each way to fail ends in."""

import gzip
import re
import socket
import time

import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.generator import ConcurrentGenerator, Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.server import http_client
from preflexor_pl.server.generator import RemoteGenerator
from tests.server.bad_server import (
    GOOD,
    Answer,
    BadServer,
    ask,
    failure,
    first_then_good,
    good,
    status,
)

pytestmark = pytest.mark.usefixtures("short_waits")


def test_a_request_is_sent_as_chat_with_what_the_api_knows():
    sampling = Sampling(max_new_tokens=9, temperature=0.4, top_p=0.8, repetition_penalty=1.2)
    request = Request("Why?", "Teach.", sampling, 2**40 + 5, (("Q", "A"),), ("\n", ". "))
    with BadServer() as server:
        generator = RemoteGenerator(server.settings(model="big"))
        assert generator.complete([request]) == [GOOD]
    assert server.calls[0].body == {
        "model": "big",
        "messages": [
            {"role": "system", "content": "Teach."},
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "Why?"},
        ],
        "max_tokens": 9,
        "temperature": 0.4,
        "top_p": 0.8,
        "seed": 5,  # what is left of it below 2**31
        "stop": ["\n", ". "],
    }
    assert generator.name == "big at 127.0.0.1"
    assert isinstance(generator, ConcurrentGenerator)


def test_texts_come_in_the_order_of_their_requests_and_are_kept_as_they_come():
    slow = {"Why 1?": good("slow", seconds=0.3)}
    with BadServer(lambda call: slow.get(call.prompt) or good(call.prompt)) as server:
        generator, requests = ask(server, 4, in_flight=2)
        kept = []
        generator.complete_each(requests, lambda place, made: kept.append((place, made.text)))
        assert kept == [(1, "Why 2?"), (2, "Why 3?"), (3, "Why 4?"), (0, "slow")]
        watched = []
        made = generator.complete(requests, watch=lambda place, text: watched.append(place))
    assert [m.text for m in made] == ["slow", "Why 2?", "Why 3?", "Why 4?"]
    assert watched == [1, 2, 3, 0]


def test_calls_overlap():
    latency, calls, at_once = 0.2, 32, 16
    with BadServer(lambda call: good(seconds=latency)) as server:
        generator, requests = ask(server, calls, in_flight=at_once)
        generator.complete(requests[:1])  # what is imported once is not counted
        started = time.monotonic()
        assert generator.complete(requests) == [GOOD] * calls
        assert time.monotonic() - started < calls * latency / 2
    assert server.most_at_once == at_once


PASSING = {
    "dropped": (Answer(drop=True), "broke off"),
    "slow": (good(seconds=5), "no answer in 0.25 s"),
    "429": (status(429, "too fast"), "status 429, .*too fast"),
    "500": (status(500, "oops"), "status 500, .*oops"),
    "503": (Answer(b"<html>Busy</html>", 503), "status 503, <html>Busy"),
    "endless": (Answer(b"x" * 3000), "over"),
    "packed": (Answer(gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}), "compressed"),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_failure_that_may_pass_is_tried_again(name, monkeypatch):
    monkeypatch.setattr(http_client, "MAX_REPLY_BYTES", 2000)
    with BadServer(first_then_good(PASSING[name][0])) as server:
        generator, requests = ask(server, timeout_seconds=0.25)
        assert generator.complete(requests) == [GOOD]
    assert [call.seed for call in server.calls] == [1, 1]  # it was heard the same


@pytest.mark.parametrize("name", PASSING)
def test_a_failure_that_stays_ends_after_the_tries(name, monkeypatch):
    monkeypatch.setattr(http_client, "MAX_REPLY_BYTES", 2000)
    answer, reason = PASSING[name]
    with BadServer(lambda call: answer) as server:
        generator, requests = ask(server, timeout_seconds=0.25, tries=3)
        line = failure(generator, requests)
    assert len(server.calls) == 3
    assert "m at 127.0.0.1 failed 3 times" in line
    assert re.search(reason, line)


def test_nobody_listens():
    with BadServer() as server:
        pass  # its port is free again
    line = failure(*ask(server, tries=2))
    assert re.search(r"failed 2 times, .*cannot be reached \(.+\)", line)


def test_a_server_that_never_answers_a_connection():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        server = BadServer()
        server.url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        line = failure(*ask(server, tries=2, timeout_seconds=0.1))
    assert "no answer in 0.1 s" in line


def test_what_was_in_flight_is_kept_when_another_call_fails():
    def script(call):
        return status(400, "bad") if call.prompt == "Why 1?" else good(seconds=0.2)

    with BadServer(script) as server:
        generator, requests = ask(server, 9, in_flight=3)
        kept = []
        with pytest.raises(Exception, match="status 400"):
            generator.complete_each(requests, lambda place, made: kept.append(place))
        assert sorted(kept) == [1, 2]
        assert len(server.calls) == 3  # and no more are begun


def test_an_error_where_a_text_is_kept_ends_the_asking():
    def keep(place, made):
        raise OSError(28, "No space left on device")

    with BadServer(lambda call: good(seconds=0.05 * call.number)) as server:
        generator, requests = ask(server, 40, in_flight=2)
        with pytest.raises(OSError, match="No space"):
            generator.complete_each(requests, keep)
        assert len(server.calls) <= 3


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_are_not_followed(code):
    with BadServer() as other:
        with BadServer(lambda call: status(code, Location=f"{other.url}/{{x}}")) as server:
            line = failure(*ask(server))
        assert len(server.calls) == 1
        assert other.calls == []
        assert f"status {code}" in line
        assert f"set base_url to where the server is ({other.url}/{{x}})" in line


def test_a_response_cannot_be_begun_for_a_server():
    with BadServer() as server:
        generator, _ = ask(server)
        with pytest.raises(ConfigError, match="cannot go on from the beginning of a response"):
            generator.complete([Request("Why?", prefill="<|thinking|>")])
        assert server.calls == []


def test_it_runs_where_a_loop_is_running_as_in_a_notebook():
    import asyncio

    async def cell():
        return generator.complete(requests)

    with BadServer() as server:
        generator, requests = ask(server)
        assert asyncio.run(cell()) == [GOOD]


def test_a_text_whose_tries_another_failure_cut_short_is_not_given_up():
    def script(call):
        return status(400) if call.prompt == "Why 2?" else Answer(b"?", seconds=0.3)

    with BadServer(script) as server:
        generator, requests = ask(server, 2, tries=3)
        kept = []
        with pytest.raises(Exception, match="status 400"):
            generator.complete_each(requests, lambda *made: kept.append(made))
    assert (kept, len(server.calls)) == ([], 2)
