"""The training command with a teacher behind a server, from its first call to its exit code."""

import json
import signal
import time
from dataclasses import replace

from preflexor_pl.core.errors import Stopped
from preflexor_pl.module import PreferenceModule
from preflexor_pl.rounds.rounds import Rounds
from tests.server.bad_server import BadServer, good, status, teach_by_seed
from tests.tiny import refused

KEY = "sk-live-0123456789abcdefghij"


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
    [summary] = tmp_path.rglob("summary.md")
    assert "- weights: `float32 on cpu`" in summary.read_text()  # what train.ok asks for
    [pairs] = tmp_path.rglob("round-0000/pairs.jsonl")
    made = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert [pair["teacher"] for pair in made] == ["m at 127.0.0.1"] * 2
    assert made[0]["chosen"].endswith(
        "<|/thinking|>\n" + "Its crystals carry the load together with soft chains."
    )


SMALL = (
    "--data.held_out_questions=2",
    "--data.rejected_sampling.min_new_tokens=4",
    "--data.rejected_sampling.max_new_tokens=8",
    "--data.epochs_per_round=1",
    "--trainer.max_epochs=2",
)


def test_the_next_round_is_made_while_this_one_trains_and_is_the_same(
    served, tmp_path, monkeypatch
):
    """With and without prefetching: the same pairs; with it, the teacher's part is in time."""
    asked = []  # when a round is made, how many calls of it are on record
    make = Rounds.make

    def counted(self, index, *args):
        calls = self.folder(index) / "calls.jsonl"
        if not (self.folder(index) / "manifest.json").exists():
            asked.append((index, len(calls.read_text().splitlines()) if calls.exists() else 0))
        return make(self, index, *args)

    monkeypatch.setattr(Rounds, "make", counted)
    made = {}
    for prefetch in ("true", "false"):
        with BadServer(teach_by_seed) as server:
            run = f"--run={tmp_path / prefetch}"
            code, out, err = served(server, *SMALL, run, f"--data.prefetch={prefetch}")
            assert (code, err) == (0, ""), err
        assert ("hidden behind training" in out) == (prefetch == "true")
        rounds = tmp_path / prefetch / "rounds"
        made[prefetch] = [
            (rounds / f"round-000{n}" / name).read_bytes()
            for n in (0, 1)
            for name in ("pairs.jsonl", "plan.json", "manifest.json", "drops.jsonl")
        ]
        assert len({call.seed for call in server.calls}) == len(server.calls)
    assert made["true"] == made["false"]
    # 3 questions, of which one is spare; 2 blocks and an answer for each of 2 items
    assert asked == [(0, 0), (1, 3 + 4 + 2), (0, 0), (1, 0)]


def test_a_run_that_dies_while_the_next_round_is_made_ahead_keeps_what_was_said(
    served, tmp_path, monkeypatch
):
    def slow_ahead(call):
        seconds = 0.3 if len(list(tmp_path.rglob("round-0001"))) else 0
        return replace(teach_by_seed(call), seconds=seconds)

    step = PreferenceModule.training_step

    def dies(self, *args):
        step(self, *args)
        calls = tmp_path / "dead/rounds/round-0001/calls.jsonl"
        while not calls.exists() or not calls.read_text():
            time.sleep(0.01)
        raise Stopped(signal.SIGTERM)

    with BadServer(slow_ahead) as server:
        run = f"--run={tmp_path / 'dead'}"
        two = "--data.teacher.server.in_flight=2"
        with monkeypatch.context() as patch:
            patch.setattr(PreferenceModule, "training_step", dies)
            assert served(server, *SMALL, run, two)[0] == 143
        known = (tmp_path / "dead/rounds/round-0001/calls.jsonl").read_text().splitlines()
        before = len(server.calls)
        assert 1 <= len(known) <= 4  # what was in flight was waited for; nothing more was begun
        code, _, err = served(server, *SMALL, run, two)
        assert (code, err) == (0, "")
        assert len({call.seed for call in server.calls}) == len(server.calls) > before
    with BadServer(teach_by_seed) as server:
        assert served(server, *SMALL, f"--run={tmp_path / 'whole'}")[0] == 0
    pairs = [tmp_path / run / "rounds/round-0001/pairs.jsonl" for run in ("dead", "whole")]
    assert pairs[0].read_bytes() == pairs[1].read_bytes()


def test_no_round_is_paid_for_that_max_steps_ends_before(served, tmp_path):
    with BadServer(teach_by_seed) as server:
        args = ["--trainer.max_epochs=3", "--trainer.max_steps=1", f"--run={tmp_path / 'run'}"]
        code, _, err = served(server, *SMALL, *args)
    assert (code, err) == (0, "")
    assert not (tmp_path / "run/rounds/round-0001").exists()


def test_a_prompts_folder_may_move_and_its_texts_may_not(served, tmp_path):
    folder, moved = tmp_path / "mine", tmp_path / "moved"
    folder.mkdir()
    text = "{{facts}}\n\nWrite one question about {{topic}}."
    (folder / "question.txt").write_text(text, encoding="utf-8")
    run = f"--run={tmp_path / 'run'}"
    with BadServer(teach_by_seed) as server:
        assert served(server, *SMALL, run, f"--data.prompts={folder}")[0] == 0
        folder.rename(moved)
        code, out, err = served(server, *SMALL, run, f"--data.prompts={moved}")
        assert (code, err) == (0, "")
        assert "is finished" in out
        (moved / "question.txt").write_text(f"Please. {text}", encoding="utf-8")
        outcome = served(server, *SMALL, run, f"--data.prompts={moved}")
    refused(outcome, 2, "begun with other prompts: question.txt")
