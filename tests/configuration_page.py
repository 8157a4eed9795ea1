"""The tables of docs/configuration.md: ``python -m tests.configuration_page`` writes them anew.

Rows come from the parser of fit; what the parser does not expand, such as a server's settings, from
the dataclass and its docstring. The Trainer's own keys are listed by name.
"""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import parse

from losses import PreferenceLoss
from preflexor_pl.batches.thinking import ThinkingMask
from preflexor_pl.cli.parser import PreferenceCLI

PAGE = Path(__file__).parents[1] / "docs/configuration.md"
TABLES = re.compile(r"(<!-- tables -->\n).*(<!-- end of tables -->)", re.DOTALL)
HEAD = "| key | type | default | help |\n|---|---|---|---|\n"
TITLES = {"": "The run", "model": "`model`", "data": "`data`", "trainer": "`trainer`"}
HIDDEN = "==SUPPRESS=="  # of keys that follow from others
EXPLAINED = {"max_epochs", "accelerator", "devices", "callbacks", "logger", "deterministic"}
SELECTED = {"model.loss": PreferenceLoss, "data.masking": ThinkingMask}


class _Parsed(Exception):
    pass


def _own_subclasses(base: type) -> list[type]:
    """Subclasses that the package has, without those that tests and benchmarks define."""
    return [
        one
        for one in base.__subclasses__()
        if not one.__module__.startswith(("tests", "benchmarks"))
    ]


def _parser() -> Any:
    def stop(cli: PreferenceCLI) -> None:
        raise _Parsed(cli.parser)

    try:
        PreferenceCLI([], before=stop)
    except _Parsed as parsed:
        return parsed.args[0]
    raise AssertionError("the parser came to no end")


def tables() -> str:
    """The tables as Markdown, one for each group of keys, and one of the classes."""
    parts: dict[str, list[str]] = {name: [] for name in TITLES}
    others = []
    for action in _parser()._actions:
        key, group = action.dest, action.dest.partition(".")[0]
        if action.default == HIDDEN or key == "config":
            continue
        if group == "trainer" and key.removeprefix("trainer.") not in EXPLAINED:
            others.append(f"`{key}`" * (not key.endswith(".help")))
            continue
        if key.endswith(".help"):
            continue
        kind = getattr(action, "_typehint", None) or action.type
        rows = [*_rows(key, kind, action.default, action.help or "")]
        parts[group if group in parts else ""] += rows
    text = [f"### {TITLES[name]}\n\n{HEAD}" + "".join(rows) for name, rows in parts.items()]
    rest = ", ".join(filter(None, others))
    text.append(f"The other keys of `trainer` are Lightning's: {rest}.\n")
    return "\n".join([*text, _classes()])


def _rows(key: str, kind: Any, default: Any, told: str) -> Iterator[str]:
    default = getattr(default, "class_path", default)  # a class that is named, not its namespace
    yield f"| `{key}` | {_type(kind)} | {_default(default)} | {_told(told, key)} |\n"
    inner = [one for one in (kind, *get_args(kind)) if is_dataclass(one) and one not in _classed()]
    for settings in inner:
        hints, helps = get_type_hints(settings), _helps(settings)
        for field in fields(settings):
            value = field.default if field.default_factory is MISSING else field.default_factory()
            shown = "" if is_dataclass(value) else value
            name = f"{key}.{field.name}"
            yield from _rows(name, hints[field.name], shown, helps.get(field.name, ""))


def _classed() -> set[type]:
    return {one for base in SELECTED.values() for one in (base, *_own_subclasses(base))}


def _helps(settings: type) -> dict[str, str]:
    """What docstrings say of fields, those of base classes too."""
    told: dict[str, str] = {}
    for one in reversed(settings.__mro__):
        told |= {p.arg_name: p.description or "" for p in parse(inspect.getdoc(one) or "").params}
    return told


def _type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_type(one) for one in get_args(kind))
    if kind is type(None):
        return "null"
    if kind is typing.Any:
        return "any"
    origin = get_origin(kind)
    if origin in (list, dict):
        inner = " to ".join(_type(one) for one in get_args(kind))
        return f"{'list' if origin is list else 'mapping'} of {inner}"
    if origin is not None:
        return "class"  # a callable: the class of an optimiser or of a schedule
    names = {
        "str": "text",
        "int": "integer",
        "float": "number",
        "bool": "boolean",
        "_folder": "text",
    }
    return names.get(kind.__name__, f"`{kind.__name__}`")


def _default(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if value is MISSING:
        return "required"
    return f"`{value}`".replace("|", r"\|") if value != "" else ""


def _told(text: str, key: str) -> str:
    text = text.partition("\nDefault:")[0] if key.startswith("trainer.") else text
    text = " ".join(text.split()).replace("``", "`").replace("|", r"\|")
    return re.sub(r":(?:class|func|attr|paramref|meth):`~?([^`]*)`", r"`\1`", text)


def _classes() -> str:
    rows = [
        f"| `{key}` | `{one.__name__}{_signature(one)}` | {_first_line(one)} |\n"
        for key, base in SELECTED.items()
        for one in _own_subclasses(base)
    ]
    head = "| key | class | what it is |\n|---|---|---|\n"
    return f"### Classes to choose from\n\n{head}{''.join(rows)}"


def _signature(one: type) -> str:
    return "(" + ", ".join(f"{f.name}={f.default}" for f in fields(one)) + ")"


def _first_line(one: type) -> str:
    return _told((one.__doc__ or "").strip().partition("\n\n")[0], "")


def page() -> str:
    """The page with its tables as the code has them."""
    text = PAGE.read_text(encoding="utf-8")
    return TABLES.sub(lambda found: f"{found[1]}{tables()}{found[2]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
