"""The table over phases: where it begins, and what it says before it."""

import json

from preflexor_pl.core.csv_rows import write_row
from preflexor_pl.evaluation.phases_table import phases_table
from preflexor_pl.evaluation.question_values import values_path
from tests.evaluation.test_summary import leave_items


def evaluated(run, index, values, row):
    write_row(run / "metrics.csv", {"round": index, **row})
    path = values_path(run, index)
    path.parent.mkdir(exist_ok=True)
    lines = [
        {"prompt": f"{i}?", "document": f"{i}.md", "values": {"repetition": value}}
        for i, value in enumerate(values)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def phases(folder, after):
    first, second = folder / "orpo", folder / "exo"
    full = {"val/unasked_thinking": 0.0, "val/on_topic": 1.0}
    evaluated(first, 0, [0.25] * 12, {"val/format_rate": 0.0, **full})
    evaluated(first, 3, [0.25] * 12, {"val/format_rate": 1.0})
    evaluated(second, 0, [0.9] * 12, {"val/format_rate": 1.0})
    evaluated(second, 1, after, {"val/format_rate": 0.75})
    return phases_table([(first, 12.34, 12), (second, 9.0, 12)])


def test_the_table_begins_before_the_first_phase(tmp_path):
    table = phases(tmp_path, [0.25] * 12)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    firsts = [[cell.strip() for cell in line.split("|")[1:3]] for line in lines[2:]]
    assert firsts == [
        ["before orpo", "0.0 % [0, 24]"],
        ["after orpo", "100.0 % [76, 100]"],
        ["after exo", "75.0 % [47, 91]"],
    ]
    assert lines[3].endswith("| 12.3 |")
    assert "12 held-out questions" in table.splitlines()[-1]
    assert "before orpo: nothing of 2 measures, beyond chance" in table
    assert "thinks without being asked (less is better) (at ceiling before training)" in lines[0]


def test_what_got_worse_since_the_first_phase_stands_before_the_table(tmp_path):
    table = phases(tmp_path, [0.75] * 6 + [0.5] * 6)  # 6 of 12 by a half, 6 by a quarter
    told = table.splitlines()[2]
    assert told.startswith("- after exo: repeated word 4-grams (less is better): 25.0 % -> 62.5 %")
    assert "(+37.5 [" in told
    assert "n = 12 on 12 documents, p < 0.001" in told


def test_right_answers_to_items_have_columns_where_a_phase_has_a_task(tmp_path):
    for run, index, right in (("a", 0, 0), ("a", 1, 6), ("b", 0, 6), ("b", 1, 9)):
        leave_items(tmp_path / run, index, right)
    lines = phases_table([(tmp_path / "a", 1.0, 4), (tmp_path / "b", 2.0, 4)]).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:5]] for line in lines if line[:1] == "|"]
    assert cells[0][1:] == [
        "right answers (pass@1)",
        "right answers, level 1",
        "right answers, level 2",
    ]
    assert cells[2] == ["before a", "0.0 % [0, 24]", "0.0 % [0, 39]", "0.0 % [0, 39]"]
    assert cells[4] == ["after b", "75.0 % [47, 91]", "100.0 % [61, 100]", "50.0 % [19, 81]"]


def test_a_run_without_values_of_its_questions_claims_nothing(tmp_path):
    write_row(tmp_path / "a/metrics.csv", {"round": 0, "val/repetition": 0.25})
    write_row(tmp_path / "a/metrics.csv", {"round": 1, "val/repetition": 0.75})
    table = phases_table([(tmp_path / "a", 1.0, 4)])
    assert "no values of the same questions are on record" in table
    assert "75.0 %" in table
