"""README and docs/ say what is so: keys, paths, modules, links, metrics, exit codes, messages."""

import ast
import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from tests.configuration_page import PAGE, SELECTED, page
from tests.doc_pages import EVERYTHING, PAGES, ROOT, block_with, prose

CODE = [*ROOT.glob("preflexor_pl/**/*.py"), *ROOT.glob("losses/*.py")]
FOLDERS = "preflexor_pl|losses|configs|corpus|facts|tests|docs|benchmarks"
GAP = "\0"  # what stands for a value in a message


def strings_of(path):
    """The texts in a file's code, with a gap where a value is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [getattr(value, "value", GAP) for value in node.values]
            yield "".join(part if isinstance(part, str) else GAP for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


STRINGS = [text for path in CODE for text in strings_of(path)]


# What is mentioned is there


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 10_000


def test_the_keys_are_those_of_the_code():
    """Run ``python -m tests.configuration_page`` where this fails."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", PAGES)
def test_every_key_mentioned_is_a_key(name):
    table = PAGES["docs/configuration.md"]
    known = set(re.findall(r"`((?:model|data|trainer)\.[\w.]+)`", table))
    known |= {key.rpartition(".")[0] for key in known}
    known |= {
        f"{key}.{field.name}"
        for key, base in SELECTED.items()
        for one in base.__subclasses__()
        for field in fields(one)
    }
    mentioned = re.findall(r"(?<![\w/])((?:model|data|trainer)\.[a-z_][\w.]*)", prose(PAGES[name]))
    keys = {key.rstrip(".") for key in mentioned} - {"module.py"}
    files = {key for key in keys if key.endswith((".md", ".py", ".yaml", ".safetensors"))}
    assert sorted(keys - files - known) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_flag_mentioned_is_a_flag(name):
    others = {"--config", "--print_config", "--help", "--help_all", "--hook"}  # of libraries
    table = PAGES["docs/configuration.md"].partition("## Keys")[2]
    keys = {f"--{key}" for key in re.findall(r"`([a-z_][\w.]+)`", table)}
    flags = set(re.findall(r"`(--[a-z_][\w.]+)", prose(PAGES[name])))
    assert sorted(flags - keys - others - {*STRINGS}) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
            assert anchor in slugs, link


@pytest.mark.parametrize("name", PAGES)
def test_every_path_mentioned_exists(name):
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./*<>-]*)`", PAGES[name]):
        if "<" not in path:
            assert any(ROOT.glob(path.rstrip("/"))), path


@pytest.mark.parametrize("name", PAGES)
def test_every_module_and_name_mentioned_exists(name):
    for dotted in set(re.findall(r"(?<![\w/])(?:preflexor_pl|losses)(?:\.\w+)+", PAGES[name])):
        if dotted.endswith((".py", ".yaml")):
            continue
        assert _exists(dotted), dotted


def _exists(dotted):
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            found = import_module(".".join(parts[:end])) if parts[end:] else True
            for name in parts[end:]:
                found = getattr(found, name, None)
            return found is not None
    return False


def test_every_metric_named_is_measured():
    named = set(re.findall(r"`(?:train|val)/([\w/]+)`", EVERYTHING))
    table = PAGES["docs/terms.md"].partition("## Metrics")[2].partition("## Glossary")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named |= {
        n.split("/", 1)[-1] if n[:4] in ("val/", "trai") else n
        for row in rows
        for n in re.findall(r"`([^`]+)`", row)
    }
    measured = {text.removeprefix("val/").removeprefix("train/") for text in STRINGS}
    assert len(named) >= 15
    assert sorted(named - measured) == []


def test_the_exit_codes_are_those_of_the_code():
    from preflexor_pl.cli.entry import CLOSED_PIPE
    from preflexor_pl.core import errors

    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    codes = {one.exit_code for one in classes if one.__base__ is errors.PreflexorError}
    table = PAGES["docs/terms.md"].partition("## Exit codes")[2]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    told = {int(code) for row in rows for code in row.split(",")}
    assert told == codes | {0, errors.PreflexorError.exit_code, CLOSED_PIPE, 130, 143}


def test_every_message_of_the_faq_is_in_the_code():
    rows = re.findall(r"^\| `([^`]+)` \|", PAGES["docs/faq.md"], re.MULTILINE)
    assert len(rows) > 50
    lost = [row for row in rows if not any(_says(text, row.split("…")) for text in STRINGS)]
    assert lost == []


def _says(text, parts):
    """Whether a message has all the parts in their order, in one line."""
    text = " ".join(text.split())
    for part in parts:
        place = text.find(part.strip(" "))
        if place < 0:
            return False
        text = text[place + len(part.strip(" ")) :]
    return True


def test_every_document_is_in_the_index_of_the_readme():
    listed = set(re.findall(r"\]\(docs/([\w.]+)\)", PAGES["README.md"]))
    assert {path.name for path in Path(ROOT / "docs").iterdir()} == listed


# The tree


def tree_paths():
    folder = ""
    for line in block_with("text", "Makefile          venv").splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name
        yield (folder if line.startswith(" ") else "") + name


def test_every_file_in_the_tree_exists():
    assert [path for path in tree_paths() if not (ROOT / path).exists()] == []


def test_every_room_is_in_the_tree():
    rooms = {
        f"preflexor_pl/{path.parent.name}/" for path in ROOT.glob("preflexor_pl/*/__init__.py")
    }
    assert rooms == {path for path in tree_paths() if path.count("/") == 2}


def test_every_command_is_named_in_the_readme():
    from preflexor_pl.__main__ import COMMANDS

    text = PAGES["README.md"]
    assert [name for name in COMMANDS if f"`{name}`" not in text] == []
    top = {path.stem for path in (ROOT / "preflexor_pl").glob("*.py")}
    assert top == {*COMMANDS, "__init__", "__main__", "module", "datamodule"}
