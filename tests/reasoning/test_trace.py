import json

import pytest

from preflexor_pl.reasoning.trace import Source, Step, Trace

SOURCES = [Source("silk.md#0", "silk.md", 0.5), Source("silk.md#1", "silk.md", 0.25)]


def step(kind, **changes):
    values = {
        "kind": kind,
        "iteration": 0,
        "by": "model",
        "text": "",
        "thinking": None,
        "reflection": None,
        "answer": None,
        "problems": (),
        "finish_reason": "stop",
        "tokens": 2,
        "seconds": 0.25,
    }
    return Step(**values | changes)


STEPS = [
    step("answer", thinking="It bends.\n\nIt slides.", reflection="It lacks.", answer="Silk.\nÜ"),
    step("feedback", iteration=1, by="critic", answer="It leaves out why."),
    step("rewrite", iteration=1, by="critic", thinking="It heals.", problems=("repetition",)),
    step("finish", iteration=1, answer=None, problems=("no_thinking", "empty_answer")),
    step("compare", iteration=1, by="judge", answer="A\nB", tokens=5),
]


def trace(**changes):
    values = {"steps": STEPS, "answers": ["Silk.\nÜ", ""], "sources": SOURCES, "stopped": "worse"}
    return Trace("Why?\n", "thinking", **values | changes)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, "Silk.\nÜ"),
        ({"answers": ["a", "b"], "best": 1}, "b"),
        ({"answers": ["a", "b"], "integrated": "ab"}, "ab"),
        ({"answers": ["a", "b"], "integrated": "ab", "integration_lost": True}, "a"),
        ({"answers": ["", ""], "best": 1}, ""),
        ({"answers": []}, ""),
    ],
)
def test_the_final_answer(changes, answer):
    assert trace(**changes).answer == answer


def test_sources_are_cited_once_each():
    other = Source("bone.md#3", "bone.md", 0.1)
    made = trace(answers=["a"], sources=[*SOURCES, other])
    assert made.cited == "a\n\nSources: silk.md, bone.md"
    assert trace(answers=["a"], sources=[]).cited == "a"


def test_calls_and_tokens_are_counted_without_the_judges():
    assert (trace().calls, trace().tokens) == (4, 2 * 4)


def test_json_is_one_line_and_holds_all():
    text = trace().to_json()
    assert "\n" not in text
    assert "Ü" in text
    read = json.loads(text)
    assert (read["answer"], read["calls"], read["tokens"]) == (trace().cited, 4, 8)
    steps = [Step(**one | {"problems": tuple(one["problems"])}) for one in read.pop("steps")]
    sources = [Source(**one) for one in read.pop("sources")]
    made = {name: read.pop(name) for name in ("answer", "calls", "tokens")}
    again = Trace(steps=steps, sources=sources, **read)
    assert again == trace()
    assert again.to_dict() == trace().to_dict()
    assert made.keys() == {"answer", "calls", "tokens"}


def test_markdown_is_a_page_to_read():
    assert trace().to_markdown() == (
        "# Why?\n\n"
        "## 0: answer\n\n*model · 2 tokens · 0.2 s*\n\n"
        "> **Thinking**\n>\n> It bends.\n>\n> It slides.\n\n"
        "> **Reflection**\n>\n> It lacks.\n\n"
        "Silk.\nÜ\n\n"
        "## 1: feedback\n\n*critic · 2 tokens · 0.2 s*\n\nIt leaves out why.\n\n"
        "## 1: rewrite\n\n*critic · 2 tokens · 0.2 s · repetition*\n\n"
        "> **Thinking**\n>\n> It heals.\n\n"
        "## 1: finish\n\n*model · 2 tokens · 0.2 s · no_thinking · empty_answer*\n\n"
        "*(no answer)*\n\n"
        "## 1: compare\n\n*judge · 5 tokens · 0.2 s*\n\nA\nB\n\n"
        "## Answer (stopped: worse)\n\nSilk.\nÜ\n\nSources: silk.md\n"
    )


def test_markdown_of_no_step_says_that_there_is_no_answer():
    assert Trace("Why?", "thinking").to_markdown() == "# Why?\n\n## Answer\n\n*(no answer)*\n"
