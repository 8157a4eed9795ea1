"""Keys of a config at any depth: which there are, and the nearest one to a misspelt key.

jsonargparse names a misspelt key by the class that refuses it, and inside a settings class it takes
the beginning of a key for the key. So keys are checked here before jsonargparse reads them.
"""

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from preflexor_pl.core.errors import ConfigError

RENAMED = {"data.overlap": "data.prefetch"}  # keys of earlier versions
SPECIFICATION = "class_path", "init_args", "dict_kwargs"  # how a config names a class
PARTS = Union, UnionType, list, Iterable, Sequence  # a type whose arguments may be classes


class ConfigKeys:
    """The keys of a parser and of the classes that its values are built from.

    Args:
        parser: of the whole command line.
    """

    def __init__(self, parser: ArgumentParser) -> None:
        self._parser = parser
        self._chosen: dict[str, type] = {}  # key -> the class that the last value for it named

    def check(self, tree: Mapping[str, Any], where: str = "", dashes: str = "") -> None:
        """Refuse a key that does not exist; to be called for each source in its order.

        Args:
            tree: keys and values; a key may contain dots.
            where: begins the error, such as the name of the file.
            dashes: before a key in the error.

        Raises:
            ConfigError: names the key and its new name, or the nearest one.
        """
        try:
            self._check_group(self._parser, tree, "", "")
        except _UnknownKeyError as error:
            if error.key in RENAMED:
                raise ConfigError(f"{where}{error.key} is now {RENAMED[error.key]}") from None
            near = self._nearest(error.key, error.siblings)
            hint = f"did you mean {dashes}{near}?" if near else "--help_all lists the keys"
            raise ConfigError(f"{where}{dashes}{error.key} is no key: {hint}") from None

    def _check_group(
        self, parser: ArgumentParser, tree: Mapping[str, Any], group: str, outer: str
    ) -> None:
        actions = {action.dest: action for action in _options(parser)}
        for name, value in _undotted(tree):
            key = f"{group}{name}"
            if hasattr(actions.get(key), "_typehint"):
                self._check_value(actions[key], value, f"{outer}{key}")
            elif any(dest.startswith(f"{key}.") for dest in actions):
                if isinstance(value, dict):
                    self._check_group(parser, value, f"{key}.", outer)
            elif key not in actions:
                raise _UnknownKeyError(f"{outer}{key}", value, _children(parser, group, outer))

    def _check_value(self, action: Any, value: Any, key: str) -> None:
        classes = _classes_in(action._typehint)
        if isinstance(value, list):
            for place, one in enumerate(value):
                self._check_class(classes, action.default, one, f"{key}[{place}]", key)
        else:
            self._check_class(classes, action.default, value, key, key)

    def _check_class(
        self, classes: Sequence[type], default: Any, value: Any, shown: str, key: str
    ) -> None:
        value = dict(_undotted(value)) if isinstance(value, dict) else value
        named = value.get("class_path") if isinstance(value, dict) else value
        if isinstance(named, str):
            chosen = _loaded_class(classes, named)
        else:
            chosen = self._chosen.get(key) or _default_class(classes, default)
        if chosen is None:
            self._chosen.pop(key, None)
            return
        self._chosen[key] = chosen
        if not isinstance(value, dict):
            return
        parser, direct = _parser_of(chosen), not set(value) & set(SPECIFICATION)
        arguments = value if direct else value.get("init_args") or {}
        beside = [name for name in value if name not in SPECIFICATION and not direct]
        prefix = f"{shown}." if direct else f"{shown}.init_args."
        if beside:
            name = f"{shown}.{beside[0]}"
            raise _UnknownKeyError(name, value[beside[0]], _children(parser, "", prefix))
        if isinstance(arguments, dict):
            self._check_group(parser, arguments, "", prefix)

    def _nearest(self, key: str, siblings: Sequence[str]) -> str:
        """A key with the same last part, else a like sibling, a like key, or a like last part."""
        keys = [name for name in keys_of(self._parser) if not key.startswith(f"{name}.")]
        last = key.rpartition(".")[2]
        same = [n for n in (*siblings, *keys) if n.rpartition(".")[2] == last and n != key]
        for wanted, names, cutoff in (
            (key, {name: name for name in same}, 0.0),
            (last, {name.rpartition(".")[2]: name for name in siblings}, 0.6),
            (key, {name: name for name in keys}, 0.8),
            (last, {name.rpartition(".")[2]: name for name in reversed(keys)}, 0.6),
        ):
            if close := difflib.get_close_matches(wanted, names, 1, cutoff):
                return names[close[0]]
        return ""


