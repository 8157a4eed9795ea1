"""What ends a run, and whether a run that ended has what is asked for: epochs, steps or time.

``finished.json`` says how far a run came and what ended it. The same command, or one that asks for
less, finds it finished; any limit that is raised beyond what was done has it go on.
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

    def met_by(self, done: Mapping[str, Any]) -> str:
        """The first limit that epochs, steps and seconds so far have reached; "" where none is."""
        for name, limit in asdict(self).items():
            if limit is not None and done.get(name, 0) >= limit:
                return name
        return ""

    def allow_more_than(self, others: Mapping[str, Any]) -> bool:
        """Whether a limit is higher than it was."""
        return any(
            others.get(name) is not None and (limit is None or limit > others[name])
            for name, limit in asdict(self).items()
        )


def is_finished(record: Mapping[str, Any], limits: Limits) -> bool:
    """Whether a run that ended so has all that is asked for now.

    Args:
        record: what ``finished.json`` says.
        limits: of this command.
    """
    if record.get("by") == EARLY:
        return not limits.allow_more_than(record.get("limits", {}))
    return bool(limits.met_by(record))
