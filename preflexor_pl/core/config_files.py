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
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    tree = parse_yaml(text, path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no settings: see configs/orpo.yaml")
    return tree


def parse_yaml(text: str, path: Path) -> Any:
    """What a file says, as plain values.

    Args:
        text: of the file.
        path: named in errors.

    Raises:
        ConfigError: it is no YAML, or means more than it says; names the line where there is one.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}, line {line}: {error.problem} {error.context or ''}") from error
    except (yaml.YAMLError, ValueError) as error:  # such as a date without such a day
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deep") from error
    budget, todo = MAX_VALUES, list[Any]([[tree]])
    while todo:  # an alias is expanded wherever it stands: nine lines can mean a billion values
        node = todo.pop()
        children = node.values() if isinstance(node, dict) else node
        todo += [child for child in children if isinstance(child, dict | list)]
        budget -= len(node) + 1
        if budget < 0:
            raise ConfigError(f"{path} holds more than {MAX_VALUES} values")
    return tree
