"""Shows reasoning on a terminal while it happens: thinking dim, answers bright."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from preflexor_pl.batches.show import escape_controls
from preflexor_pl.core.markers import DEFAULT, MarkerStrings

if TYPE_CHECKING:
    from preflexor_pl.reasoning import Step, Trace

TITLES = {
    "answer": "the model answers",
    "finish": "the model is asked for its answer",
    "feedback": "the critic says what is missing",
    "rewrite": "the critic rewrites the thinking",
    "compare": "the judge compares, in both orders",
    "integrate": "the critic makes one answer of all",
}


class Shown:
    """The reasoning about some questions, printed.

    One question is printed word by word, several of them step by step under their numbers.

    Args:
        questions: that are reasoned about.
        console: where to; standard output by default.
        given: how the first answer begins, which is not told as growing.
        markers: of the model.
    """

    def __init__(
        self,
        questions: Sequence[str],
        console: Console | None = None,
        given: str = "",
        markers: MarkerStrings = DEFAULT,
    ) -> None:
        self.questions = questions
        self.markers = markers
        self.console = console or Console(
            soft_wrap=True, markup=False, emoji=False, highlight=False
        )
        self._thinking = False  # inside a section of the text that grows
        self._growing = False
        self._given = given
        self._kind = ""  # of the step before
        self._began = time.monotonic()

    def grow(self, place: int, text: str) -> None:
        """Print what an answer grew by; of several questions their whole steps are printed."""
        if len(self.questions) > 1:
            return
        if not self._growing:
            self._title(place, TITLES["finish" if self._kind == "answer" else "answer"])
            self._growing, self._thinking = True, False
            text = self._given + text
        self._paint(text)

    def step(self, place: int, step: "Step") -> None:
        """Print a step that was made, or the end of one that grew."""
        if self._growing:
            self.console.print()
        else:
            self._title(place, TITLES[step.kind])
            self._thinking = step.kind == "rewrite"
            self._paint(step.text)
            self.console.print()
        self._growing, self._given, self._kind = False, "", step.kind
        told = [f"{step.tokens} tokens", f"{step.seconds:.1f} s", *step.problems]
        cut = ["cut at its limit"] if step.finish_reason == "length" else []
        self.console.print(escape_controls(" · ".join([*told, *cut])), style="dim italic")

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
