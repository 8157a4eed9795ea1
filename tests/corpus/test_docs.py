"""docs/corpus.md names every reason for which something is skipped, and every suffix."""

import ast
import importlib
import re
from pathlib import Path

import preflexor_pl.corpus
from preflexor_pl.corpus.columns import PARTS, TEXTS
from preflexor_pl.corpus.documents import SUFFIXES

ROOM = Path(preflexor_pl.corpus.__file__).parent
PAGE = (ROOM.parents[1] / "docs/corpus.md").read_text()
RAISED = {"Unusable": 0, "Refused": 0, "NoColumn": 0, "Skipped": 1}  # which argument is the reason
NAMED = {"reason", "told"}  # variables that hold one


def heads(node, module):
    """The literal beginnings of the strings that an expression can be."""
    if isinstance(node, ast.IfExp):
        return heads(node.body, module) | heads(node.orelse, module)
    if isinstance(node, ast.Tuple):
        return heads(node.elts[0], module)
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    if isinstance(node, ast.Name) and node.id.isupper():
        return {getattr(module, node.id)}
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def reasons(path):
    name = ".".join(path.with_suffix("").relative_to(ROOM.parents[1]).parts)
    module = importlib.import_module(name)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
            place = RAISED[node.func.id]
            yield from heads(node.args[place], module) if len(node.args) > place else ()
        elif isinstance(node, ast.Return) and path.name == "skipped_folders.py":
            yield from heads(node.value, module)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if getattr(key, "value", "") == "skip":
                    yield from heads(value, module)
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "REASONS":
            for value in node.value.values:
                yield from heads(value, module)
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            target = target.elts[0] if isinstance(target, ast.Tuple) else target
            if getattr(target, "id", "") in NAMED and path.name in ("parsers.py", "columns.py"):
                yield from heads(node.value, module)


def test_every_reason_is_explained_and_no_other():
    code = {reason.strip() for path in ROOM.rglob("*.py") for reason in reasons(path)} - {""}
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("## What is skipped")[2], re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert {row.partition("…")[0].strip() for row in rows} == code


def test_every_suffix_and_column_is_named():
    formats = PAGE.partition("## Formats")[2].partition("\n\n")[2].partition("\n\n")[0]
    named = [suffix for row in formats.splitlines()[2:] for suffix in row.split("|")[1].split()]
    assert sorted(named) == sorted(SUFFIXES)
    assert all(f"`{name}`" in PAGE for name in (*TEXTS, *PARTS))
