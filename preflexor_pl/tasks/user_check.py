"""A function of the user's own that checks answers, in a process with a limit on its time.

    def check(answer: str, item: Item) -> bool: ...

It is named ``module:function`` or ``module.function``, and found where this process finds modules.
Its process has none of the secrets in the environment. An answer over which it takes too long,
crashes or raises is unreadable; the process is replaced where it was too slow or crashed.
"""

import re
import threading
import weakref
from pathlib import Path
from sys import path as module_path
from typing import Any

from preflexor_pl.core.child_process import ChildFault, ChildProcess, Fault
from preflexor_pl.core.errors import ConfigError, ResourceError
from preflexor_pl.core.progress import log_line
from preflexor_pl.tasks.checkers import MAX_CHARS
from preflexor_pl.tasks.task import Item, Verdict

SCRIPT = Path(__file__).with_name("user_check_process.py")
ROOT = Path(__file__).parents[2]  # where the process finds this project
PATH = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*|\w+(\.\w+)+")
START_SECONDS = 60.0  # to import the user's module, on a busy machine
SECONDS = 2.0  # for one answer
MAX_TOLD = 200  # characters of an error

REASONS: dict[Fault, str] = {"slow": "takes too long", "crashed": "crashes", "large": "crashes"}


class UserCheck:
    """The function and its process, which ends with this object.

    Args:
        function: ``module:function`` or ``module.function``.
        seconds: for one answer.
    """

    def __init__(self, function: str, seconds: float = SECONDS) -> None:
        self.function = function
        self.seconds = seconds
        self._child = ChildProcess(SCRIPT, [str(ROOT), *(place or "." for place in module_path)])
        self._told = False
        self._lock = threading.Lock()
        weakref.finalize(self, self._child.stop)

    def start(self) -> None:
        """Import the function, so that one that is not there is known of before it is needed.

        Raises:
            ConfigError: it cannot be imported.
            ResourceError: the process does not start, whatever the function.
        """
        self._child.start()
        try:
            self._child.send({"function": self.function})
            broken = self._child.receive(START_SECONDS).get("broken")
        except ChildFault as fault:
            broken = f"its import {REASONS[fault.fault]}"
        if broken:
            self._child.stop()
            raise ConfigError(
                f"data.task: the check {self.function} cannot be used ({_line(broken)}): "
                "give module:function, of a module that can be imported from here"
            )

    def check(self, answer: str, item: Item) -> Verdict:
        """Whether an answer is right; never raises."""
        if not answer.strip() or len(answer) > MAX_CHARS:
            return "unreadable"
        with self._lock:
            message = self._ask(answer, item)
        if "right" in message:
            return "right" if message["right"] else "wrong"
        if not self._told:
            self._told = True
            log_line(
                f"The check {self.function} fails on an answer to {item.id}: "
                f"{_line(message['error'])}. Such answers count as unreadable; this is said once."
            )
        return "unreadable"

    def _ask(self, answer: str, item: Item) -> dict[str, Any]:
        """What the process answers, or the error that it has none."""
        fields = vars(item) | {"details": dict(item.details)}
        try:
            if not self._child.alive:
                self.start()
            self._child.send({"answer": answer, "item": fields})
            return self._child.receive(self.seconds)
        except ChildFault as fault:
            self._child.stop()
            return {"error": f"it {REASONS[fault.fault]}"}
        except (ConfigError, ResourceError) as error:
            return {"error": str(error)}


def _line(text: str) -> str:
    """Printable text of one line, not too long."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:MAX_TOLD]).strip()
