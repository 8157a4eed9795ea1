"""Reasoning on a terminal: what is bold, what is dim, and what is made harmless."""

import re
from io import StringIO

import pytest
from rich.console import Console

from preflexor_pl.reasoning import Source, Step, Trace
from preflexor_pl.reasoning.terminal import StepPrinter

RESPONSE = "<|thinking|>\nIt bends.\n<|/thinking|>\nIt holds."


def step(kind="answer", text=RESPONSE, **changes):
    values = {
        "iteration": 0,
        "by": "tiny",
        "thinking": None,
        "reflection": None,
        "answer": None,
        "problems": (),
        "finish_reason": "stop",
        "tokens": 7,
        "seconds": 1.25,
    }
    return Step(kind, text=text, **values | changes)


def shown(*questions, colour=False, **options):
    """What is shown of questions, and a function that gives what it has printed."""
    file = StringIO()
    console = Console(
        file=file,
        force_terminal=colour,
        color_system="standard" if colour else None,
        soft_wrap=True,
        markup=False,
        highlight=False,
        emoji=False,
        _environ={},
    )
    return StepPrinter(questions, console, **options), file.getvalue


def styled(printed, code):
    """All text in a style, 1 bold and 2 dim, without its line ends, which have none."""
    return "".join(re.findall(rf"\x1b\[{code}m(.*?)\x1b\[0m", printed, re.DOTALL))


def grow(show, *pieces):
    for piece in pieces:
        show.grow(0, piece)


def test_thinking_grows_dim_and_an_answer_bold():
    show, printed = shown("Why?", colour=True)
    grow(show, "<|thinking|>\n", "It ", "bends.\n", "<|/thinking|>\n", "It ", "holds.")
    assert styled(printed(), 2) == "<|thinking|>It bends.<|/thinking|>"
    assert styled(printed(), 1).split() == ["It", "holds."]
    show.step(0, step())
    assert printed().count("holds") == 1  # it has been shown already
    assert "7 tokens · 1.2 s" in printed()


def test_a_reflect_section_is_dim_too():
    show, printed = shown("Why?", colour=True)
    grow(show, "<|reflect|> Hm. <|/reflect|> So.")
    assert styled(printed(), 1) == " So."


def test_a_beginning_that_was_given_is_shown_once_and_what_follows_is_thinking():
    show, printed = shown("Why?", colour=True, prefill="<|thinking|>\nFirst, ")
    grow(show, "it bends.\n", "<|/thinking|>\n")
    show.step(0, step())
    grow(show, "It holds.")
    assert styled(printed(), 2) == "<|thinking|>First, it bends.<|/thinking|>"
    assert styled(printed(), 1) == "It holds."


def test_the_answer_that_had_to_be_asked_for_says_so():
    show, printed = shown("Why?")
    grow(show, "<|thinking|>\nIt ")
    show.step(0, step(problems=("unclosed_thinking",), finish_reason="length"))
    grow(show, "It holds.")
    assert printed() == (
        "\nthe model answers\n<|thinking|>\nIt \n"
        "7 tokens · 1.2 s · unclosed_thinking · cut at its limit\n"
        "\nthe model is asked for its answer\nIt holds."
    )


def test_a_rewrite_is_dim_and_a_criticism_bold():
    show, printed = shown("Why?", colour=True)
    show.step(0, step("feedback", "It leaves out water."))
    show.step(0, step("rewrite", "Water softens it."))
    assert styled(printed(), 1) == "It leaves out water."
    assert styled(printed(), 2) == "Water softens it."


@pytest.mark.parametrize("colour", [True, False])
def test_control_characters_are_escaped(colour):
    evil = "red \x1b[31m\x07 and \u202e back"
    show, printed = shown("Why?", colour=colour)
    grow(show, evil)
    show.step(0, step())
    show.step(0, step("feedback", evil))
    show.end([Trace(f"Why {evil}?", "thinking", answers=[evil]), Trace("How?", "thinking")])
    assert printed().count(r"red \x1b[31m\x07 and \u202e back") == 4
    assert "\x07" not in printed()
    assert "\x1b[31m" not in printed()
    assert "\u202e" not in printed()


def test_a_plain_console_keeps_markers_words_and_markup_as_they_are():
    show, printed = shown("Why?")
    text = RESPONSE.replace("bends", f"[bold]bends[/bold] :smile: {'word ' * 60}")
    show.step(0, step(text=text))
    assert f"\nthe model answers\n{text}\n7 tokens" in printed()
    assert "\x1b" not in printed()


def test_standard_output_is_the_default_and_no_line_is_cut(capsys):
    text = f"[red] :smile: {'word ' * 60}"
    show = StepPrinter(["Why?"])
    grow(show, text, "end")
    show.end([Trace("Why?", "thinking", answers=[text])])
    out = capsys.readouterr().out
    assert f"\n{text}end" in out
    assert f"\nAnswer\n{text}\n" in out


def test_of_several_questions_whole_steps_are_printed_under_their_numbers():
    show, printed = shown("Why?", "How?")
    show.grow(1, "It ")
    assert printed() == ""
    show.step(1, step(text="It holds."))
    assert printed() == "\n2: the model answers\nIt holds.\n7 tokens · 1.2 s\n"


def test_the_end_names_answers_sources_and_costs():
    show, printed = shown("Why?", "How?")
    made = step("answer", tokens=5)
    sources = [Source("a.md#0", "a.md", 0.9), Source("a.md#1", "a.md", 0.8)]
    traces = [
        Trace("Why?", "thinking", [made, made], ["It holds."], sources=sources),
        Trace("How?", "thinking", [made], [""], stopped="unchanged"),
    ]
    show.end(traces)
    assert printed() == (
        "\nAnswer 1: Why?\nIt holds.\n\nSources: a.md\n"
        "\nAnswer 2: How? (stopped: unchanged)\n(no answer)\n"
        "3 calls, 15 tokens, 0 s\n"
    )
