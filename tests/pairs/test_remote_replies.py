"""What a server sends with status 200 is taken for a text only where it is one."""

import json

import pytest

from preflexor_pl.pairs.generator import Completion, Request
from preflexor_pl.pairs.in_flight import STRANGE
from tests.pairs.bad_server import (
    GOOD,
    Answer,
    BadServer,
    ask,
    failure,
    first_then_good,
    good,
    said,
    status,
)
from tests.scripted import GOOD as SCRIPT
from tests.scripted import SUBJECTS, make_round, scripted_maker

pytestmark = pytest.mark.usefixtures("short_waits")


def sent(tree, **changes):
    return Answer(json.dumps(tree | changes).encode())


STRANGE_REPLIES = {
    "html": (Answer(b"<html>Hello</html>"), "server_not_json"),
    "empty": (Answer(b""), "server_not_json"),
    "truncated": (Answer(json.dumps(said()).encode()[:-20]), "server_not_json"),
    "not_utf8": (Answer(b'{"choices": "\xff"}'), "server_not_json"),
    "deep": (Answer(b"[" * 200_000), "server_not_json"),
    "a_list": (Answer(b"[]"), "server_not_json"),
    "error_body": (sent({"error": {"message": "overloaded"}}), "server_error"),
    "no_choices": (sent({"id": "x"}), "server_no_choices"),
    "null_choices": (sent(said(), choices=None), "server_no_choices"),
    "empty_choices": (sent(said(), choices=[]), "server_no_choices"),
    "odd_choice": (sent(said(), choices=["text"]), "server_no_choices"),
    "no_message": (sent(said(), choices=[{"finish_reason": "stop"}]), "server_no_text"),
    "null": (good(None), "server_no_text"),
    "blank": (good(" \n\u00a0"), "server_no_text"),
    "only_nuls": (good("\0\0"), "server_no_text"),
    "parts": (good([{"type": "text", "text": "It"}]), "server_no_text"),
    "no_end": (good(finish=None), "server_unknown_end"),
    "only_thinking": (good("<think>\nWhat is it?"), "server_no_text"),
    "odd_end": (good(finish=["stop"]), "server_unknown_end"),
    "a_tool": (good(finish="tool_calls"), "server_unknown_end"),
}


def test_what_a_model_thought_for_itself_is_no_part_of_its_text():
    thought = "\n<think>\nIs it tough? </think>\n\nIt is tough."
    with BadServer(lambda call: good(thought if call.number else "<think>Is", "length")) as server:
        generator, requests = ask(server, 2, in_flight=1)
        cut, whole = generator.complete(requests)
    assert (cut.text, cut.finish_reason) == ("", "length")
    assert whole.text == "It is tough."


@pytest.mark.parametrize("name", STRANGE_REPLIES)
def test_a_reply_without_a_text_is_asked_for_again_with_a_new_seed(name):
    answer, _ = STRANGE_REPLIES[name]
    with BadServer(first_then_good(answer)) as server:
        generator, requests = ask(server)
        assert generator.complete(requests) == [GOOD]
    first, second = (call.seed for call in server.calls)
    assert first == 1 != second


@pytest.mark.parametrize("name", STRANGE_REPLIES)
def test_and_in_the_end_it_is_told_why_there_is_none(name):
    answer, problem = STRANGE_REPLIES[name]
    with BadServer(lambda call: answer if call.prompt == "Why 1?" else None) as server:
        generator, requests = ask(server, 2, tries=3)
        assert generator.complete(requests) == [Completion("", "stop", 0, problem), GOOD]
    assert len({call.seed for call in server.calls if call.prompt == "Why 1?"}) == 3


def test_a_server_that_sends_nothing_else_is_no_such_server():
    with BadServer(lambda call: Answer(b"<html>Sign in</html>")) as server:
        line = failure(*ask(server, 3 * STRANGE, tries=1, in_flight=1))
    assert len(server.calls) == STRANGE
    assert "<html>Sign in</html>: check base_url" in line


