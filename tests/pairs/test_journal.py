import hashlib
import json

import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.pairs.journal import Journal, write_atomically
from tests.tiny import PAIR

ASK, OTHER = Request("Why?", seed=1), Request("Why?", seed=2)
SAID = Completion("Because.", "stop", 2)


def test_a_reopened_journal_recalls_what_was_made(tmp_path):
    Journal(tmp_path / "round").record([("a/0", ASK, SAID)], "teacher")
    journal = Journal(tmp_path / "round")
    assert journal.recall("a/0", ASK, "teacher") == SAID
    assert journal.recall("a/1", ASK, "teacher") is None  # another call
    assert journal.recall("a/0", OTHER, "teacher") is None  # another request
    assert journal.recall("a/0", ASK, "policy") is None  # another source


@pytest.mark.parametrize(
    "text", ["one\ntwo", "one\u2028two", "one\x85two", "one\x1ctwo", "\ufffd絹"]
)
def test_any_text_comes_back_as_it_was(tmp_path, text):
    said = Completion(text, "length", 3)
    Journal(tmp_path).record([("a/0", ASK, said)], "teacher")
    assert Journal(tmp_path).recall("a/0", ASK, "teacher") == said


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_last_line_left_unfinished_is_cut_off(tmp_path, cut):
    Journal(tmp_path).record([("a/0", ASK, SAID), ("b/0", OTHER, SAID)], "teacher")
    path = tmp_path / "calls.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])

    journal = Journal(tmp_path)
    assert journal.recall("a/0", ASK, "teacher") == SAID
    assert journal.recall("b/0", OTHER, "teacher") is None
    journal.record([("b/0", OTHER, SAID)], "teacher")
    assert Journal(tmp_path).recall("b/0", OTHER, "teacher") == SAID
    assert len(path.read_bytes().splitlines()) == 2


def test_a_plan_is_made_once(tmp_path):
    plan = [{"id": "0000-0000", "topic": "", "chunk_ids": ["silk.md#0"]}]
    assert Journal(tmp_path).plan("1", lambda: plan) == plan
    assert Journal(tmp_path).plan("1", lambda: pytest.fail("made twice")) == plan


def test_a_plan_of_other_settings_is_refused(tmp_path):
    Journal(tmp_path).plan("1", list)
    with pytest.raises(ConfigError, match=r"plan\.json .* other settings: use --run OTHER"):
        Journal(tmp_path).plan("2", list)


def test_the_manifest_is_last(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    written = []

    def note(path, text):
        written.append(path.name)
        assert not journal.is_complete
        write_atomically(path, text)

    monkeypatch.setattr("preflexor_pl.pairs.journal.write_atomically", note)
    drop = {"id": "0000-0002", "reason": "empty_answer", "question": "Why?", "text": ""}
    journal.finish([PAIR], [drop, drop], {"wanted": 2})

    assert written == ["pairs.jsonl", "drops.jsonl", "manifest.json"]
    assert Journal(tmp_path).is_complete
    assert Journal(tmp_path).pairs() == [PAIR]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    sha256 = hashlib.sha256((tmp_path / "pairs.jsonl").read_bytes()).hexdigest()
    assert manifest == {
        "pairs": 1,
        "drops": {"empty_answer": 2},
        "pairs_sha256": sha256,
        "wanted": 2,
    }


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "plan.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"


@pytest.mark.parametrize("bad", ["\0" * 40, '{"call": "a"}', "[]", '{"call": "x", "digest": 3'])
def test_a_damaged_line_is_left_out_and_told_and_the_others_stay(tmp_path, capsys, bad):
    journal = Journal(tmp_path)
    for name in ("a", "b"):
        journal.record([(name, ASK, Completion(name, "stop", 1))], "teacher")
    calls = tmp_path / "calls.jsonl"
    first, second = calls.read_text().splitlines()
    calls.write_text(f"{first}\n{bad}\n{second}\n")
    again = Journal(tmp_path)
    assert [again.recall(name, ASK, "teacher").text for name in ("a", "b")] == ["a", "b"]
    assert "1 of 3 lines are damaged" in capsys.readouterr().out
    assert calls.read_text() == f"{first}\n{second}\n"
    assert bad in (tmp_path / "calls.damaged").read_text()


@pytest.mark.parametrize("content", ["", "\0" * 40, "{}", "[]"])
def test_a_damaged_plan_is_named(tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(CorpusError, match=r"plan\.json is damaged .*--fresh"):
        Journal(tmp_path).plan("f", list)
