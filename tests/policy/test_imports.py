"""No circle of imports in a room, those for types alone and those inside functions included."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imports_by_module(root, room):
    """Module -> the modules of ``room`` that it names in an import, wherever in the file."""
    paths = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in (root / room).rglob("*.py")
        if path.name != "__init__.py"
    }
    graph = {}
    for name, path in paths.items():
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        found = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
        for node in (node for node in nodes if isinstance(node, ast.ImportFrom)):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        graph[name] = found & paths.keys()
    return graph


@pytest.mark.parametrize("room", ["preflexor_pl/policy", "preflexor_pl/batches", "losses"])
def test_a_room_has_no_circle(room):
    graph = imports_by_module(ROOT, room)
    assert any(graph.values())
    TopologicalSorter(graph).prepare()


def test_a_circle_for_types_alone_is_found(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/one.py").write_text("from room.two import f\n")
    (tmp_path / "room/two.py").write_text("if TYPE_CHECKING:\n    from room import one\n")
    with pytest.raises(CycleError, match=r"room\.one"):
        TopologicalSorter(imports_by_module(tmp_path, "room")).prepare()