class _UnknownKeyError(Exception):
    """A key that does not exist, with the whole path to it, and the keys beside it."""

    def __init__(self, key: str, value: Any, siblings: Sequence[str]) -> None:
        while isinstance(value, dict) and len(value) == 1:  # modle.lr: the whole of it is told
            [(name, value)] = value.items()
            key, siblings = f"{key}.{name}", ()
        super().__init__(key)
        self.key, self.siblings = key, siblings


def keys_of(parser: ArgumentParser, outer: str = "") -> Iterator[str]:
    """Every key, also those of the classes that values are built from by default."""
    for key, _ in actions_of(parser, outer):
        yield key


def actions_of(parser: ArgumentParser, outer: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its action, as ``keys_of``."""
    for action in _options(parser):
        yield f"{outer}{action.dest}", action
        if hint := getattr(action, "_typehint", None):
            chosen = _default_class(_classes_in(hint), action.default)
            if chosen:
                yield from actions_of(_parser_of(chosen), f"{outer}{action.dest}.")


def _undotted(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, ``a.b: c`` as ``a: {b: c}``, and without the + that adds to a list."""
    for dotted, value in tree.items():
        name, _, rest = str(dotted).partition(".")
        yield name.removesuffix("+"), {rest: value} if rest else value


def _children(parser: ArgumentParser, group: str, outer: str) -> list[str]:
    """The keys directly in a group, whole."""
    rests = [a.dest.removeprefix(group) for a in _options(parser) if a.dest.startswith(group)]
    return [f"{outer}{group}{name}" for name in dict.fromkeys(r.partition(".")[0] for r in rests)]


def _options(parser: ArgumentParser) -> list[Any]:
    """What can be given: neither help nor a key that another key sets."""
    given = [a for a in parser._actions if any(o.startswith("-") for o in a.option_strings)]
    return [a for a in given if a.dest != "help" and not a.dest.endswith(".help")]


def _classes_in(hint: Any) -> list[type]:
    """The classes that a value of this type may be built from; none of Python's own."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Callable and parts:
        return _classes_in(parts[-1])
    if origin in PARTS:
        return [one for part in parts for one in _classes_in(part)]
    own = isinstance(hint, type) and origin is None and hint.__module__ != "builtins"
    return [hint] if own else []


def _default_class(classes: Sequence[type], default: Any) -> type | None:
    """The class of a value that names none."""
    named = getattr(default, "class_path", None) or (
        default.get("class_path") if isinstance(default, dict) else None
    )
    if isinstance(named, str):
        return _loaded_class(classes, named)
    return next((one for one in classes if is_dataclass(one)), None)


def _loaded_class(classes: Sequence[type], name: str) -> type | None:
    """The class of that name; None where its module is not loaded: nothing is imported here."""
    module, _, last = name.rpartition(".")
    if module:
        found = getattr(sys.modules.get(module), last, None)
        return found if isinstance(found, type) else None
    return next((one for one in _with_subclasses(classes) if one.__name__ == name), None)


def _with_subclasses(classes: Iterable[type]) -> Iterator[type]:
    for one in classes:
        yield one
        yield from _with_subclasses(one.__subclasses__())


@cache
def _parser_of(chosen: type) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(chosen, fail_untyped=False)
    return parser
