"""What real servers refuse, in their words: learned once, said once, and gone on without."""
# ruff: noqa: E501

import json

import pytest

from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.server.generator import RemoteGenerator
from tests.scripted import make_round, scripted_maker
from tests.server.bad_server import GOOD, Answer, BadServer, ask, failure, status

pytestmark = pytest.mark.usefixtures("short_waits")

SAMPLING = Sampling(max_new_tokens=9, temperature=0.4, top_p=0.8)
REQUEST = Request("Why?", "Teach.", SAMPLING, 7, (("Q", "A"),), ("END",))


def refusal(message, code=400, **more):
    return Answer(json.dumps({"error": {"message": message, **more}}).encode(), code)


def detail(code=422, **body):
    return Answer(json.dumps(body).encode(), code)


OPENAI = "Unsupported parameter: '{}' is not supported with this model."
REFUSALS = {
    "OpenAI, max_tokens": (
        "max_tokens",
        refusal(OPENAI.format("max_tokens") + " Use 'max_completion_tokens' instead.", param="max_tokens"),
        {"max_completion_tokens": 9},
    ),
    "OpenAI, temperature": (
        "temperature",
        refusal("Unsupported value: 'temperature' does not support 0.4 with this model. Only the default (1) value is supported.", param="temperature"),
        {},
    ),
    "OpenAI, stop": ("stop", refusal(OPENAI.format("stop"), param="stop"), {}),
    "OpenAI, unknown": ("think", refusal("Unrecognized request argument supplied: think"), {}),
    "Groq": ("seed", refusal("property 'seed' is unsupported"), {}),
    "Mistral": (
        "seed",
        detail(object="error", message={"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}),
        {},
    ),
    "FastAPI": ("top_p", detail(detail=[{"loc": ["body", "top_p"], "msg": "Extra inputs are not permitted"}]), {}),
    "Gemini": (
        "seed",
        detail(400, error={"code": 400, "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'}),
        {},
    ),
    "transformers serve": ("think", detail(detail="Unexpected fields in the request: {'think'}"), {}),
    "Anthropic": (
        "top_p",
        refusal("`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
        {"temperature": 0.4},
    ),
    "plain text": ("stop", Answer(b"stop is not supported", 400), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_field_that_is_refused_is_left_out_from_then_on(name, capsys):
    field, answer, sent = REFUSALS[name]
    with BadServer(lambda call: answer if field in call.body else None) as server:
        settings = server.settings(in_flight=1, extra_body={"think": False})
        assert RemoteGenerator(settings).complete([REQUEST] * 3) == [GOOD] * 3
    first, *others = [call.body for call in server.calls]
    assert len(others) == 3  # it was learned once
    left = {key: value for key, value in first.items() if key != field}
    assert all(body == left | sent for body in others)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("  data.teacher.server: m at 127.0.0.1 ")
    assert field in line


SYSTEM = {
    "OpenAI": refusal("Unsupported value: 'messages[0].role' does not support 'system' with this model.", param="messages[0].role"),
    "vLLM, Gemma": refusal("System role not supported"),
    "vLLM, Mistral": refusal("Conversation roles must alternate user/assistant/user/assistant/..."),
    "Gemini, Gemma": refusal("Developer instruction is not enabled for models/gemma-3-27b-it"),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM)
def test_without_a_system_turn_its_text_goes_before_the_users(name, capsys):
    def script(call):
        return SYSTEM[name] if call.body["messages"][0]["role"] == "system" else None

    with BadServer(script) as server:
        generator = RemoteGenerator(server.settings(in_flight=1))
        assert generator.complete([REQUEST] * 2) == [GOOD] * 2
    assert len(server.calls) == 3
    assert server.calls[-1].body["messages"] == [
        {"role": "user", "content": "Teach.\n\nQ"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "Why?"},
    ]
    assert "takes no system turn" in capsys.readouterr().out


def test_a_model_that_thinks_refuses_one_field_after_the_other(capsys):
    """As an o-series model does."""
    taken = {"model", "messages", "max_completion_tokens"}

    def script(call):
        for name in call.body:
            if name not in taken:
                return refusal(OPENAI.format(name), param=name)
        return None

    with BadServer(script) as server:
        generator = RemoteGenerator(server.settings(in_flight=2, max_calls=20))
        assert generator.complete([REQUEST] * 3) == [GOOD] * 3
    assert set(server.calls[-1].body) == taken
    assert len(capsys.readouterr().out.splitlines()) == 5  # each is said once
    assert generator.state.budget.calls == len(
        server.calls
    )  # and every call is one of the budget's


def test_calls_in_flight_learn_the_same_thing_together(capsys):
    def script(call):
        return refusal("property 'seed' is unsupported") if "seed" in call.body else None

    with BadServer(script) as server:
        generator, requests = ask(server, 24, in_flight=8)
        assert generator.complete(requests) == [GOOD] * 24
    assert len(server.calls) <= 24 + 8
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_temperature_of_nothing_becomes_a_low_one():
    def script(call):
        cold = not call.body["temperature"]
        return refusal("`temperature` must be strictly positive", 422) if cold else None

    with BadServer(script) as server:
        generator = RemoteGenerator(server.settings())
        assert generator.complete([Request("Why?", sampling=Sampling(temperature=0))]) == [GOOD]
    assert server.calls[-1].body["temperature"] == 0.01


@pytest.mark.parametrize(
    "answer",
    [
        refusal("max_tokens is too large: 9000. This model supports at most 4096 completion tokens."),
        refusal("Bad request"),
        refusal("The model `m` does not exist"),
        refusal(""),
        Answer(b"<html>Bad Request</html>", 400),
    ],
)  # fmt: skip
def test_what_names_no_field_is_not_tried_again(answer):
    with BadServer(lambda call: answer) as server:
        line = failure(*ask(server))
    assert len(server.calls) == 1
    assert "no request like this will be answered" in line


def test_a_limit_that_is_too_high_names_where_it_stands():
    answer = refusal("max_tokens must be less than or equal to 4096")
    with BadServer(lambda call: answer) as server:
        assert "max_new_tokens stands in the samplings" in failure(*ask(server))


def test_a_server_that_always_refuses_is_left_alone():
    with BadServer(lambda call: refusal("'seed' and 'top_p' are not supported")) as server:
        line = failure(*ask(server))
    assert len(server.calls) == 3
    assert "not supported" in line


def test_fields_are_added_and_left_out_by_hand(capsys):
    extra = {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}
    with BadServer() as server:
        settings = server.settings(extra_body=extra, drop_fields=["seed", "system", "top_p"])
        assert RemoteGenerator(settings).complete([REQUEST]) == [GOOD]
    assert server.calls[0].body == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "Teach.\n\nQ"},
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "Why?"},
        ],
        "max_tokens": 9,
        "temperature": 0.4,
        "stop": ["END"],
        **extra,
    }
    assert capsys.readouterr().out == ""


def test_texts_asked_for_in_another_way_are_not_those_of_the_journal():
    def names(**settings):
        with BadServer() as server:
            return RemoteGenerator(server.settings(**settings)).identity

    assert names() == "m at 127.0.0.1" == names(in_flight=2)
    assert names(extra_body={"reasoning_effort": "low"}) != names()


TOO_LONG = {
    "OpenAI": status(400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", "context_length_exceeded"),
    "OpenAI, code alone": status(400, "bad", "context_length_exceeded"),
    "vLLM": refusal("'max_tokens' or 'max_completion_tokens' is too large: 128. This model's maximum context length is 4096 tokens and your request has 4090 input tokens"),
    "vLLM, prompt": refusal("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    "llama.cpp": refusal("the request exceeds the available context size, try increasing it", type="exceed_context_size_error"),
    "LM Studio": refusal("Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"),
    "Ollama": refusal("input length exceeds maximum context length"),
    "TGI": detail(error="Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 128 `max_new_tokens`"),
    "TGI, prompt": detail(error="Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"),
    "Anthropic": refusal("prompt is too long: 210000 tokens > 200000 maximum"),
    "Anthropic, both": refusal("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
    "Gemini": refusal("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    "Mistral": refusal("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
    "SGLang": refusal("The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    "Groq": refusal("Please reduce the length of the messages or completion."),
    "Groq, 413": refusal("Request too large for model on tokens per minute (TPM): Limit 6000, Requested 7000", 413),
    "xAI": refusal("This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    "Cohere": refusal("too many tokens: total number of tokens in the prompt cannot exceed 4081"),
    "nginx": Answer(b"<html>413 Request Entity Too Large</html>", 413),
    "llama.cpp, older": refusal("context size exceeded", 500),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_prompt_that_is_too_long_is_shrunk_once_then_given_up_and_the_rest_goes_on(name, capsys):
    with BadServer(lambda call: TOO_LONG[name] if call.prompt == "Why 1?" else None) as server:
        generator, requests = ask(server, 3, in_flight=1)
        made = generator.complete(requests)
    assert made == [Completion("", "stop", 0, "server_too_long"), GOOD, GOOD]
    assert [call.body["max_tokens"] for call in server.calls] == [128, 64, 128, 128]
    assert "reads no prompt of this length" in capsys.readouterr().out


def test_a_server_that_is_busy_is_waited_for():
    busy = refusal("The request queue size exceeds its limit", 503)
    with BadServer(lambda call: None if call.number else busy) as server:
        generator, requests = ask(server)
        assert generator.complete(requests) == [GOOD]
    assert [call.body["max_tokens"] for call in server.calls] == [128, 128]


def test_a_prompt_without_its_examples_may_fit():
    def script(call):
        long = len(call.body["messages"]) > 2
        return refusal("The prompt is too long for this model") if long else None

    with BadServer(script) as server:
        assert RemoteGenerator(server.settings()).complete([REQUEST]) == [GOOD]
    assert [turn["content"] for turn in server.calls[-1].body["messages"]] == ["Teach.", "Why?"]


def test_an_item_that_is_too_long_is_dropped_and_no_later_command_stops_at_it(tmp_path):
    from tests.server.test_replies import script_of_a_round

    def script(call):
        return TOO_LONG["vLLM"] if "silk" in call.prompt else script_of_a_round(call)

    with BadServer(script) as server, pytest.raises(TeacherError, match="max_calls"):
        make_round(scripted_maker(ask(server, max_calls=9)[0]), tmp_path, 2, 0)
    with BadServer(script) as server:
        pairs = make_round(scripted_maker(ask(server)[0]), tmp_path, 2, 0)
    assert [pair.id for pair in pairs] == ["0000-0001", "0000-0002"]
    drops = [json.loads(line) for line in (tmp_path / "drops.jsonl").read_text().splitlines()]
    assert [(drop["id"], drop["reason"]) for drop in drops] == [("0000-0000", "server_too_long")]
    asked = [call for call in server.calls if "silk" in call.prompt]
    assert asked == []  # its refusal is on record


def test_a_journal_keeps_texts_that_were_asked_for_in_the_same_way_alone(tmp_path):
    from tests.server.test_replies import script_of_a_round

    def calls(**settings):
        (tmp_path / "manifest.json").unlink(missing_ok=True)
        with BadServer(script_of_a_round) as server:
            make_round(scripted_maker(ask(server, tries=1, **settings)[0]), tmp_path, 2, 0)
        return len(server.calls)

    first = calls()
    assert first > 9
    assert calls(drop_fields=["seed"], in_flight=2) == 0
    assert calls(extra_body={"reasoning_effort": "low"}) == first


@pytest.mark.parametrize(
    "told",
    [
        "Set only one of max_tokens and max_completion_tokens.",
        "max_tokens or max_completion_tokens must be at most 4096, got 9000.",
    ],
)
def test_a_server_that_refuses_a_limit_by_either_name_is_left_alone(told):
    answers = iter([refusal(told)] * 20)  # where it is asked on, the text comes
    with BadServer(lambda call: next(answers, None)) as server:
        assert told[:20] in failure(*ask(server))
    assert len(server.calls) == 2
