"""What is never corpus, though it lies in the folder."""

import os

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.corpus.reader import read_folder
from preflexor_pl.corpus.skipped_folders import why_no_corpus

TEXT = "Nacre is the iridescent inner layer of many mollusc shells. " * 3


def put(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{TEXT} Of {folder.name}, {number}.")


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        ("runs/silk", ("config.yaml", "metrics.csv", "samples/round-0000.md"), "folder of a run"),
        ("my results", ("config.yaml", "rounds/round-0000/calls.jsonl"), "folder of a run"),
        ("copied", ("plan.json", "pairs.jsonl", "drops.jsonl"), "folder of a run"),
        ("graph", ("meta.json", "chunks.jsonl", "index.bin"), "graph of a corpus"),
        ("eval", ("results.json", "table.md", "judgements.jsonl"), "evaluation of this project"),
        ("export", ("adapter_config.json", "README.md"), "model"),
        ("smol", ("config.json", "model.safetensors", "README.md"), "model"),
        ("env", ("pyvenv.cfg", "lib/notes.txt"), "virtual environment"),
        ("node_modules", ("left-pad/README.md",), "cache"),
        ("tmp", ("CACHEDIR.TAG", "x.md"), "cache"),
        ("thing.egg-info", ("PKG-INFO", "SOURCES.txt"), "package metadata"),
        (".git", ("description.txt",), "hidden"),
    ],
)
def test_a_folder_is_known_by_its_files_and_said_once(tmp_path, name, files, reason):
    put(tmp_path, "good.md", "deep/er/good.md")
    put(tmp_path / name, *files)
    found = read_folder(tmp_path)
    assert [document.id for document in found.documents] == ["good.md", "deep/er/good.md"]
    assert dict(found.skipped) == {name: reason}


@pytest.mark.parametrize("name", ["runs", "graph", "evaluations", "cache", "models", "build"])
def test_a_name_alone_says_nothing(tmp_path, name):
    put(tmp_path / name, "config.md", "results.json", "notes.md")
    assert len(read_folder(tmp_path).documents) == 2
    assert why_no_corpus(name, {"config.yaml", "notes.md"}) == ""


def test_a_run_is_no_corpus_itself(tmp_path):
    put(tmp_path / "silk", "config.yaml", "metrics.csv", "summary.md")
    with pytest.raises(CorpusError, match="1 folder of a run"):
        read_folder(tmp_path / "silk")


def test_a_corpus_may_itself_be_hidden(tmp_path):
    put(tmp_path / ".notes", "good.md")
    assert len(read_folder(tmp_path / ".notes").documents) == 1


def test_links_in_a_circle(tmp_path):
    put(tmp_path, "good.md")
    os.symlink("b.md", tmp_path / "a.md")
    os.symlink("a.md", tmp_path / "b.md")
    os.symlink(".", tmp_path / "here")
    assert dict(read_folder(tmp_path).skipped) == {"a.md": "unreadable", "b.md": "unreadable"}
