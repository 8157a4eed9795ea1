"""What a run will cost, in numbers that can be counted, while nothing is asked and nothing loads.

The config is that of ``tests.verbs``: 3 pairs a round, 2 held-out ones, 2 categories, and limits of
41, 42, 43 and 44 tokens for question, thinking, answer and rejected answer.
"""

import json
from collections import Counter

import pytest

from preflexor_pl import estimate, fit, generate, preview
from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.estimate import Rates
from preflexor_pl.estimation.dry_run import Cost
from preflexor_pl.estimation.recorded import read_call
from tests.estimation.test_recorded import leave
from tests.scripted import kind_of
from tests.tiny import refused, tiny_tokenizer
from tests.verbs import done, files

SERVER = ServerSettings("http://localhost:1/v1", "m", in_flight=4)
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
    assert "3 rounds of 3 pairs, from 4 questions asked in each, and 2 held-out pairs" in told
    assert "assumed, a text has 50% of the tokens it may have" in told
    assert {path.name for path in (place / "runs/mine").iterdir()} == {"graph"}
    rows = table_of(told)
    # held-out, a round, all = held-out + 3 rounds, and the most: calls x limit
    expected = {
        ("question", "teacher"): (3, 4, 15, 41),  # a spare one
        ("thinking x 2", "teacher"): (4, 6, 22, 42),
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
    assert f"not paid, teacher and policy: 59 calls, {prompts} tokens of prompts" in told
    assert "Time of this machine: not known; give --tokens_per_second" in told
    assert "Money" not in told


def test_candidates_are_calls_and_stand_ins_need_no_grounding(call_verb, place, nothing_loads):
    options = ["--data.teacher.candidates", "3", "--data.min_grounding", "0.9"]
    rows = table_of(done(call_verb(estimate, "--trainer.max_epochs", "1", *options)))
    assert rows["answer", "teacher"][:2] == [2 * 3, 3 * 3]
    assert rows["rejected", "policy"][:2] == [2, 3]


def test_the_prompts_and_calls_are_those_that_are_made(call_verb, teacher, place):
    (place / "mine.yaml").write_text((place / "mine.yaml").read_text() + "  reflection: true\n")
    guessed = table_of(done(call_verb(estimate, "--trainer.max_epochs", "1")))
    done(call_verb(generate))
    tokenizer, prompts = tiny_tokenizer(), Counter()
    for request in teacher.asked:
        ids = chat_ids(tokenizer, request.prompt, request.system, request.examples)
        prompts[kind_of(request)] += len(ids)
    assert guessed["question", "teacher"][3] == prompts["question"]

    told = done(call_verb(estimate, "--trainer.max_epochs", "1"))
    known = table_of(told)
    recorded, tokens = Counter(), Counter()
    for path in (place / "runs/mine").rglob("calls.jsonl"):
        for record in map(json.loads, path.read_text().splitlines()):
            recorded[read_call(record["call"])[0]] += 1
            tokens[read_call(record["call"])[0]] += record["tokens"]
    assert f"as in {recorded.total()} calls of runs/mine (held_out, round-0000)" in told
    for (stage, _who), (_, _, calls, _, completion, _) in known.items():
        if stage != "all":
            name = stage.partition(" ")[0]
            assert (calls, completion) == (recorded[name], tokens[name]), stage
    assert "There already: held_out, round-0000; what follows is for the rest" in told
    assert "teacher and policy: 0 calls" in told

    told = done(call_verb(estimate, "--trainer.max_epochs", "3"))
    each = known["all", "teacher"][1] + known["all", "policy"][1]
    assert f"teacher and policy: {2 * each} calls" in told


def test_a_preview_or_another_run_tells_of_lengths(call_verb, teacher, place):
    done(call_verb(preview))
    before = files(place / "runs/mine")
    told = done(call_verb(estimate))
    assert "as in 16 calls of runs/mine (preview)" in told  # 13 of the teacher, 3 of the policy
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
    assert f"\nThe teacher, m at localhost: 22 calls, {prompt} tokens of prompts" in told
    money, at_most = (prompt * 1e-3 + n * 2e-3 for n in (completion, most))
    assert f"\nMoney: {money:.3f}, at most {at_most:.3f}\n" in told
    assert "\nOn this machine, not paid, policy: 5 calls" in told
    assert "max_calls: 10 does not reach: 22 are expected" in told
    assert "exit code 4 and has to be given 3 times" in told
    assert "Time of the server: not known; give --seconds_per_call" in told
    told = done(call_verb(estimate, *SERVED))
    assert "Money: not known; give --price_in and --price_out" in told


def test_time():
    cost, rates = Cost(calls=120, completion=6000), Rates(seconds_per_call=4, tokens_per_second=50)
    # 120 calls of 4 s, 4 at a time: 120 s. At 40 calls a minute: 3 minutes.
    assert estimate._server_time(cost, SERVER, rates).startswith("Time of the server: 2.0 minutes")
    slow = ServerSettings("http://h/v1", "m", in_flight=4, requests_per_minute=40)
    assert estimate._server_time(cost, slow, rates).startswith("Time of the server: 3.0 minutes")
    assert estimate._machine_time(cost, rates).startswith("Time of this machine: 2.0 minutes")


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"max_calls": 120}, "max_calls: 120 reaches: 120 are expected"),
        ({"max_calls": 119}, "max_calls: 119 does not reach: 120 are expected"),
        ({"max_calls": 30}, "given 4 times"),
        ({"max_tokens": 7500}, "max_tokens: 7500 reaches: 7000 are expected"),
        ({"max_tokens": 7000}, "max_tokens: 7000 reaches for the 7000 expected, not for the most"),
        ({"max_tokens": 6999}, "max_tokens: 6999 does not reach: 7000 are expected"),
        ({"max_minutes": 2}, "max_minutes: 2 reaches: 2 are expected"),
        ({"max_minutes": 1.5}, "max_minutes: 1.5 does not reach"),
    ],
    ids=str,
)
def test_budgets(budget, told):
    server = ServerSettings("http://localhost:1/v1", "m", in_flight=4, **budget)
    cost = Cost(calls=120, prompt=1000, completion=6000, most=6500)
    [line] = estimate._budgets(cost, "key", server, Rates(seconds_per_call=4))
    assert told in line


