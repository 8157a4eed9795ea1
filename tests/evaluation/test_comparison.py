"""Tables and pictures of models side by side: what was measured is shown, and nothing else."""

import json
import math

import pytest
from matplotlib.figure import Figure

from preflexor_pl.evaluation import comparison_plots
from preflexor_pl.evaluation.comparison import INTEGRATED, Row, tables
from preflexor_pl.evaluation.comparison_plots import plot_comparison
from preflexor_pl.evaluation.intervals import Estimate, mean, rate

NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def about(value):
    return Estimate(value, value - 0.125, value + 0.125, 8)


def row(model, stage="0", variant="thinking", **measures):
    return Row(model, variant, stage, {k.replace("__", "/"): v for k, v in measures.items()})


def section(text, title):
    """The lines of a table, as lists of cells."""
    [part] = [part for part in text.split("## ") if part.startswith(title)]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line
    ]


def test_a_row_comes_back_from_json():
    whole = row("orpo", INTEGRATED, answered=about(0.5), facts__control__short=about(0.25))
    assert Row.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


@pytest.mark.parametrize(
    ("stage", "label"),
    [("0", "orpo"), ("1", "orpo +1 (thinking)"), (INTEGRATED, "orpo integrated (thinking)")],
)
def test_the_name_of_a_row(stage, label):
    assert row("orpo", stage).label == label


def test_a_table_has_a_column_for_what_some_row_measured():
    rows = [
        row("base", answered=about(0.5), f1=about(0.25)),
        row("orpo", answered=about(0.75), wins_over_base=NOTHING),
        row("orpo", "1", f1=NOTHING),
    ]
    assert section(tables(rows, {}, 8), "Answers to 8 held-out questions") == [
        ["", "answered", "F1 with the teacher", "wins over the first row (judge)"],
        ["base", "50 % [38, 62]", "0.25 [0.12, 0.38]", ""],
        ["orpo", "75 % [62, 88]", "", "-"],
        ["orpo +1 (thinking)", "", "-", ""],
    ]


def test_likelihoods_are_of_first_answers_and_facts_of_all():
    rows = [
        row("base", teacher_logp=about(-2), facts__training__likelihood=about(0.25)),
        row("orpo", teacher_logp=about(-1)),
        row("orpo", "1", **{"facts/held out/short": about(0.5)}),
    ]
    text = tables(rows, {}, 8)
    assert section(text, "What is likely") == [
        ["", "log-prob of the teacher's answer, nats a token"],
        ["base", "-2.00 [-2.12, -1.88]"],
        ["orpo", "-1.00 [-1.12, -0.88]"],
    ]
    assert section(text, "Facts") == [
        ["", "training: likeliest of four", "held out: written"],
        ["base", "25 % [12, 38]", ""],
        ["orpo +1 (thinking)", "", "50 % [38, 62]"],
    ]
    assert "Not measured." in text  # of answers


def test_first_answers_stand_once_where_two_variants_were_measured():
    rows = [
        row("orpo", answered=about(0.5)),
        row("orpo", "1", answered=about(0.5)),
        row("orpo", variant="reflection", answered=about(0.5)),
        row("orpo", "1", "reflection", answered=about(0.5)),
    ]
    lines = section(tables(rows, {}, 8), "Answers")[1:]
    labels = [cells[0] for cells in lines]
    assert labels == ["orpo", "orpo +1 (thinking)", "orpo +1 (reflection)"]


def test_the_judges_control_stands_with_what_it_means():
    control = {"corrupted loses: x": about(0.875), "orders agree": about(0.75)}
    text = tables([row("base", answered=about(0.5))], control, 8)
    assert "| corrupted loses: x | 88 % [75, 100] |\n| orders agree | 75 % [62, 88] |" in text
    assert "Its win rates are worth as much as that" in text
    assert "its win rates say little" in tables([], control | {"orders agree": about(0.5)}, 8)
    assert "judge under control" not in tables([], {}, 8)


def test_what_the_brackets_are_is_said():
    assert "McNemar's p for shares" in tables([], {}, 8)
    assert "12 % by chance" in tables([], {}, 8)


