"""The findings of a checkup. Imports nothing heavy, as a package may be what is missing."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from preflexor_pl.core.errors import ConfigError, PreflexorError, ResourceError

LONGEST = 500  # letters of a fact
UNKNOWN = 1  # exit code of what no error of ours stands for


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
    state: Literal["ok", "note", "BAD"]
    fact: str
    advice: str = ""
    code: int = 0


class Report:
    """Takes findings; ``show`` gets each of them at once.

    Args:
        show: of one finding.
        debug: show the traceback of what breaks a check off.
    """

    def __init__(self, show: Callable[[Finding], None], debug: bool = False) -> None:
        self.findings: list[Finding] = []
        self._show = show
        self._debug = debug
        self._group = ""

    def ok(self, fact: str) -> None:
        """Nothing to do."""
        self._add(Finding(self._group, "ok", _line(fact)))

    def note(self, fact: str, advice: str) -> None:
        """Worth knowing; stops nothing."""
        self._add(Finding(self._group, "note", _line(fact), _line(advice)))

    def bad(self, error: PreflexorError, advice: str = "") -> None:
        """Stops a run, with the line and the exit code of ``error``."""
        self._add(Finding(self._group, "BAD", _line(str(error)), _line(advice), error.exit_code))

    @contextmanager
    def check(self, group: str) -> Iterator[None]:
        """What is found in the block belongs to ``group``; what the block raises is BAD."""
        self._group = group
        try:
            yield
        except PreflexorError as error:
            self.bad(error)
        except ModuleNotFoundError as error:
            self.bad(ConfigError(f"the package {error.name} is missing: pip install it"))
        except OSError as error:
            what = f"{error.strerror or error}: {error.filename or group}"
            self.bad(ResourceError(f"{what}: check the path, its rights and the disk"))
        except Exception as error:  # whatever it is, the other checks go on
            if self._debug:
                traceback.print_exc()
            what = _line(f"this broke off with {type(error).__name__}: {error}")
            self._add(Finding(group, "BAD", what, "--debug shows where", UNKNOWN))

    @property
    def exit_code(self) -> int:
        """That of the first BAD finding, 0 where there is none."""
        return next((one.code for one in self.findings if one.state == "BAD"), 0)

    def _add(self, finding: Finding) -> None:
        self.findings.append(finding)
        self._show(finding)


def _line(text: str) -> str:
    """One line in which nothing moves a cursor: it may quote what others made."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST]
