"""Thoughts of a model in every form that is known, and texts that only talk about such tags."""

import pytest

from preflexor_pl.core.generator import Completion, ConcurrentGenerator, Request
from preflexor_pl.core.model_thinking import all_thinking_tags, strip_thinking
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.strip_thoughts import WithoutThoughts, without_thoughts
from tests.scripted import Scripted

FORMS = all_thinking_tags()
THOUGHT = "Okay, the user wants a short answer. Hmm, <b>layers</b>.\n\nWait: maybe not."
REPLY = "Its layers share the load."
TOKENS = [
    "<think>",
    "</think>",
    "<thinking>",
    "</thinking>",
    "[THINK]",
    "[/THINK]",
    "<seed:think>",
    "</seed:think>",
]


def as_a_local_model_writes(text):
    """The tags are tokens of its chat template, so they come out inert."""
    return escape_special_tokens(text, TOKENS)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\n{THOUGHT}\n</think>\n\n{REPLY}",
        f"<think>{THOUGHT}</think>{REPLY}",
        f"\n <THINK>\n{THOUGHT}\n</Think > {REPLY}",
        f'<think type="deep" n=1>\n{THOUGHT}\n</think>\n{REPLY}',
        f"<think>\n\n</think>\n\n{REPLY}",  # Qwen3 with its thinking switched off
        f"<think></think>{REPLY}",
        f"{THOUGHT}\n</think>\n\n{REPLY}",  # the chat template has opened it
        f"{THOUGHT}</think>{REPLY}",
        f"</think>\n\n{REPLY}",
        f"Sure, I can do that.\n<think>\n{THOUGHT}\n</think>\n{REPLY}",
        f"Sure! <think>Okay, the user wants a list.</think> {REPLY}",
        f"<think>\nShort.\n</think>\n<think>\n{THOUGHT}\n</think>\n{REPLY}",
        f"<think>\nThe user asks about <think> tags.\n</think>\n{REPLY}",
        f"<think>\nIn code: ```\nx\n</think>\n{REPLY}",
        f"<thinking>\n{THOUGHT}\n</thinking>\n{REPLY}",
        f"<think>\n{THOUGHT}\n</thinking>\n{REPLY}",
        f"<thought>\n{THOUGHT}\n</thought>\n{REPLY}",
        f"<reasoning>\n{THOUGHT}\n</reasoning>\n<answer>\n{REPLY}\n</answer>",
        f"[THINK]{THOUGHT}[/THINK]{REPLY}",
        f"<seed:think>{THOUGHT}</seed:think>{REPLY}",
        f"<|begin_of_thought|>\n{THOUGHT}\n<|end_of_thought|>\n{REPLY}",
        f"<|START_THINKING|>{THOUGHT}<|END_THINKING|>{REPLY}",
        f"<unused94>thought\n{THOUGHT}<unused95>{REPLY}",
        f"<|channel>thought\n{THOUGHT}<channel|>{REPLY}",
        f"Here is my thought process:\n{THOUGHT}\nHere is my response:\n{REPLY}",
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final"
        f"<|message|>{REPLY}<|return|>",
        f"<|start|>assistant<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
        f"<|channel|>commentary<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>{REPLY}",
        f"<|channel|>final<|message|>{REPLY}",
        f"analysis{THOUGHT}assistantfinal{REPLY}",  # a server that leaves out special tokens
    ],
)
@pytest.mark.parametrize(
    "read", [lambda text: text, escape_special_tokens, as_a_local_model_writes]
)
def test_thoughts_are_taken_off(text, read):
    assert strip_thinking(read(text), FORMS) == (REPLY, "closed")


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\n{THOUGHT}",
        "<think>",
        f"Sure.\n<think>\n{THOUGHT}",
        f"<|channel|>analysis<|message|>{THOUGHT}",
        f"analysis{THOUGHT}",
        f"[THINK]{THOUGHT}",
    ],
)
def test_thoughts_that_do_not_end_leave_nothing(text):
    assert strip_thinking(text, FORMS) == ("", "open")


