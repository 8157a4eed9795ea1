"""The contracts between rooms hold a new module without naming it: lint-imports fails on a copy."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
LAYERS = "Rooms import only what is below them"


@pytest.mark.parametrize(
    ("name", "text", "broken"),
    [
        ("core/new.py", "import os\n", []),
        ("core/new.py", "from preflexor_pl.rounds import rounds\n", [LAYERS]),
        ("cli/new.py", "from preflexor_pl import fit\n", [LAYERS]),
        ("new_room/__init__.py", "", [LAYERS]),
        ("rounds/new.py", "import peft\n", ["Only policy knows peft and bitsandbytes"]),
        ("policy/new.py", "import peft\n", []),
        ("policy/kernels/new.py", "import hnswlib\n", ["Only corpus knows hnswlib"]),
        ("pairs/new.py", "import openai\n", ["Only server knows the client of a server"]),
        (
            "rounds/new.py",
            "import lightning\n",
            ["Lightning stays above evaluation, and in rounds.regenerate"],
        ),
        ("../losses/new.py", "import numpy\n", ["losses is a leaf: torch and nothing else"]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".py") else "",
)
def test_a_module_is_added_to_a_room(tmp_path, name, text, broken):
    pytest.importorskip("importlinter")
    for package in ("preflexor_pl", "losses"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "preflexor_pl" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "preflexor_pl" / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
    assert re.findall(r"^(.*\S) BROKEN", told, re.MULTILINE) == broken, told + done.stderr
    assert done.returncode == bool(broken)
