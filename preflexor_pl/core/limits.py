"""The limits of a run (epochs, steps, time), and whether a finished run has reached them.

``finished.json`` records how far a run came and which limit ended it. With the same or lower limits
the run is finished; with a higher one it continues.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

EARLY = "stopped early"  # by a callback, such as EarlyStopping


@dataclass(frozen=True)
class Limits:
    """How far a run may go; None is no limit."""

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None

    def first_reached(self, done: Mapping[str, Any]) -> str:
        """The first limit that ``done`` has reached; "" where none is."""
        for name, limit in asdict(self).items():
            if limit is not None and done.get(name, 0) >= limit:
                return name
        return ""

    def raise_a_limit_of(self, others: Mapping[str, Any]) -> bool:
        """Whether a limit is higher than it was."""
        return any(
            others.get(name) is not None and (limit is None or limit > others[name])
            for name, limit in asdict(self).items()
        )


def is_finished(record: Mapping[str, Any], limits: Limits) -> bool:
    """Whether a run that ended has reached the limits of this command.

    Args:
        record: what ``finished.json`` says.
        limits: of this command.
    """
    if record.get("by") == EARLY:
        return not limits.raise_a_limit_of(record.get("limits", {}))
    return bool(limits.first_reached(record))
