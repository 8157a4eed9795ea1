"""A run's pairs from the command line: numbers worked out by hand, and exports read back."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial

import pytest
import yaml

from preflexor_pl import dataset
from preflexor_pl.pairs.export import COLUMNS
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.pairs.round_folders import round_folder
from tests.tiny import PAIR, refused

ODD = "One\u2028two\u2029 \U0001f9f5 \r\n\x85three\x0b\\n絹 \x00 ﷽"
# question 4 words, thinking 2, answer 2, rejected 1
FIRST = replace(PAIR, chunk_ids=["silk.md#0", "silk.md#1"])
# question 4 (the first one's), thinking 4, answer 1, rejected 3, of which none is thinking
SECOND = replace(
    PAIR,
    id="0000-0002",
    prompt="why is  SILK tough? Use <|thinking|>.",
    chosen="<|thinking|>\nOne two\nthree four.\n<|/thinking|>\nYes.",
    rejected="<|thinking|>\n<|/thinking|>\nNo, not at…",
    chunk_ids=["silk.md#1", "notes.jsonl#3#0", "notes.jsonl#4#0"],
    rejected_source="teacher",
    finish_reason="length",
)
# question 2, thinking 3, reflection 6, answer 3, rejected 4
THIRD = replace(
    PAIR,
    id="0001-0000",
    prompt="Why bone? Use <|thinking|>.",
    chosen="<|thinking|> a b c <|/thinking|>\n<|reflect|> a b c d e f <|/reflect|> d e f",
    rejected=f"{ODD[:7]} that is",
    chunk_ids=["bone.md#0"],
    round=1,
)
HELD = replace(PAIR, id="held-0000", round=-1, rejected=ODD, chosen=f"{PAIR.chosen}\n{ODD}")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two rounds in the current folder; what is not asked for is damaged."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/mine"
    drops = [
        {"reason": reason} for reason in ("answer_empty", "answer_empty", "thinking_too_short")
    ]
    keep(round_folder(folder, 0), [FIRST, SECOND], drops[1:], wanted=3)
    keep(round_folder(folder, 1), [THIRD], drops[:1], wanted=1)
    keep(folder / "held_out", [HELD], [], wanted=1)
    round_folder(folder, 2).mkdir()
    (round_folder(folder, 2) / "pairs.jsonl").write_text("half a li")
    config = {"data": {"system_prompt": "Be brief."}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def keep(folder, pairs, drops, **facts):
    Journal(folder).finish(pairs, drops, facts)


@pytest.fixture
def call(run_command):
    """``call(*args)`` gives (exit code, stdout, stderr)."""
    return partial(run_command, dataset)


def told(outcome):
    code, stdout, stderr = outcome
    assert (code, stderr) == (0, "")
    assert max(map(len, stdout.splitlines())) <= 100
    return [" ".join(line.split()) for line in stdout.splitlines()]


def exported(call, *args):
    """The line that is told of an export."""
    [line] = told(call(*args))
    return line


# The summary


def test_the_numbers_of_three_pairs(run, call):
    lines = told(call("runs/mine"))
    assert lines[0] == "runs/mine: 3 pairs of rounds 0, 1"
    tables = [line for line in lines if line.startswith("|") and "--" not in line]
    assert tables == [
        "| round | pairs | wanted | documents | chunks | rejected that think, % |",
        "| 0 | 2 | 3 | 3 | 4 | 50 |",  # silk.md, and rows 3 and 4 of notes.jsonl
        "| 1 | 1 | 1 | 1 | 1 | 0 |",
        "| all | 3 | 4 | 4 | 5 | 33 |",
        "| mean words of | question | thinking | reflection | answer | rejected, all of it |",
        "| 0 | 4.0 | 3.0 | | 1.5 | 2.0 |",  # (2 + 4) / 2, (2 + 1) / 2, (1 + 3) / 2
        "| 1 | 2.0 | 3.0 | 6.0 | 3.0 | 4.0 |",
        "| all | 3.3 | 3.0 | 6.0 | 2.0 | 2.7 |",  # (4 + 4 + 2) / 3, ..., (1 + 3 + 4) / 3
        "| counts | all | by round |",
        "| dropped: answer_empty | 2 | 1 each |",
        "| dropped: thinking_too_short | 1 | 1, 0 |",
        "| rejected ended by: stop | 2 | 1 each |",
        "| rejected ended by: length | 1 | 1, 0 |",
        "| rejected from: policy | 2 | 1 each |",
        "| rejected from: teacher | 1 | 1, 0 |",
        "| teacher: base | 3 | 2, 1 |",
    ]
    assert lines[-1] == "1 of 3 questions repeat an earlier one"  # in other case and spaces


def test_an_earlier_pair_is_no_chunk_and_no_document(run, call):
    grown = replace(THIRD, chunk_ids=["bone.md#0", "pair:0000-0001", "pair:x.md#0"])
    keep(round_folder(run, 1), [grown], [], wanted=1)
    lines = told(call("runs/mine"))
    assert (
        "| round | pairs | wanted | documents | chunks | earlier pairs | rejected that" in lines[2]
    )
    assert "| 0 | 2 | 3 | 3 | 4 | | 50 |" in lines
    assert "| 1 | 1 | 1 | 2 | 2 | 1 | 0 |" in lines  # bone.md, pair:x.md; and one pair


def test_one_round_needs_no_sum(run, call):
    lines = told(call("runs/mine", "--rounds", "1"))
    assert lines[0] == "runs/mine: 1 pairs of round 1"
    assert "| 1 | 1 | 1 | 1 | 1 | 0 |" in lines
    assert "| counts | all |" in lines
    assert not [line for line in lines if line.startswith("| all")]


def test_the_held_out_pairs(run, call):
    lines = told(call("runs/mine", "--held_out"))
    assert lines[0] == "runs/mine: 1 pairs of the held-out set"
    assert "| held out | 1 | 1 | 1 | 1 | 0 |" in lines


def test_files_of_pairs_have_a_manifest_or_none(run, call, tmp_path):
    (tmp_path / "own.jsonl").write_text(f"{FIRST.to_json()}\n{THIRD.to_json()}\n")
    lines = told(call("--pairs", "own.jsonl", round_folder(run, 0) / "pairs.jsonl"))
    assert lines[0] == "4 pairs of 2 files"
    assert lines[1] == "file 1: own.jsonl"
    assert lines[2].endswith("runs/mine/rounds/round-0000/pairs.jsonl")
    assert "| 1 | 2 | | 2 | 3 | 0 |" in lines
    assert "| 2 | 2 | 3 | 3 | 4 | 50 |" in lines
    assert "| all | 4 | | 4 | 5 | 25 |" in lines  # not all files say how many were wanted
    assert "| dropped: answer_empty | 1 | 0, 1 |" in lines
    assert lines[-1] == "2 of 4 questions repeat an earlier one"


def test_names_of_others_move_no_cursor(run, call, tmp_path):
    odd = replace(
        FIRST, teacher="\x1b[31m|" + "x" * 99, finish_reason="\x1b\n", rejected_source="\r"
    )
    (tmp_path / "own.jsonl").write_text(odd.to_json())
    lines = told(call("--pairs", "own.jsonl"))
    assert "\x1b" not in "".join(lines)
    assert f"| teacher: …{'x' * 47} | 1 |" in lines


# The export


def read_back(path):
    import datasets

    if path.suffix == "":
        return datasets.load_from_disk(path).to_list()
    kind = {".jsonl": "json", ".parquet": "parquet"}[path.suffix]
    cache = path.parent / "cache"
    return datasets.load_dataset(
        kind, data_files=str(path), split="train", cache_dir=cache
    ).to_list()


OUTS = ["out/pairs.jsonl", "out/pairs.parquet", "out/pairs"]


@pytest.mark.parametrize("out", OUTS)
def test_an_export_reads_back_as_it_was(run, call, tmp_path, out):
    line = exported(call, "runs/mine", "--out", out)
    assert line == f"{out}: 3 pairs of rounds 0, 1"
    pairs = [FIRST, SECOND, THIRD]
    rows = read_back(tmp_path / out)
    assert rows == [{name: getattr(p, name) for name in COLUMNS} for p in pairs]
    assert [*rows[0]] == ["prompt", "chosen", "rejected"]
    assert "\u2028" in rows[2]["rejected"]


@pytest.mark.parametrize("out", OUTS)
def test_all_columns_and_any_text(run, call, tmp_path, out):
    exported(call, "runs/mine", "--held_out", "--all_columns", "--out", out)
    [row] = read_back(tmp_path / out)
    assert row == asdict(HELD)
    assert [*row][:5] == ["prompt", "chosen", "rejected", "id", "round"]


@pytest.mark.parametrize("out", OUTS)
def test_messages_with_the_system_turn_of_the_run(run, call, tmp_path, out):
    args = "runs/mine", "--rounds", 1, 0, "--conversational", "--all_columns", "--out", out
    assert exported(call, *args).endswith("rounds 0, 1, as messages with a system turn")
    rows = read_back(tmp_path / out)
    assert rows[1]["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": SECOND.prompt},
    ]
    assert rows[1]["chosen"] == [{"role": "assistant", "content": SECOND.chosen}]
    assert rows[1]["rejected"] == [{"role": "assistant", "content": SECOND.rejected}]
    assert (rows[2]["id"], rows[2]["seed"]) == (THIRD.id, THIRD.seed)


def test_messages_without_a_system_turn(run, call, tmp_path):
    (run / "config.yaml").write_text("data: {system_prompt: null}")
    line = exported(call, "runs/mine", "--rounds", 1, "--conversational", "--out", "a.jsonl")
    assert line == "a.jsonl: 1 pairs of round 1, as messages without a system turn"
    file = round_folder(run, 1) / "pairs.jsonl"
    line = exported(call, "--pairs", file, "--conversational", "--out", "b.jsonl")
    assert line == "b.jsonl: 1 pairs of 1 file, as messages without a system turn"
    for name in ("a.jsonl", "b.jsonl"):
        [row] = read_back(tmp_path / name)
        assert row["prompt"] == [{"role": "user", "content": THIRD.prompt}]


def test_jsonl_with_all_columns_is_a_file_of_pairs(run, call, tmp_path):
    exported(call, "runs/mine", "--all_columns", "--out", "mine.JSONL")
    assert read_pairs(tmp_path / "mine.JSONL") == [FIRST, SECOND, THIRD]


@pytest.mark.parametrize("out", OUTS)
def test_an_older_export_is_replaced_only_when_asked(run, call, tmp_path, out):
    exported(call, "runs/mine", "--out", out)
    args = "runs/mine", "--rounds", 1, "--out", out
    refused(call(*args), 2, out, "--overwrite")
    assert len(read_back(tmp_path / out)) == 3
    exported(call, *args, "--overwrite")
    assert [row["prompt"] for row in read_back(tmp_path / out)] == [THIRD.prompt]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] == "."] == []


def test_an_empty_folder_is_nothing_to_lose(run, call, tmp_path):
    (tmp_path / "pairs").mkdir()
    exported(call, "runs/mine", "--out", "pairs")
    assert len(read_back(tmp_path / "pairs")) == 3


def test_what_is_no_export_is_never_replaced(run, call, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.jsonl").mkdir()
    exported(call, "runs/mine", "--out", "pairs")
    (tmp_path / "pairs/more.md").write_text("mine")
    before = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    for out in ("notes", "file", "folder.jsonl", "pairs", "runs/mine", "."):
        refused(call("runs/mine", "--overwrite", "--out", out), 2, out, "something else")
    for pairs in ("rounds/round-0000/pairs.jsonl", "held_out/../rounds/round-0001/pairs.jsonl"):
        out = f"runs/mine/{pairs}"
        refused(call("runs/mine", "--overwrite", "--out", out), 2, out, "read from")
    assert {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")} == before


FULL = """
import resource, signal, sys
from preflexor_pl import dataset
from preflexor_pl.cli import entry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))
sys.exit(entry.guarded(dataset.main))
"""
KILLED = """
import os, signal, sys
from preflexor_pl import dataset
from preflexor_pl.cli import entry
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(entry.guarded(dataset.main))
"""


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("older", [False, True])
def test_a_full_disk_or_a_kill_leaves_what_was_there(run, call, tmp_path, out, older):
    if older:
        exported(call, "runs/mine", "--rounds", 1, "--out", out)
    args = [sys.executable, "-c", "", "runs/mine", "--overwrite", "--out", out]
    for code in (FULL, KILLED):
        args[2] = code
        done = subprocess.run(args, capture_output=True, text=True, check=False)
        if code == FULL:
            refused((done.returncode, done.stdout, done.stderr), 6, out, "File too large")
        else:
            assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
        assert (tmp_path / out).exists() == older
        assert not older or len(read_back(tmp_path / out)) == 1
    exported(call, "runs/mine", "--overwrite", "--out", out)
    assert len(read_back(tmp_path / out)) == 3
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] == "."] == []


# What is refused


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        ([], 2, ["RUN", "--pairs"]),
        (["runs/mine", "--pairs", "own.jsonl"], 2, ["RUN", "--pairs"]),
        (["runs/none"], 2, ["runs/none", "folder of a run"]),
        (["runs"], 2, ["runs", "no complete round"]),
        (["runs", "--held_out"], 2, ["runs", "held-out"]),
        (["runs/mine", "--rounds", "0", "2"], 2, ["no round 2", "[0, 1]"]),
        (["runs/mine", "--rounds", "x"], 2, ["--rounds", "x"]),
        (["runs/mine", "--rounds", "0", "--held_out"], 2, ["--rounds", "--held_out"]),
        (["--pairs", "own.jsonl", "--held_out"], 2, ["--pairs", "--held_out"]),
        (["--pairs", "none.jsonl"], 2, ["--pairs", "none.jsonl"]),
        (["--pairs", "empty.jsonl"], 3, ["empty.jsonl", "no pairs"]),
        (["--pairs", "bad.jsonl"], 3, ["bad.jsonl:2"]),
        (["--pairs", "odd/pairs.jsonl"], 3, ["odd/manifest.json"]),
        (["runs/mine", "--overwrite"], 2, ["--overwrite", "--out"]),
        (["runs/mine", "--conversational"], 2, ["--conversational", "--out"]),
        (["runs/mine", "--all_column", "--out", "x"], 2, ["--all_column"]),
        (["runs/mine", "--out", "x.csv"], 2, [".csv", ".jsonl", ".parquet"]),
        (["runs/mine", "--out", "own.jsonl/x.jsonl"], 6, ["own.jsonl/x.jsonl"]),
        (["runs/mine", "--out", "own.jsonl/x.parquet"], 6, ["own.jsonl/x.parquet"]),
        (["runs/mine", "--out", "own.jsonl/x"], 6, ["own.jsonl/x"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(run, call, tmp_path, args, code, named):
    (tmp_path / "own.jsonl").write_text(PAIR.to_json())
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text(PAIR.to_json() + '\n{"id": 1}\n')
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/pairs.jsonl").write_text(PAIR.to_json())
    (tmp_path / "odd/manifest.json").write_text('{"drops": [], "wanted": 1}')
    refused(call(*args), code, *named)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("text", ["[", "[]", "{}", '{"drops": {"a": "b"}, "wanted": 1}',
                                  '{"drops": {}, "wanted": Infinity}', "\udcff"])  # fmt: skip
def test_a_damaged_manifest_is_named(run, call, text):
    path = round_folder(run, 1) / "manifest.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    refused(call("runs/mine"), 3, "round-0001/manifest.json")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, ["config.yaml", "--pairs"]),
        ("data: {system_prompt: [a]}", ["config.yaml", "data.system_prompt"]),
        ("data: {system_prompt: !!python/object:os.system {}}", ["config.yaml"]),
    ],
)
def test_a_system_turn_that_is_not_known_is_not_left_out(run, call, tmp_path, text, named):
    (run / "config.yaml").unlink()
    if text:
        (run / "config.yaml").write_text(text)
    args = "runs/mine", "--out", "a.jsonl"
    refused(call(*args, "--conversational"), 2, *named)
    assert not (tmp_path / "a.jsonl").exists()
    assert exported(call, *args)  # of no concern to plain text


def loaded_by(args, modules):
    """Which of the modules a command has loaded, in a process of its own."""
    code = (
        f"import sys; from preflexor_pl import dataset; dataset.main({args})\n"
        f"print(*(name for name in {modules} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_a_summary_needs_nothing_heavy(run):
    heavy = "torch", "lightning", "transformers", "datasets", "pyarrow", "pandas", "numpy"
    assert loaded_by(["runs/mine"], heavy) == ""


def test_a_file_of_lines_needs_no_library(run):
    args = ["runs/mine", "--conversational", "--out", "a.jsonl"]
    assert loaded_by(args, ("torch", "datasets", "pyarrow")) == ""
    with open("a.jsonl", encoding="utf-8", newline="\n") as file:
        assert len([json.loads(line) for line in file]) == 3
