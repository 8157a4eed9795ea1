"""What a run will cost, in numbers that can be counted, while nothing is asked and nothing loads.

The config is that of ``tests.verbs``: 3 pairs a round, 2 held-out ones, 2 categories, and limits of
41, 42, 43 and 44 tokens for question, thinking, answer and rejected answer.
"""

import json
from collections import Counter

import pytest

from preflexor_pl import estimate, fit, generate, preview
from preflexor_pl.core.chat import chat_ids
from tests.estimation.test_journal_means import leave
from tests.scripted import kind_of
from tests.tiny import refused, tiny_tokenizer
from tests.verbs import done, files

SERVED = "--data.teacher.server.base_url", "http://localhost:1/v1", "--data.teacher.server.model=m"


@pytest.fixture
def nothing_loads(monkeypatch):
    def refuse(*args):
        pytest.fail("a model was loaded")

    monkeypatch.setattr("preflexor_pl.policy.policy.load_base", refuse)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", refuse)


def table_of(told):
    """Rows of the printed table: (stage, who) -> numbers."""
    rows = [line.strip("| ").split("|") for line in told.splitlines() if line.startswith("| ")]
    return {(r[0].strip(), r[1].strip()): [int(n) for n in r[2:]] for r in rows[1:]}


def test_a_run_that_has_not_begun(call_verb, place, nothing_loads):
    told = done(call_verb(estimate, "--trainer.max_epochs", "5", "--data.epochs_per_round", "2"))
    assert "3 rounds of 3 pairs, with 4 calls for questions each, and 2 held-out pairs" in told
    assert "every text is usable and has 50% of its max_new_tokens" in told
    assert {path.name for path in (place / "runs/mine").iterdir()} == {"graph"}
    rows = table_of(told)
    # held-out, a round, all = held-out + 3 rounds, and the most: calls x limit
    expected = {
        ("question", "teacher"): (3, 4, 15, 41),  # a spare one
        ("thinking", "teacher"): (4, 6, 22, 42),
        ("answer", "teacher"): (2, 3, 11, 43),
        ("rejected", "policy"): (2, 3, 11, 44),
    }
    for key, (held_out, one, calls, limit) in expected.items():
        assert rows[key][:3] == [held_out, one, calls]
        assert rows[key][5] == calls * limit
        assert rows[key][4] == round(calls * limit / 2)
    most = 15 * 41 + 22 * 42 + 11 * 43
    assert rows["all", "teacher"][:3] == [9, 13, 48]
    assert rows["all", "teacher"][4:] == [most // 2, most]
    prompts = sum(rows[key][3] for key in expected)
    assert f"not paid, teacher and policy: 59 calls, {prompts} prompt tokens" in told
    assert "Time of this machine: unknown; give --tokens_per_second" in told
    assert "Money" not in told


def test_calls_and_lengths_are_those_of_the_journals(call_verb, teacher, place):
    text = (place / "mine.yaml").read_text().replace("\ndata:\n", "\ndata:\n  reflection: true\n")
    (place / "mine.yaml").write_text(text)
    done(call_verb(generate))
    tokenizer, prompts = tiny_tokenizer(), Counter()
    for request in teacher.asked:
        ids = chat_ids(tokenizer, request.prompt, request.system, request.examples)
        prompts[kind_of(request)] += len(ids)
    told = done(call_verb(estimate, "--trainer.max_epochs", "1"))
    known = table_of(told)
    recorded, tokens = Counter(), Counter()
    for path in (place / "runs/mine").rglob("calls.jsonl"):
        for record in map(json.loads, path.read_text().splitlines()):
            stage = record["call"].partition("/")[0]
            recorded[stage] += 1
            tokens[stage] += record["tokens"]
    assert f"over {recorded.total()} calls of runs/mine (held_out, round-0000)" in told
    for (stage, who), (_, _, calls, prompt, completion, _) in known.items():
        if stage != "all":
            assert (calls, completion) == (recorded[stage], tokens[stage]), stage
            if who == "teacher":
                assert prompt == pytest.approx(prompts[stage], rel=0.05), stage
    assert "Complete: held_out, round-0000; what follows is for the rest" in told
    assert "teacher and policy: 0 calls" in told

    told = done(call_verb(estimate, "--trainer.max_epochs", "3"))
    each = known["all", "teacher"][1] + known["all", "policy"][1]
    assert f"teacher and policy: {2 * each} calls" in told


def test_a_preview_or_another_run_tells_of_lengths(call_verb, teacher, place):
    done(call_verb(preview))
    before = files(place / "runs/mine")
    told = done(call_verb(estimate))
    assert "over 16 calls of runs/mine (preview)" in told  # 13 of the teacher, 3 of the policy
    assert files(place / "runs/mine") == before
    like = done(call_verb(estimate, "--run", "runs/other", "--like", "runs/mine"))
    assert table_of(like) == table_of(told)
    refused(call_verb(estimate, "--like", "runs/other"), 2, "--like", "runs/other", "preview")
    told = done(call_verb(fit, "--trainer.max_epochs", "1"))  # nothing has begun
    assert "After 1 rounds" in told


def test_a_teacher_that_is_paid(call_verb, nothing_loads, monkeypatch):
    args = [*SERVED, "--data.teacher.server.api_key_env", "NO_SUCH_KEY"]  # nothing is asked
    args += ["--trainer.max_epochs=1", "--price_in", "1000", "--price_out", "2000"]
    told = done(call_verb(estimate, *args, "--data.teacher.server.max_calls", "10"))
    rows = table_of(told)
    _, _, calls, prompt, completion, most = rows["all", "teacher"]
    assert calls == 9 + 13
    assert f"\nThe teacher, m at localhost: 22 calls, {prompt} prompt tokens" in told
    money, at_most = (prompt * 1e-3 + n * 2e-3 for n in (completion, most))
    assert f"\nMoney: {money:.3f}, at most {at_most:.3f}\n" in told
    assert "\nOn this machine, not paid, policy: 5 calls" in told
    assert "max_calls: 10 is too small: 22 are expected" in told
    assert "exit code 4 and must be given 3 times" in told
    assert "Server time: unknown; give --seconds_per_call" in told
    told = done(call_verb(estimate, *SERVED))
    assert "Money: unknown; give --price_in and --price_out" in told


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (["--price_in", "1"], 2, "--price_out"),
        (["--price_in", "x", "--price_out", "1"], 2, "--price_in"),
        (["--seconds_per_call", "nan"], 2, "--seconds_per_call"),
        (["--trainer.max_epochs", "-1"], 2, "trainer.max_epochs"),
        (["--like", "none"], 2, "--like: none"),
        (["--fresh"], 2, "--fresh"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(call_verb, place, args, code, named):
    refused(call_verb(estimate, *args), code, named)


def test_a_round_that_will_not_be_full(call_verb, place):
    calls = [(f"question/0000-{place}/{attempt}", 30) for place in (0, 1) for attempt in (0, 1)]
    leave(place / "runs/old/rounds/round-0000", calls, pairs=[0], drops=[1])
    told = done(call_verb(estimate, "--data.topics", "3", "--like", "runs/old"))
    # Of two candidates one was dropped; two questions that a pair needs took four calls.
    assert "6 rounds of 1 pairs, with 4 calls for questions each, and 2 held-out pairs" in told
    assert "3 pairs were wanted and not 1: raise data.topics" in told
