"""The training command with a teacher behind a server, from its first call to its exit code."""

import json

import pytest

from tests.pairs.bad_server import BadServer, good, status
from tests.tiny import refused

KEY = "sk-live-0123456789abcdefghij"


@pytest.fixture
def served(train, monkeypatch):
    """``served(server, *args)`` trains with that server as the teacher."""
    monkeypatch.setattr("preflexor_pl.pairs.in_flight.FIRST_WAIT", 0.01)
    monkeypatch.setenv("TEACHER_KEY", KEY)

    def served(server, *args):
        values = {"base_url": server.url, "model": "m", "api_key_env": "TEACHER_KEY"}
        given = [a for k, v in values.items() for a in (f"--data.teacher.server.{k}", v)]
        return train(*given, "--data.topics=8", "--data.pairs_per_round=2", *args)

    return served


def test_a_refused_key_ends_with_4_and_is_on_no_disk(served, tmp_path):
    with BadServer(lambda call: status(401, f"bad key {KEY}")) as server:
        outcome = served(server, "--debug")
        code, out, err = outcome
        assert (code, err.splitlines()[-1][:7]) == (4, "error: ")
        assert "check the key (TEACHER_KEY)" in err
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) > 5
        assert KEY not in out + err
        assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_budget_ends_the_command_and_the_next_goes_on(served, tmp_path):
    with BadServer(lambda call: good(f"How does silk carry load {call.number}?")) as server:
        limit = "--data.teacher.server.max_calls"
        refused(served(server, limit, "3"), 4, f"{limit[2:]}: the 3 of one command", "goes on")
        [journal] = tmp_path.rglob("calls.jsonl")
        assert len(journal.read_text().splitlines()) == 3
        refused(served(server, limit, "2"), 4, f"{limit[2:]}: the 2 of one command")
        assert len(journal.read_text().splitlines()) == 5
        assert len({call.seed for call in server.calls}) == len(server.calls) == 5


def test_without_its_key_nothing_is_begun(served, tmp_path, monkeypatch):
    monkeypatch.delenv("TEACHER_KEY")
    with BadServer() as server:
        refused(served(server), 2, "TEACHER_KEY")
        assert server.calls == []
    assert not list(tmp_path.rglob("graph"))


def teach(call):
    if "Write one question" in call.prompt:
        return good(f"How does silk carry load number {call.number}?")
    return good("Its crystals carry the load together with soft chains.")


def test_a_run_with_a_server_from_begin_to_end(served, tmp_path):
    small = ["--data.held_out_questions=2", "--data.rejected_sampling.min_new_tokens=4"]
    small += ["--data.rejected_sampling.max_new_tokens=8", "--trainer.max_epochs=1"]
    with BadServer(teach) as server:
        code, out, err = served(server, *small)
    assert (code, err) == (0, ""), err
    assert "teacher m at 127.0.0.1" in out
    [pairs] = tmp_path.rglob("round-0000/pairs.jsonl")
    made = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert [pair["teacher"] for pair in made] == ["m at 127.0.0.1"] * 2
    assert made[0]["chosen"].endswith(
        "<|/thinking|>\n" + "Its crystals carry the load together with soft chains."
    )
