"""The process that a user's check runs in; runs as a script, and may die.

``user_check`` starts it and sends a request a line. The first names the function, and is answered
by ``ready`` or by ``broken`` with the reason; each other one has an ``answer`` and its ``item``,
and is answered by ``right`` or by the ``error`` that the function raised.
"""

import json
import os
import resource
from collections.abc import Callable
from importlib import import_module
from typing import Any

from preflexor_pl.tasks.task import Item

MEMORY_BYTES = 2**33  # of addresses
CPU_SECONDS = 60  # for one answer, should nobody be left to end this process

Check = Callable[[str, Item], Any]


def load(path: str) -> Check:
    """The function at ``module:function`` or ``module.function``."""
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{path} is a {type(found).__name__}, not a function")
    return found


def decide(check: Check, request: dict[str, Any]) -> bool:
    """Whether the function says that the answer is right."""
    said = check(request["answer"], Item(**request["item"]))
    if type(said).__name__ not in ("bool", "bool_"):  # numpy's is one too
        raise TypeError(f"it returned {said!r}, must be True or False")
    return bool(said)


def told(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def main() -> None:
    """Serve until the requests end."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what the function prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    check: Check | None = None
    for line in requests:
        request = json.loads(line)
        try:
            if check is None:
                check = load(request["function"])
                message: dict[str, Any] = {"ready": True}
            else:
                usage = resource.getrusage(resource.RUSAGE_SELF)
                _limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + CPU_SECONDS)
                message = {"right": decide(check, request)}
        except BaseException as error:  # the user's code may raise anything, sys.exit's too
            message = {"broken" if check is None else "error": told(error)}
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()


def _limit(which: int, soft: int) -> None:
    try:
        resource.setrlimit(which, (soft, resource.RLIM_INFINITY))
    except (ValueError, OSError):  # a lower limit holds already, or (macOS) there is none
        return


if __name__ == "__main__":
    main()
