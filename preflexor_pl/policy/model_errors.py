"""Errors that a model's own code raises, as one line: a family may lack what is asked of it."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from preflexor_pl.core.errors import ConfigError

FOREIGN = AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError
LENGTH = 300  # characters of a reason
CODE = "it needs Python code of its own, which is never run: choose a family that transformers has"


class NotServed(ValueError):
    """A layout does not serve a model; the message says why, in words for the user."""


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Raise a ConfigError that begins with ``what`` for an error of the model's code.

    Want of memory stays what it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except FOREIGN as error:
        raise ConfigError(f"{what}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return CODE
    return text[:LENGTH] or type(error).__name__


def place_of(error: Exception) -> str:
    """Where an error arose: file and line of the model's own code, else of the last frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "models" in Path(frame.filename).parts]
    last = (own or frames)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
