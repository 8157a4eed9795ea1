"""Errors a user can act on: one line that says what, where and what to do, and an exit code.

Exit codes: 0 done, 1 not foreseen, 2 config or usage, 3 corpus or data, 4 teacher, 5 numerical,
6 resources, 130 and 143 signals.
"""

import signal


class PreflexorError(Exception):
    """Base of every error that is shown to the user as one line; subclasses set the exit code."""

    exit_code = 1


class ConfigError(PreflexorError):
    """A key, a value, a file or a package that the user named or left out."""

    exit_code = 2


class CorpusError(PreflexorError):
    """Nothing usable in the corpus, the graph or a round's data."""

    exit_code = 3


class TeacherError(PreflexorError):
    """The teacher cannot be reached or does not give anything usable."""

    exit_code = 4


class NumericalError(PreflexorError):
    """The loss or the gradient stopped being finite."""

    exit_code = 5


class ResourceError(PreflexorError):
    """Disk, memory or a lock stands in the way."""

    exit_code = 6


class Stopped(BaseException):
    """A signal asked the run to end; a checkpoint is saved where there was something to save."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number
