"""Errors that a model's own code raises, as one line: a family may lack what is asked of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from preflexor_pl.core.errors import ConfigError

FOREIGN = AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError
LENGTH = 300  # characters of a reason
CODE = "it needs Python code of its own, which is never run: choose a family that transformers has"


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