@pytest.mark.parametrize("text", [f"<think>\n{THOUGHT}\n</think>", f"{THOUGHT}\n</think>\n"])
def test_nothing_but_thoughts_leaves_nothing(text):
    assert strip_thinking(text, FORMS)[0] == ""
    assert strip_thinking(text, FORMS)[1]


@pytest.mark.parametrize(
    "text",
    [
        REPLY,
        "",
        "DeepSeek-R1 writes its reasoning between <think> and </think> before it answers.",
        "The tag `<think>` opens a thinking section and `</think>` closes it.",
        "<think> and </think> are the tags of R1.",
        "<think> is a tag of R1.",
        "`<think>` is a tag of R1.",
        "A section that ends with </think> is closed.",
        "It ends with `</think>`.\n\nThen the answer comes.",
        "Two tags:\n- opening: <think>\n- closing: </think>\n\nBoth are text.",
        "Text between <think> a long explanation of it all and </think> is removed.",
        "```\n<think>\nx\n</think>\n```\nThis is the form.",
        "In HTML, <reasoning> is no element; neither is </reasoning>.",
        "The analysis of the final channel shows laminar flow.",
        "Tokens such as <|channel|> and <|message|> frame it.",
        "I think that the layers share the load.",
        "if a < think and think > b, the reasoning holds.",
    ],
)
def test_a_text_about_tags_is_left_alone(text):
    assert strip_thinking(text, FORMS) == (text, "")


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("notes", f"<notes>\n{THOUGHT}\n</notes>\n{REPLY}"),
        ("<<notes>> <</notes>>", f"<<notes>>{THOUGHT}<</notes>>{REPLY}"),
    ],
)
def test_a_form_of_the_users(tag, text):
    assert strip_thinking(text, FORMS) == (text, "")
    assert strip_thinking(text, all_thinking_tags([tag])) == (REPLY, "closed")


def test_a_local_model_is_read_without_its_thoughts_and_told_of_once(capsys):
    texts = iter(
        [
            Completion(f"<think>x</think>{REPLY}", "stop", 9),
            Completion("<think>x", "length", 9),
            Completion("<think>x", "length", 9),
            Completion("<think>x", "stop", 9),
        ]
    )
    model = Scripted("m")
    model._answer = lambda request: next(texts)
    reader = WithoutThoughts(model, (), "data.teacher.chat_template_kwargs")
    made = reader.complete([Request("Why?", stop=("\n",))] * 4)
    assert [one.problem for one in made] == ["", *["cut_while_thinking"] * 2, "only_thinking"]
    assert [one.text for one in made] == [REPLY, "", "", ""]
    cut, only = capsys.readouterr().out.splitlines()
    assert "m thought until its max_new_tokens (128) were used up" in cut
    assert "switch its thinking off by data.teacher.chat_template_kwargs" in cut
    assert "a stop string of the prompt" in only
    assert "set data.prompts to large" in only


class OneByOne(Scripted):
    """A generator whose texts arrive one by one, the last one first."""

    def complete_each(self, requests, keep):
        for place in reversed(range(len(requests))):
            keep(place, self._answer(requests[place]))


def test_texts_that_arrive_one_by_one_are_kept_without_thoughts():
    model = OneByOne("m", batch_size=1)
    model._answer = lambda request: Completion(f"<think>x</think>{request.prompt}", "stop", 9)
    reader, kept = without_thoughts(model), []
    assert isinstance(reader, ConcurrentGenerator)
    requests = [Request("a"), Request("b")]
    reader.complete_each(requests, lambda place, made: kept.append((place, made.text)))
    assert kept == [(1, "b"), (0, "a")]
    assert reader.complete(requests)[0].text == "a"


def test_texts_of_a_batch_do_not_arrive_one_by_one():
    """The journal makes a batch again whole: in bfloat16 a text depends on it."""
    assert not isinstance(without_thoughts(Scripted("m")), ConcurrentGenerator)
