"""Prints reasoning on a terminal while it happens: thinking dim, answers bright."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from preflexor_pl.batches.show import escape_controls
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.special_tokens import escape_special_tokens

if TYPE_CHECKING:
    from preflexor_pl.reasoning import Reasoner, Step, Trace

TURNS = 8  # of a conversation that the model is given again
TITLES = {
    "answer": "the model answers",
    "finish": "the model is asked for its answer",
    "feedback": "the critic says what is missing",
    "rewrite": "the critic rewrites the thinking",
    "compare": "the judge compares, in both orders",
    "integrate": "the critic makes one answer of all",
}


class StepPrinter:
    """Prints one question word by word, several of them step by step under their numbers.

    Args:
        questions: that are reasoned about.
        console: where to print; standard output by default.
        prefill: the beginning given to the first answer, which ``grow`` does not receive.
        markers: of the model.
    """

    def __init__(
        self,
        questions: Sequence[str],
        console: Console | None = None,
        prefill: str = "",
        markers: MarkerStrings = DEFAULT,
    ) -> None:
        self.questions = questions
        self.markers = markers
        self.console = console or Console(
            soft_wrap=True, markup=False, emoji=False, highlight=False
        )
        self._thinking = False  # whether the text printed last is inside a section
        self._growing = False
        self._prefill = prefill
        self._kind = ""  # of the step before
        self._began = time.monotonic()

    def grow(self, place: int, text: str) -> None:
        """Print new text of an answer; of several questions only whole steps are printed."""
        if len(self.questions) > 1:
            return
        if not self._growing:
            self._title(place, TITLES["finish" if self._kind == "answer" else "answer"])
            self._growing, self._thinking = True, False
            text = self._prefill + text
        self._paint(text)

    def step(self, place: int, step: "Step") -> None:
        """Print a step, or the end of one whose text was printed as it grew."""
        if self._growing:
            self.console.print()
        else:
            self._title(place, TITLES[step.kind])
            self._thinking = step.kind == "rewrite"
            self._paint(step.text)
            self.console.print()
        self._growing, self._prefill, self._kind = False, "", step.kind
        facts = [f"{step.tokens} tokens", f"{step.seconds:.1f} s", *step.problems]
        cut = ["cut at its limit"] if step.finish_reason == "length" else []
        self.console.print(escape_controls(" · ".join([*facts, *cut])), style="dim italic")

    def end(self, traces: "Sequence[Trace]") -> None:
        """Print the final answers."""
        for number, trace in enumerate(traces, 1):
            numbered = f" {number}: {trace.question}" if len(traces) > 1 else ""
            why = f" (stopped: {trace.stopped})" if trace.stopped else ""
            self.console.print()
            self.console.print(escape_controls(f"Answer{numbered}{why}"), style="bold cyan")
            self.console.print(escape_controls(trace.cited or "(no answer)"), style="bold")
        calls, tokens = sum(t.calls for t in traces), sum(t.tokens for t in traces)
        seconds = time.monotonic() - self._began
        self.console.print(f"{calls} calls, {tokens} tokens, {seconds:.0f} s", style="dim italic")

    def _title(self, place: int, title: str) -> None:
        number = f"{place + 1}: " if len(self.questions) > 1 else ""
        self.console.print()
        self.console.print(f"{number}{title}", style="cyan")

    def _paint(self, text: str) -> None:
        line = Text()
        markers = self.markers
        for part in markers.pattern.split(text):
            if part in markers.all:
                self._thinking = part in (markers.think_start, markers.reflect_start)
                line.append(part, "dim")
            else:
                line.append(escape_controls(part), "dim" if self._thinking else "bold")
        self.console.print(line, end="")


def show(
    reasoner: "Reasoner", questions: Sequence[str], earlier: Sequence[tuple[str, str]] = ()
) -> "list[Trace]":
    """Reason about questions and print each step when it is made.

    Args:
        reasoner: answers them.
        questions: without a trigger.
        earlier: turns of the conversation before each of them, question and answer.
    """
    prefix, markers = reasoner.settings.thinking_prefix, reasoner.settings.markers
    prefill = "" if prefix is None else f"{markers.think_start}\n{escape_special_tokens(prefix)}"
    printer = StepPrinter(questions, prefill=prefill, markers=markers)
    watch = printer.grow if len(questions) == 1 else None
    traces = reasoner.reason(questions, earlier, printer.step, watch)
    printer.end(traces)
    return traces


def chat(reasoner: "Reasoner") -> None:
    """Answer each line of standard input as a turn of one conversation; an empty line ends it.

    Raises:
        ConfigError: a line is not in UTF-8.
    """
    earlier: list[tuple[str, str]] = []
    for question in _lines_typed():
        [trace] = show(reasoner, [question], earlier[-TURNS:])
        if trace.answer:  # a turn without an answer would teach the model to give none
            earlier.append((trace.question, trace.answer))


def _lines_typed() -> Iterator[str]:
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            question = input(prompt).strip()
        except EOFError:
            return
        except UnicodeDecodeError as error:
            raise ConfigError(f"--chat: a question is not in UTF-8: {error}") from error
        if not question:
            return
        yield question
