"""A task by what a config or a command says: a bank's file, or a class path with its arguments."""

import importlib
from typing import Any

from preflexor_pl.core.errors import ConfigError, PreflexorError
from preflexor_pl.tasks.bank import KEY, QuestionBank
from preflexor_pl.tasks.task import Task


def task_of(given: str | Task | dict[str, Any], key: str = KEY) -> Task:
    """The task.

    Args:
        given: a task; the source of a bank; or ``class_path`` and ``init_args``, as a run's config
            keeps them.
        key: to name in an error.

    Raises:
        ConfigError: there is none.
        CorpusError: a bank's row is no question.
    """
    if isinstance(given, str):
        try:
            return QuestionBank(given)
        except PreflexorError as error:
            raise type(error)(str(error).replace(KEY, key)) from error
    if not isinstance(given, dict):
        return given
    path = str(given.get("class_path"))
    module, _, name = path.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)(**given.get("init_args") or {})
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {path} cannot be made ({error})") from error
    if not isinstance(made, Task):
        raise ConfigError(f"{key}: {path} has not the methods of a Task")
    return made