def test_a_budget_of_time_without_a_time():
    server = ServerSettings("http://localhost:1/v1", "m", max_minutes=5)
    [line] = estimate._budgets(Cost(calls=1), "key", server, Rates())
    assert line.endswith("max_minutes: 5 cannot be compared without --seconds_per_call")


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (["--price_in", "1"], 2, "--price_out"),
        (["--price_in", "x", "--price_out", "1"], 2, "--price_in"),
        (["--seconds_per_call", "nan"], 2, "--seconds_per_call"),
        (["--trainer.max_epochs", "-1"], 2, "trainer.max_epochs"),
        (["--like", "none"], 2, "--like: none"),
        (["--fresh"], 2, "--fresh"),
        (["--data.thinking.min_tokens", "4000"], 3, "thinking_too_short"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(call_verb, place, args, code, named):
    refused(call_verb(estimate, *args), code, named)


def test_a_round_that_will_not_be_full(call_verb, place):
    rounds = place / "runs/old/rounds"
    rounds.mkdir(parents=True)
    calls = [(f"question/{item}/{attempt}", 30) for item in "ab" for attempt in (0, 1)]
    leave(rounds / "round-0000", calls, drops=["a"])
    told = done(call_verb(estimate, "--data.topics", "3", "--like", "runs/old"))
    # Every question is asked again, and every other one of those is of no use: the 1st and the 3rd.
    assert "6 rounds of 1 pairs, from 6 questions asked in each, and 2 held-out pairs" in told
    assert "3 were wanted and not 1: raise data.topics" in told
