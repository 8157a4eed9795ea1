"""benchmarks/README.md says what the committed results say."""

import json
import os
import re
import subprocess

import pytest

from benchmarks.report import tables as table
from benchmarks.report.kinds import KINDS
from benchmarks.report.record import RESULTS, spread
from benchmarks.training.allocator import VALUE, compare

SETTING = {
    "machine": {"architecture": "x86_64", "processor": "A CPU", "cores": 2},
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
}


def made_of(tmp_path, **results):
    for name, result in results.items():
        path = tmp_path / f"{name.replace('_at_', '-')}.json"
        path.write_text(json.dumps(SETTING | result))
    return table.tables(tmp_path)


def test_the_committed_tables_are_those_of_the_committed_results():
    text = table.README.read_text(encoding="utf-8")
    assert table.filled(text, table.tables(RESULTS)) == text, "run `make bench-table`"


def test_every_result_of_speed_has_a_table():
    told = table.tables(RESULTS)
    others = {"margins", "training-tuned", *(path.stem for path in RESULTS.glob("evaluation-*"))}
    names = {path.stem for path in RESULTS.glob("*.json")} - others
    assert [name for name in names if f"`results/{name}.json`" not in told] == []


def test_commands_name_what_there_is():
    root = table.README.parents[1]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for kind in KINDS:
        program, *words = kind.command.split()
        if program == "make":
            assert f"\n{words[0]}:" in makefile
        else:
            assert (program, words[0]) == ("python", "-m")
            assert (root / f"{words[1].replace('.', '/')}.py").is_file()


def test_make_runs_modules_that_there_are():
    root = table.README.parents[1]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    modules = re.findall(r"python -m (benchmarks[\w.]+)", makefile)
    assert len(modules) == 7
    assert all((root / f"{name.replace('.', '/')}.py").is_file() for name in modules)


def test_only_what_is_between_the_markers_changes():
    text = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    new = f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n"
    assert table.filled(text, "new") == table.filled(new, "new") == new
    for broken in ("", table.BEGIN, f"{table.END}\n{table.BEGIN}", text + table.END):
        with pytest.raises(ValueError, match="once each"):
            table.filled(broken, "new")


def test_a_row_of_training_by_hand(tmp_path):
    def side(pairs, size, padding):
        values = {"pairs/s": pairs, "peak MB": size, "padding": padding}
        return {name: spread([value]) for name, value in values.items()}

    row = {
        "row": "W2/2 dpo float32 lora",
        "TRL's time / ours": spread([2.0, 2.2, 2.1]),
        "our memory / TRL's": spread([0.5]),
        "ours": side(0.42, 1234.5, 0.0),
        "trl": side(0.2, 2469.0, 0.25),
    }
    told = made_of(tmp_path, training_at_one=row, training_at_tuned={})
    assert (
        "| W2/2 dpo float32 lora | **2.10** (2.00 to 2.20) | **0.5** (0.5 to 0.5) "
        "| 0.42 | 0.2 | 1,234 | 2,469 | 0% | 25% |" in told
    )
    assert "Machine: A CPU, cores: 2. Versions: python 3.11.7, torch 2.13.0." in told
    assert "tuned" not in told


def test_a_row_of_the_allocator_by_hand(tmp_path):
    repeats = [
        {
            "without": {"seconds": [4.0, 6.0], "peak MB": 2000.0},
            "with": {"seconds": [5.0, 6.0], "peak MB": 1500.0},
        }
    ]
    told = made_of(tmp_path, allocator={"rows": {"W2/2 dpo": compare(repeats)}})
    assert (
        "| W2/2 dpo | **1.10** (1.10 to 1.10) | **0.75** (0.75 to 0.75) | 1,500 | 2,000 |" in told
    )


def test_make_trains_with_what_the_allocator_was_measured_with(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$GLIBC_TUNABLES"\n')
    python.chmod(0o755)

    def made(target, **own):
        environment = {"PATH": os.environ["PATH"]} | own
        command = ["make", "-s", "-C", str(table.README.parents[1]), target]
        command += ["READY=", "PEERS_READY=", f"BIN={tmp_path}"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return {line for line in done.stdout.splitlines() if not line.startswith("make")}

    assert made("fit") == made("phases") == {VALUE}
    assert made("fit", GLIBC_TUNABLES="mine") == {"mine"}
    assert made("bench-table") == {""}  # a peer gets no less


def test_a_row_of_retrieval_by_hand(tmp_path):
    speeds = "queries/s together", "queries/s one at a time"

    def side(*efs):
        searches = [{"ef": ef, "recall@10": 0.999} | dict.fromkeys(speeds, 50.0) for ef in efs]
        return {"build seconds": 3.0, "MB": 80.0, "searches": searches}

    result = {
        "ef": 200,
        "sides": {"CorpusGraph": side(200), "hnswlib": side(100, 200), "numpy": side(0)},
        "CorpusGraph / others": {
            "hnswlib": dict.fromkeys(speeds, spread([0.9, 1.0])),
            "numpy": dict.fromkeys(speeds, spread([4.0])),
        },
    }
    told = made_of(tmp_path, retrieval=result)
    assert "| CorpusGraph | 200 | 0.9990 | 50.0 | 50.0 | 3.00 | 80.0 |" in told
    assert "| hnswlib | 100 | 0.9990 | 50.0 | 50.0 | 3.00 | 80.0 |" in told  # not at our ef
    assert "| hnswlib | 200 | 0.9990 | 50.0; **0.95** (0.9 to 1.00)" in told
    assert "| numpy | all | 0.9990 | 50.0; **4.00** (4.00 to 4.00)" in told


def test_exponents_and_ratios_stand_with_their_tables(tmp_path):
    size = dict.fromkeys(
        ["build seconds", "queries/s together", "queries/s one at a time", "MB"], 1
    )
    growth = {"exponents": {"MB": 1.0}, "sizes": [size | {"vectors": 20000, "recall@10": 1}]}
    started = {
        "seconds": {"bare": 2.0, "fit --help": 2.2},
        "seconds / bare": {"fit --help": spread([1.1])},
        "modules of the policy and the embedder": {"bare": [], "fit --help": ["peft"]},
    }
    points = [{"size": n, "pairs/s": 1 / n, "peak MB": 100.0 * n} for n in (2, 4)]
    one = {"exponents": {"seconds a step": 1.0, "peak MB": 1.0}, "points": points}
    steps = {"curves": {"ours": {"length": one, "pairs in a step": one | {"exponents": {}}}}}
    round_ = {"pairs": 2, "texts": 12, "tokens": 400, "seconds": 20.5}
    rounds = {"exponents": {"seconds": 0.75}, "sizes": [round_]}
    told = made_of(
        tmp_path,
        retrieval_at_scaling=growth,
        startup=started,
        scaling_at_dpo=steps,
        rounds_at_scaling=rounds,
    )
    assert "| ours | length | 4 | 0.25 | 400 |" in told
    assert told.count("Exponents of ours over length: seconds a step 1.00, peak MB 1.00.") == 1
    assert "over pairs in a step:" not in told
    assert "| 2 | 12 | 400 | 20.5 |" in told
    assert "Exponents: seconds 0.75." in told
    assert "| 20,000 | 1.0000 | 1.00 | 1.00 | 1.00 | 1.00 |" in told
    assert "Exponents over the sizes above 5,000: MB 1.00." in told
    assert "| bare | 2.00 |  | none |" in told
    assert "| fit --help | 2.20 | **1.10** (1.10 to 1.10) | peft |" in told
