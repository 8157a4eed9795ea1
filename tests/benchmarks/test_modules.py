"""A benchmark that no test runs still imports what there is."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
)
PEERS = "benchmarks.training.trl"  # imports trl, which only the peers' environment has


@pytest.mark.parametrize("name", [name for name in MODULES if name != PEERS])
def test_every_module_imports(name):
    import_module(name)


def test_no_module_imports_from_the_tests():
    for path in (ROOT / "benchmarks").rglob("*.py"):
        assert "from tests" not in path.read_text(encoding="utf-8"), path
