"""Config files: YAML 1.2, read with no more trust than they need.

No object is built and no alias explodes. ``no``, ``off`` and ``1:30`` are text, as YAML 1.2 has
it: only ``true`` and ``false`` are booleans. A key that stands twice is refused.
"""

import re
from datetime import timedelta
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import yaml

from preflexor_pl.core.errors import ConfigError

MAX_VALUES = 10_000  # in one file
_TAG = "tag:yaml.org,2002:"
_CORE_SCHEMA = (  # YAML 1.2.2, section 10.3.2; "<<" is a key of YAML 1.1 that configs rely on
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, and no key twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose own keys stand once each; they win over merged ones."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, mark = str(key.value), key.start_mark
            if isinstance(key, yaml.ScalarNode) and name in lines and key.tag != f"{_TAG}merge":
                problem = f"the key {name!r} stands here again, after line {lines[name]}"
                raise yaml.constructor.ConstructorError(None, None, problem, mark)
            lines[name] = mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_core_int(self, node: yaml.ScalarNode) -> int:
        """A whole number; 010 is ten."""
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class TypedLoader(_Loader):
    """For a value that can be a number, a boolean or null: ``yes`` and ``off`` are booleans."""


class _Dumper(yaml.SafeDumper):
    """Quotes what a reader of YAML 1.1 or of YAML 1.2 would take for another type.

    Defaults of classes that a config names may be no plain values: those are written as the text
    that a config gives for them.
    """

    def plain(self, value: Any) -> yaml.Node:
        """What stands for a member of an Enum, a path or a span of time."""
        if isinstance(value, Enum):
            return self.represent_data(value.value)
        if isinstance(value, timedelta):  # as Lightning's Timer takes it
            minutes, seconds = divmod(value.seconds, 60)
            return self.represent_str(
                f"{value.days:02}:{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
            )
        return self.represent_str(str(value))


for _name, _pattern, _first in _CORE_SCHEMA:
    for _end in (_Loader, _Dumper):
        _end.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), _first)
for _class in (Enum, timedelta, PurePath):
    _Dumper.add_multi_representer(_class, _Dumper.plain)
TypedLoader.add_implicit_resolver(
    f"{_TAG}bool", re.compile(r"(?:yes|no|on|off)$", re.IGNORECASE), list("yYnNoO")
)
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_core_int)


def load_yaml(text: str) -> Any:
    """What a text in YAML 1.2 says, as plain values; raises YAMLError."""
    return yaml.load(text, Loader=_Loader)


def dump_yaml(tree: Any, width: int | None = None) -> str:
    """Plain values as YAML that ``load_yaml`` reads back.

    Args:
        tree: what is written.
        width: letters of a line; None is PyYAML's own.
    """
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)


def read_config(path: Path) -> dict[str, Any]:
    """The settings of a file; refuses one that is no mapping, or that means more than it says.

    Raises:
        ConfigError: names the file, and the line where there is one.
    """
    if path.is_dir():
        raise ConfigError(f"--config: {path} is a folder: give a file in it")
    if not path.is_file():
        raise ConfigError(f"--config: {path} does not exist")
    try:
        text = path.read_text(encoding="utf-8-sig")
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
        tree = load_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        told = " ".join(filter(None, (error.problem, error.context)))
        raise ConfigError(f"{path}, line {line}: {told}") from error
    except (yaml.YAMLError, ValueError) as error:
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