def test_now_and_then_a_strange_reply_is_no_reason_to_stop():
    with BadServer(lambda call: Answer(b"?") if call.number % 2 else None) as server:
        generator, requests = ask(server, 3 * STRANGE, tries=1, in_flight=1)
        problems = [made.problem for made in generator.complete(requests)]
    assert problems == ["", "server_not_json"] * (3 * STRANGE // 2)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (good(finish="content_filter"), "server_refusal"),
        (sent(said(None, refusal="I cannot.")), "server_refusal"),
        (status(400, "filtered", "content_filter"), "server_refusal"),
        (status(400, "too long", "context_length_exceeded"), "server_too_long"),
    ],
)
def test_a_refusal_is_not_argued_with(answer, problem):
    with BadServer(lambda call: answer if call.prompt == "Why 1?" else None) as server:
        generator, requests = ask(server, 2)
        assert generator.complete(requests) == [Completion("", "stop", 0, problem), GOOD]
    assert len(server.calls) == 2


@pytest.mark.parametrize("content", ["It is", None, ""])
def test_a_text_that_was_cut_is_told(content):
    with BadServer(lambda call: good(content, "length")) as server:
        generator, requests = ask(server)
        assert generator.complete(requests) == [Completion(content or "", "length", 3)]
    assert len(server.calls) == 1


def test_a_text_is_inert_and_ends_at_a_stop_string():
    evil = "\n It <|im_end|>\0\ud800 ends<|/thinking|>. Then more"
    with BadServer(lambda call: good(evil)) as server:
        generator, _ = ask(server)
        [made] = generator.complete([Request("Why?", stop=(". ",))])
    assert made.text == "It <·|im_end|> ends<·|/thinking|>"


@pytest.mark.parametrize("usage", [None, "many", {}, {"completion_tokens": -1}])
def test_tokens_that_are_not_counted_are_estimated(usage):
    with BadServer(lambda call: sent(said("x" * 40), usage=usage)) as server:
        generator, requests = ask(server)
        [made] = generator.complete(requests)
    assert made.tokens == 10  # four characters each
    assert generator.budget.tokens >= 10


def script_of_a_round(call):
    """Good texts for every stage, but nothing about silk has an answer that can be read."""
    kind = {41: "question", 42: "thinking", 43: "answer"}[call.body["max_tokens"]]
    subject = next(s for s in SUBJECTS if f"subject: {s}" in call.prompt)
    if (kind, subject) == ("answer", "silk"):
        return Answer(b"<html>")
    return good(SCRIPT[kind].format(subject))


def test_in_a_round_the_item_is_dropped_with_the_reason(tmp_path):
    with BadServer(script_of_a_round) as server:
        generator, _ = ask(server, tries=2)
        maker = scripted_maker(generator)
        pairs = make_round(maker, tmp_path, 2, 0)
    assert [pair.id for pair in pairs] == ["0000-0001", "0000-0002"]
    assert pairs[0].teacher == "m at 127.0.0.1"
    [drop] = [json.loads(line) for line in (tmp_path / "drops.jsonl").read_text().splitlines()]
    assert (drop["id"], drop["reason"]) == ("0000-0000", "server_not_json")
    tried = [c for c in server.calls if c.body["max_tokens"] == 43 and "silk" in c.prompt]
    assert len({call.seed for call in tried}) == 4  # two tries, and two more when asked again


def test_a_cut_text_is_never_trained_on(tmp_path):
    def script(call):
        answer = script_of_a_round(call)
        return good("The layers of silk share", "length") if answer.body == b"<html>" else answer

    with BadServer(script) as server:
        maker = scripted_maker(ask(server)[0])
        make_round(maker, tmp_path, 2, 0)
    [drop] = [json.loads(line) for line in (tmp_path / "drops.jsonl").read_text().splitlines()]
    assert (drop["id"], drop["reason"]) == ("0000-0000", "answer_cut")
