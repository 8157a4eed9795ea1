"""The findings of a checkup. Imports nothing heavy, as a package may be what is missing."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from preflexor_pl.cli.entry import as_one_line
from preflexor_pl.core.errors import PreflexorError

LONGEST = 500  # letters of a fact
State = Literal["ok", "note", "BAD"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: what it belongs to.
        state: ``note`` is worth knowing and stops nothing; ``BAD`` stops a run.
        fact: one line.
        advice: what to do, where the fact does not say so itself.
        code: exit code of its kind, 0 unless BAD.
    """

    group: str
    state: State
    fact: str
    advice: str = ""
    code: int = 0


class Report:
    """Takes findings.

    Args:
        show: called after each of them, with all of them so far.
        debug: show the traceback of what breaks a check off.
    """

    def __init__(self, show: Callable[[list[Finding]], None], debug: bool = False) -> None:
        self.findings: list[Finding] = []
        self._show, self._debug, self._group = show, debug, ""

    def ok(self, fact: str) -> None:
        """Nothing to do."""
        self._add("ok", fact)

    def note(self, fact: str, advice: str) -> None:
        """Worth knowing; stops nothing."""
        self._add("note", fact, advice)

    def bad(self, error: PreflexorError, advice: str = "") -> None:
        """Stops a run, with the line and the exit code of ``error``."""
        self._add("BAD", str(error), advice, error.exit_code)

    @contextmanager
    def check(self, group: str) -> Iterator[None]:
        """What is found in the block belongs to ``group``; what the block raises is BAD."""
        self._group = group
        try:
            yield
        except Exception as error:  # whatever it is, the other checks go on
            if self._debug and not isinstance(error, PreflexorError):
                traceback.print_exc()
            self.bad(as_one_line(error))

    @property
    def exit_code(self) -> int:
        """That of the first BAD finding, 0 where there is none."""
        return next((one.code for one in self.findings if one.state == "BAD"), 0)

    def _add(self, state: State, fact: str, advice: str = "", code: int = 0) -> None:
        self.findings.append(Finding(self._group, state, _line(fact), _line(advice), code))
        self._show(self.findings)


def _line(text: str) -> str:
    """One line in which nothing moves a cursor: it may quote what others made."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST]
