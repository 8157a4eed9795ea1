"""``python -m preflexor_pl.reason`` from its options to what it prints and keeps, on a tiny run."""

import io
import json
import re
import sys
from functools import partial

import pytest

from preflexor_pl import reason
from preflexor_pl.batches.show import escape_controls
from preflexor_pl.core.generator import Completion
from preflexor_pl.policy.generation import LocalGenerator
from tests.policy.test_adapters import disturb
from tests.run_helpers import TEXTS, Letters, leave_graph, leave_run
from tests.server.bad_server import BadServer, good
from tests.tiny import tiny_policy

SYSTEM = "Be brief."
SHORT = ["--dtype", "float32", "--max_new_tokens", "24", "--critic_max_new_tokens", "16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_folder):
    policy = tiny_policy(model_folder)
    disturb(policy, 2)  # one that comes to answers
    run = leave_run(tmp_path_factory.mktemp("runs") / "one", policy, system_prompt=SYSTEM)
    leave_graph(run)
    return run


@pytest.fixture
def call(run_command, monkeypatch):
    """``call(*args)``: exit code, stdout, stderr."""
    monkeypatch.setattr("preflexor_pl.corpus.corpus_index.Embedder", Letters)
    return partial(run_command, reason)


@pytest.fixture
def think(call, run):
    """``think(*args)``: the traces of questions about which the run reasoned."""

    def think(*args, model=run):
        code, out, error = call("--run", model, "--json", *SHORT, *args)
        assert (code, error) == (0, "")
        assert out.endswith("\n")
        return [json.loads(line) for line in out[:-1].split("\n")]

    return think


@pytest.fixture
def asked(monkeypatch):
    """Requests to the model itself, in order."""
    requests = []
    complete = LocalGenerator.complete

    def keep(self, batch, watch=None):
        requests.extend(batch if self.role == "policy" else [])
        return complete(self, batch, watch)

    monkeypatch.setattr(LocalGenerator, "complete", keep)
    return requests


def timeless(text):
    return re.sub(r'(· |, |"seconds": )\d+(\.\d+)?( s\b)?', r"\g<1>0", text)


def kinds(trace):
    return [step["kind"] for step in trace["steps"]]


def test_a_question_prints_its_steps_and_an_answer(call, think, run):
    options = ["Why?", "--keep_going", *SHORT]
    code, out, error = call("--run", run, *options)
    assert (code, error) == (0, "")
    for title in (
        "the model answers",
        "the critic says what is missing",
        "the critic rewrites the thinking",
        "the critic makes one answer of all",
    ):
        assert f"\n{title}\n" in out
    [trace] = think("Why?", "--keep_going")
    titled = re.findall(r"^the (?:model|critic) .*$", out, re.MULTILINE)
    assert len(titled) == len(kinds(trace)) == trace["calls"]
    shown = escape_controls(trace["answer"])
    assert shown
    assert f"\nAnswer\n{shown}\n{trace['calls']} calls, {trace['tokens']} tokens, " in out


def test_json_is_a_line_a_question_and_nothing_else(call, model_folder, tmp_path):
    (tmp_path / "asked.txt").write_bytes("\ufeffWhy?\r\n\n  How does silk\u2009bend? \n\n".encode())
    args = ["--model", model_folder, "--json", "--file", tmp_path / "asked.txt"]
    code, out, error = call(*args, *SHORT, "--iterations", "1")
    traces = [json.loads(line) for line in out[:-1].split("\n")]
    assert (code, out[-1]) == (0, "\n")
    assert [trace["question"] for trace in traces] == ["Why?", "How does silk\u2009bend?"]
    assert (
        error == f"{model_folder} comes without its base: it is its own critic (--critic MODEL)\n"
    )


def test_the_model_is_asked_as_in_training(think, asked, tmp_path, model_folder):
    [trace] = think("Why?", "--iterations", "0")
    assert trace["variant"] == "thinking"
    assert (asked[0].prompt, asked[0].system) == ("Why? Use <|thinking|>.", SYSTEM)
    think("Why?", "--iterations", "0", "--system_prompt", "Be kind.", "--critic", model_folder)
    assert asked[-1].system == "Be kind."
    policy = tiny_policy(model_folder, reflection=True)
    reflecting = leave_run(tmp_path / "reflecting", policy, reflection=True)
    for args, variant in (([], "reflection"), (["--variant", "thinking"], "thinking")):
        [trace] = think("Why?", "--iterations", "0", *args, model=reflecting)
        assert trace["variant"] == variant


def test_a_chat_remembers_what_was_said(call, run, asked, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Why?\n How? \nWhat?"))
    code, out, error = call("--run", run, "--chat", "--iterations", "0", *SHORT)
    assert (code, error) == (0, "")
    answers = dict(request.examples[-1] for request in asked if request.examples)
    assert [*answers] == ["Why?", "How?"]
    for text in answers.values():
        assert f"\nAnswer\n{escape_controls(text)}\n" in out
    last = asked[-1]
    assert last.prompt == "What? Use <|thinking|>."
    assert dict(last.examples) == answers
    assert len([line for line in out.split("\n") if line == "Answer"]) == 3


def test_a_turn_without_an_answer_is_not_remembered(call, run, asked, monkeypatch):
    complete = LocalGenerator.complete
    monkeypatch.setattr(
        LocalGenerator,
        "complete",
        lambda self, batch, watch=None: [
            Completion("", "stop", 0) if request.prompt.startswith("Why?") else made
            for request, made in zip(batch, complete(self, batch, watch), strict=True)
        ],
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("Why?\nHow?\n"))
    code, out, _ = call("--run", run, "--chat", "--iterations", "0", *SHORT)
    assert (code, out.count("(no answer)")) == (0, 1)
    assert asked[-1].prompt == "How? Use <|thinking|>."
    assert asked[-1].examples == ()


def test_an_empty_line_ends_a_chat(call, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Why?\n\nHow?\n"))
    code, out, _ = call("--run", run, "--chat", "--iterations", "0", *SHORT)
    assert (code, out.count("\nAnswer\n")) == (0, 1)


def test_retrieved_chunks_are_shown_to_the_model_and_named(call, think, run, asked):
    question = "Why does silk join stiff crystals with soft chains?"
    [trace] = think(question, "--context", "2")
    first, second = trace["sources"]
    assert first["id"] == "silk.md#0"
    assert first["similarity"] > second["similarity"]
    named = f"Sources: silk.md, {second['document']}"
    assert trace["answer"].endswith(f"\n\n{named}")
    facts = f"{TEXTS['silk.md']}\n\n{TEXTS[second['document']]}\n\n"
    assert asked[0].prompt == f"{facts}{question} Use <|thinking|>."
    out = call("--run", run, question, "--context", "2", "--iterations", "0", *SHORT)[1]
    assert f"\n{named}\n" in out


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".md"])
def test_traces_are_kept(call, think, run, tmp_path, ending):
    (tmp_path / "asked.txt").write_text("Why?\nHow?\n")
    out = tmp_path / f"new/kept{ending}"
    args = ["--file", tmp_path / "asked.txt", "--iterations", "1"]
    code, told, error = call("--run", run, *args, "--out", out, *SHORT)
    assert (code, error) == (0, "")
    assert "\n2: the model answers\n" in told
    traces = think(*args)
    kept = timeless(out.read_text(encoding="utf-8"))
    if ending == ".md":
        assert re.findall("^# .*$", kept, re.MULTILINE) == ["# Why?", "# How?"]
        assert all(trace["answer"] in kept for trace in traces)
        return
    rows = json.loads(kept) if ending == ".json" else [json.loads(r) for r in kept[:-1].split("\n")]
    assert rows == json.loads(timeless(json.dumps(traces)))


def test_the_critic_may_judge(think, run, model_folder):
    [trace] = think("Why?", "--judge", "critic", "--keep_going", "--iterations", "1")
    [compared, *_] = [step for step in trace["steps"] if step["kind"] == "compare"]
    assert compared["by"] == f"{model_folder} (base)"
    assert compared["text"].count("\n") >= 1  # both orders
    [other] = think("Why?", "--judge", model_folder, "--keep_going", "--iterations", "1")
    assert [s["text"] for s in other["steps"]] == [s["text"] for s in trace["steps"]]


def test_another_critic(think, run, tmp_path, model_folder):
    policy = tiny_policy(model_folder)
    disturb(policy, 4)
    critic = leave_run(tmp_path / "critic", policy)
    [trace] = think("Why?", "--critic", critic, "--iterations", "1")
    [feedback] = [step for step in trace["steps"] if step["kind"] == "feedback"]
    [own] = think("Why?", "--iterations", "1")
    assert feedback["text"] not in [step["text"] for step in own["steps"]]
    assert trace["steps"][0]["text"] == own["steps"][0]["text"]


def test_a_critic_behind_a_server(think, monkeypatch):
    monkeypatch.setenv("CRITIC_KEY", "sk-critic")
    with BadServer(
        lambda call: good(f"It leaves out part {len(call.body['messages'])}.")
    ) as server:
        behind = ["--critic", f"m/8b@{server.url}", "--key_env", "CRITIC_KEY"]
        [trace] = think("Why?", *behind, "--judge", "critic", "--iterations", "1")
    by = {step["kind"]: step["by"] for step in trace["steps"]}
    assert by["feedback"] == by["rewrite"] == by["compare"] == "m/8b at 127.0.0.1"
    assert {call.body["model"] for call in server.calls} == {"m/8b"}
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer sk-critic"}
    asked = [step for step in trace["steps"] if step["by"] == "m/8b at 127.0.0.1"]
    orders = {"compare": 2}  # a comparison is asked in both
    assert len(server.calls) == sum(orders.get(step["kind"], 1) for step in asked)


def test_a_thinking_prefix_begins_the_first_thinking_and_no_other(call, think, run, asked):
    prefix = "First, <|/thinking|>"
    args = ["Why?", "--thinking_prefix", prefix, "--iterations", "1"]
    [trace] = think(*args)
    given = "<|thinking|>\nFirst, <·|/thinking|>"
    assert trace["steps"][0]["text"].startswith(given)
    assert [request.prefill.startswith(given) for request in asked].count(True) >= 1
    assert asked[0].prefill == given
    out = call("--run", run, *args, *SHORT)[1]
    assert f"\nthe model answers\n{given}" in out
    assert out.count(given) == 1 + trace["steps"][-1]["text"].count(given)


def test_without_iterations_there_is_one_answer(think):
    [trace] = think("Why?", "--iterations", "0")
    assert kinds(trace) in (["answer"], ["answer", "finish"])
    assert (len(trace["answers"]), trace["integrated"]) == (1, "")
    assert trace["answer"] == trace["answers"][0]


def test_no_integration(think):
    [trace] = think("Why?", "--no_integrate", "--keep_going")
    assert "integrate" not in kinds(trace)
    assert trace["answer"] == trace["answers"][trace["best"]]


def test_greedy_runs_repeat_and_draws_follow_the_seed(call, run):
    def told(*args):
        done = call("--run", run, "Why?", "--iterations", "1", *SHORT, *args)
        return [timeless(text) for text in done[1:]]

    assert told() == told()
    assert told("--json") == told("--json")
    warm = ["--temperature", "1", "--critic_temperature", "1", "--seed"]
    assert told(*warm, "1") == told(*warm, "1") != told(*warm, "2")
