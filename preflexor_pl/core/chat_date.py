"""The day that chat templates state: the one on which a run began, else today.

A template with a date gives other token ids after midnight; a run that is resumed, or whose round
is drawn again, must give the same.
"""

import functools
import json
from datetime import date
from pathlib import Path

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import write_atomically

DATE_FILE = "date.txt"  # in a run's folder
_CODES = [f"%{flag}{code}" for code in "aAbBcdDeFGHIjmMpSTuUVwWxXyYzZ" for flag in ("-", "")]

_pinned: date | None = None


def pin_date(run: Path, begins: bool = False) -> None:
    """Let chat templates state the day on which ``run`` began.

    Args:
        run: the run's folder. Where it keeps no day, templates state today.
        begins: keep today as its day where it has none yet.

    Raises:
        ConfigError: what the folder keeps is no date.
    """
    global _pinned
    path = run / DATE_FILE
    if begins and not path.exists():
        write_atomically(path, f"{date.today().isoformat()}\n")
    _pinned = _read(path) if path.exists() else None


def _read(path: Path) -> date:
    try:
        return date.fromisoformat(path.read_text(encoding="utf-8").strip())
    except ValueError as error:
        raise ConfigError(
            f"{path} holds no date: write the day on which the run began, as 2026-01-31"
        ) from error


def dated(template: str) -> str:
    """The template, its ``strftime_now`` replaced by one that knows the pinned day alone."""
    if "strftime_now" not in template:
        return template
    return _macro(_pinned or date.today()) + template


@functools.lru_cache(maxsize=2)
def _macro(day: date) -> str:
    """``strftime_now`` in Jinja: transformers takes no function beside the turns."""
    filled = "".join(
        f" | replace({json.dumps(code)}, {json.dumps(day.strftime(code))})" for code in _CODES
    )
    return f"{{%- macro strftime_now(format) -%}}{{{{ format{filled} }}}}{{%- endmacro -%}}"