def test_what_got_worse_comes_first_and_only_with_values_of_each_question():
    right, wrong = rate([True] * 12), rate([True] * 4 + [False] * 8)
    rows = [row("base", facts__written=right), row("orpo", facts__written=wrong)]
    documents = {"facts/written": [str(n) for n in range(12)]}
    text = tables(rows, {}, 8, documents)
    told = "- orpo: all in writing: 100.0 % -> 33.3 % (-66.7 ["
    assert text.startswith("## What got worse")
    assert told in text.split("## Answers")[0]
    assert "n = 12 on 12 documents, p = 0.008)" in text  # 8 of 8 fell: 2/2^8
    bare = [Row(r.model, "", "0", {"facts/written": about(1)}) for r in rows]
    assert "no values of the same questions are on record" in tables(bare, {}, 8, documents)
    assert "no values of the same questions are on record" in tables(rows, {}, 8)


def test_refined_answers_are_not_set_against_the_base_but_integrated_ones_are():
    values = {"f1": mean([0.5, 0.75, 1.0] * 2, 0)}, {"f1": mean([0.25, 0.5, 0.5] * 2, 0)}
    rows = [row("base", **values[0])]
    rows += [row("orpo", stage, **values[1]) for stage in ("1", INTEGRATED)]
    text = tables(rows, {}, 6, {"answers": list("abcdef")}).split("## Answers")[0]
    assert "orpo integrated (thinking): F1 with the teacher: 0.750 -> 0.417" in text
    assert "+1" not in text


def test_a_share_that_was_full_before_training_is_marked():
    full = Estimate(1.0, 0.7, 1.0, 8)
    lines = tables([row("base", answered=full, f1=full), row("orpo", answered=full)], {}, 8)
    assert "| answered (at ceiling before training) | F1 with the teacher |" in lines
    alone = tables([row("base", answered=full)], {}, 8)
    assert "ceiling" not in alone


STAGES = [
    row("orpo", stage, similarity=about(value))
    for stage, value in (("0", 0.25), ("1", 0.5), ("2", 0.375), (INTEGRATED, 0.75))
]


def test_pictures_are_drawn_of_what_there_is(tmp_path):
    made = plot_comparison(STAGES, tmp_path / "plots")
    assert made == [tmp_path / "plots/iterations.png", tmp_path / "plots/models.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "iterations.png",
        "models.png",
    ]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([], []),
        ([row("base"), row("base", "1")], []),
        ([row("base", similarity=NOTHING), row("base", "1", similarity=NOTHING)], []),
        ([row("base", words=about(3)), row("base", "1", words=about(3))], []),
        ([row("base", similarity=about(0.5))], ["models.png"]),
        (STAGES[1:3], ["iterations.png"]),
        ([STAGES[0], STAGES[3]], ["models.png"]),
        ([row("a", f1=about(0.5)), row("b", "1", f1=about(0.5))], []),
    ],
)
def test_a_picture_without_a_value_is_not_written(tmp_path, rows, names):
    assert [path.name for path in plot_comparison(rows, tmp_path / "plots")] == names
    assert [path.name for path in tmp_path.rglob("*.png")] == names


def test_a_line_for_every_model_and_variant():
    axes = Figure().add_subplot()
    rows = [row(f"model {n}", stage, similarity=about(0.5)) for n in range(9) for stage in "01"]
    rows += [row("model 0", "2", similarity=about(0.5))]
    comparison_plots._curves(axes, comparison_plots._series(rows, "similarity"))
    assert [line.get_label() for line in axes.lines] == [f"model {n}, thinking" for n in range(9)]
    assert list(axes.lines[0].get_xdata()) == [0, 1, 2]
    assert list(axes.get_xticks()) == [0, 1, 2]


def test_a_bar_for_the_first_answers_of_every_model():
    axes = Figure().add_subplot()
    rows = [*STAGES, row("base", similarity=about(0.125)), row("x", similarity=NOTHING)]
    comparison_plots._bars(axes, comparison_plots._firsts(rows, "similarity"))
    assert [bar.get_height() for bar in axes.patches] == [0.25, 0.125]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["orpo", "base"]
