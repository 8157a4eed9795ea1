"""Turns errors from a model's own code into one line: a family may lack what training needs."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from preflexor_pl.core.errors import ConfigError

FOREIGN = AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError
LENGTH = 300  # characters of a reason
CODE = "it needs Python code of its own, which is never run: choose a family that transformers has"


class UnsupportedLayout(ValueError):
    """A model cannot be run in a layout; the message gives the user the reason."""


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Raise a ConfigError that begins with ``what`` for an error of the model's code.

    An out-of-memory error is passed on.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except FOREIGN as error:
        raise ConfigError(f"{what}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """The message of an error in one line."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return CODE
    return text[:LENGTH] or type(error).__name__


def place_of(error: Exception) -> str:
    """Where an error was raised: the last line of the model's code, else the last frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "models" in Path(frame.filename).parts]
    last = (own or frames)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
