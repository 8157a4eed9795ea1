"""Config files, read with no more trust than they need: no object is built, no alias explodes."""

from pathlib import Path
from typing import Any

import yaml

from preflexor_pl.core.errors import ConfigError

MAX_VALUES = 10_000  # in one file


def read_config(path: Path) -> dict[str, Any]:
    """The settings of a file; refuses one that is no mapping, or that means more than it says.

    Raises:
        ConfigError: names the file, and the line where there is one.
    """
    if not path.is_file():
        raise ConfigError(f"--config: {path} does not exist")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}, line {line}: {error.problem} {error.context or ''}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no settings: see configs/orpo.yaml")
    budget, todo = MAX_VALUES, list[Any]([tree])
    while todo:  # an alias is expanded wherever it stands: nine lines can mean a billion values
        node = todo.pop()
        children = node.values() if isinstance(node, dict) else node
        todo += [child for child in children if isinstance(child, dict | list)]
        budget -= len(node) + 1
        if budget < 0:
            raise ConfigError(f"{path} holds more than {MAX_VALUES} values")
    return tree
