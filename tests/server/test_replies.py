"""What a server sends with status 200 is taken for a text only where it is one."""

import json

import pytest

from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.server.concurrent_calls import MAX_UNREADABLE
from preflexor_pl.server.generator import RemoteGenerator
from tests.scripted import GOOD as SCRIPT
from tests.scripted import SUBJECTS, make_round, scripted_maker
from tests.server.bad_server import (
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
    "no_text_parts": (good([{"type": "image_url"}, "x"]), "server_no_text"),
    "only_thinking": (good("<think>\nWhat is it?"), "only_thinking"),
    "only_thinking_beside": (sent(said(None, reasoning_content="What?")), "only_thinking"),
    "error_end": (good(finish="error"), "server_unknown_end"),
    "a_tool": (good(finish="tool_calls"), "server_unknown_end"),
}


def test_what_a_model_thought_for_itself_is_no_part_of_its_text():
    thought = "\n<think>\nIs it tough? </think>\n\nIt is tough."
    with BadServer(lambda call: good(thought)) as server:
        generator, requests = ask(server)
        assert generator.complete(requests) == [GOOD]


CUT_WHILE_THINKING = {
    "tag": good("<think>Is", "length"),
    "beside": sent(said(None, "length", reasoning_content="Is")),
    "beside, vLLM's newer name": sent(said("", "length", reasoning="Is")),
    "counted": sent(
        said("", "length"),
        usage={"completion_tokens": 128, "completion_tokens_details": {"reasoning_tokens": 128}},
    ),
    "harmony": good("<|channel|>analysis<|message|>We need", "length"),
}


@pytest.mark.parametrize("name", CUT_WHILE_THINKING)
def test_a_budget_that_ends_in_thoughts_is_the_cause_and_says_what_to_set(name, capsys):
    with BadServer(first_then_good(*[CUT_WHILE_THINKING[name]] * 2)) as server:
        generator, requests = ask(server, 3, in_flight=1)
        cut, again, whole = generator.complete(requests)
    assert (cut.text, cut.finish_reason, cut.problem) == ("", "length", "cut_while_thinking")
    assert (again.problem, whole.problem) == ("cut_while_thinking", "")
    [line] = capsys.readouterr().out.splitlines()  # said once
    assert "m at 127.0.0.1 thought until its max_new_tokens (128) were used up" in line
    assert (
        "data.teacher.server.extra_body ({chat_template_kwargs: {enable_thinking: false}}" in line
    )
    assert "or raise max_new_tokens" in line


def test_a_model_that_always_thinks_to_the_end_is_asked_no_more():
    with BadServer(lambda call: good("<think>Is", "length")) as server:
        line = failure(*ask(server, 3 * MAX_UNREADABLE, in_flight=1))
    assert len(server.calls) == MAX_UNREADABLE
    assert "thought until its max_new_tokens (128) were used up" in line
    assert "extra_body" in line


def test_thoughts_that_a_stop_string_ended_blame_the_prompts(capsys):
    with BadServer(lambda call: good("<think>")) as server:
        generator, _ = ask(server, tries=1)
        [made] = generator.complete([Request("Why?", stop=("\n",))])
    assert made.problem == "only_thinking"
    assert "a stop string of the prompt" in capsys.readouterr().out


def test_thoughts_beside_the_text_or_among_its_parts_are_left_out():
    parts = [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "It is tough."}]
    replies = [good(parts), sent(said(reasoning_content="x"))]
    with BadServer(lambda call: replies[call.number]) as server:
        generator, requests = ask(server, 2, in_flight=1)
        assert generator.complete(requests) == [GOOD, GOOD]


def test_tags_of_the_users_own():
    with BadServer(lambda call: good("<plan>\nIs it?\n</plan>\nIt is tough.")) as server:
        generator = RemoteGenerator(server.settings(), thinking_tags=["plan"])
        assert generator.complete([Request("Why?")]) == [GOOD]


@pytest.mark.parametrize(
    "finish", ["eos_token", "end", None, "", "STOP", "end_turn", "COMPLETE", ["stop"], 7]
)
def test_an_end_by_another_name_is_an_end_and_is_said_once(finish, capsys):
    with BadServer(lambda call: good(finish=finish)) as server:
        generator, requests = ask(server, 3)
        assert generator.complete(requests) == [GOOD] * 3
    assert len(server.calls) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (finish != "STOP")
    assert all(f"finish_reason {finish!r}" in line for line in lines)


@pytest.mark.parametrize("finish", ["max_tokens", "model_length", "MAX_TOKENS"])
def test_a_cut_by_another_name_is_a_cut(finish):
    with BadServer(lambda call: good("It is", finish)) as server:
        generator, requests = ask(server)
        assert generator.complete(requests) == [Completion("It is", "length", 3)]


def test_without_a_reason_a_text_of_full_length_is_cut():
    with BadServer(lambda call: good("It is tou", None)) as server:  # of three tokens
        generator, _ = ask(server)
        [made] = generator.complete([Request("Why?", sampling=Sampling(max_new_tokens=3))])
    assert made.finish_reason == "length"


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
        line = failure(*ask(server, 3 * MAX_UNREADABLE, tries=1, in_flight=1))
    assert len(server.calls) == MAX_UNREADABLE
    assert "<html>Sign in</html>: check base_url" in line


def test_now_and_then_a_strange_reply_is_no_reason_to_stop():
    with BadServer(lambda call: Answer(b"?") if call.number % 2 else None) as server:
        generator, requests = ask(server, 3 * MAX_UNREADABLE, tries=1, in_flight=1)
        problems = [made.problem for made in generator.complete(requests)]
    assert problems == ["", "server_not_json"] * (3 * MAX_UNREADABLE // 2)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (good(finish="content_filter"), "server_refusal"),
        (sent(said(None, refusal="I cannot.")), "server_refusal"),
        (status(400, "filtered", "content_filter"), "server_refusal"),
        (good(finish="SAFETY"), "server_refusal"),
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
    assert generator.state.budget.tokens >= 10


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


def test_a_model_that_begins_inside_its_thoughts_is_known_by_a_reply_that_closes_them(capsys):
    whole = good("They want a question. Why not silk?\n</think>\n\nIt is tough.")
    cut = good("They want a question. Why not silk? Or", "length")
    with BadServer(first_then_good(cut, whole, cut)) as server:
        generator, requests = ask(server, 4, in_flight=1)
        before, said_so, after, plain = generator.complete(requests)
    assert (before.text[:9], before.problem) == ("They want", "")  # nothing tells yet
    assert said_so.text == plain.text == "It is tough."
    assert (after.text, after.problem) == ("", "cut_while_thinking")
    assert "thought until its max_new_tokens" in capsys.readouterr().out
