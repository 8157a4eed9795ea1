"""Pairs to look at: shown in full, kept, and invisible to a training."""

import json

import yaml

from preflexor_pl import fit, preview
from preflexor_pl.batches.show import escape_controls
from tests.scripted import GOOD, kind_of
from tests.server.bad_server import BadServer, good
from tests.tiny import refused
from tests.verbs import VERBS, WHERES, done, files

FIT = "--trainer.max_epochs", "1"
# Of 3 pairs: 3 questions and a spare one, 3 x 2 categories, 3 answers.
ASKED = {"question": 4, "thinking": 6, "answer": 3}


def asked(teacher):
    kinds = [kind_of(request) for request in teacher.asked]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def test_pairs_are_shown_in_full_with_their_sources_and_writers(call_verb, teacher, place):
    told = done(call_verb(preview))
    pairs = [json.loads(line) for line in (place / "runs/mine/preview/pairs.jsonl").open()]
    assert len(pairs) == 3
    for pair in pairs:
        subject = pair["chunk_ids"][0].partition(".")[0]
        source = told.partition(f"─ {pair['id']} ─")[2]
        assert f"\nsource {subject}.md#0" in source
        assert f"This document has the subject: {subject}. It is a tough" in source
        assert f"\nquestion, by script\n{pair['prompt'].partition('?')[0]}?\n" in source
        thought = GOOD["thinking"].format(subject)
        assert f"**Reasoning Steps**: {thought}\n\n**Materials and Concepts**: {thought}" in source
        assert f"\nanswer, by script\n{GOOD['answer'].format(subject)}\n" in source
        rejected = escape_controls(pair["rejected"].strip())
        assert f"\nrejected answer, by {pair['rejected_source']}, cut\n{rejected}\n" in source
    assert "reflection" not in told
    assert told.endswith("3 pairs, in runs/mine/preview; fit does not use them\n")
    assert asked(teacher) == ASKED


def test_a_long_source_is_shortened_and_a_reflection_shown(call_verb, teacher, place):
    for path in (place / "corpus").iterdir():
        path.write_text(path.read_text() + f" The end of {path.stem} is far away from here." * 4)
    args = "--count", "1", "--data.reflection", "true", "--data.chunk_tokens", "120"
    told = done(call_verb(preview, *args))
    assert "far away from here" in told
    assert told.count("far away from here") < 4
    assert "…\n" in told
    assert "\nreflection, by script\nThe reasoning leaves out how" in told


def test_nothing_is_asked_twice(call_verb, teacher, place):
    first = done(call_verb(preview))
    before = files(place / "runs/mine/preview")
    again = done(call_verb(preview))
    assert "13 responses are there" not in first
    assert "16 responses are there from before" in again  # 13 of the teacher, 3 of the policy
    assert asked(teacher) == ASKED
    assert files(place / "runs/mine/preview") == before

    done(call_verb(preview, "--count", "1"))
    assert asked(teacher) == ASKED
    config = yaml.safe_load((place / "mine.yaml").read_text())
    config["data"]["teacher"]["init_args"]["settings"]["answer"]["top_p"] = 0.8
    (place / "mine.yaml").write_text(yaml.safe_dump(config))
    done(call_verb(preview))
    assert len(teacher.asked) == 13 + 3  # the answers alone


def test_fit_begins_as_if_there_were_no_preview(call_verb, teacher, place):
    done(call_verb(preview))
    run = place / "runs/mine"
    assert {path.name for path in run.iterdir()} == {"date.txt", "graph", "preview"}
    kept = files(run / "preview")
    assert "policy/adapter_model.safetensors" not in kept
    # Other settings than the preview's are not refused: nothing has begun.
    told = done(call_verb(fit, *FIT, "--data.pairs_per_round", "2"))
    assert "After 1 rounds" in told
    done(call_verb(fit, *FIT, "--data.pairs_per_round", "2", "--run", "runs/other"))
    for name in ("held_out", "rounds"):
        assert files(run / name) == files(place / "runs/other" / name)
    assert files(run / "preview") == kept


def test_drops_are_shown_also_where_nothing_else_came_out(call_verb, teacher, place):
    def reply(kind, subject, again):
        if kind == "question" and subject == bad:
            return "According to the text \x1b[31m[red]nothing?"
        return "No." if kind == "answer" and bad == "all" else None

    bad, teacher.reply = "silk", reply
    # Two of three documents are trained on, and which ones the seed says.
    told = done(call_verb(preview, "--count", "8", "--data.topics", "40"))
    assert ": question_mentions_source ─" in told
    assert "\ntext\nAccording to the text \\x1b[31m[red]nothing" in told
    assert "\x1b" not in told
    assert "8 pairs, in" in told

    bad = "all"
    outcome = call_verb(preview, "--count", "2", "--run", "runs/other")
    refused(outcome, 3, "runs/other/preview", "no pair came out", "answer_too_short")
    assert ": answer_too_short ─" in outcome[1]
    assert "\ntext\nNo.\n" in outcome[1]


def test_what_a_server_said_before_its_budget_was_used_up_is_kept(call_verb, place):
    def teach(call):
        if "Write one question" in call.prompt:
            return good(f"How does silk {VERBS[call.number % 8]} {WHERES[call.number % 6]}?")
        return good("Its crystals carry the load together with soft chains.")

    with BadServer(teach) as server:
        args = "--data.teacher.server.base_url", server.url, "--data.teacher.server.model", "m"
        stopped = call_verb(preview, *args, "--data.teacher.server.max_calls", "6")
        refused(stopped, 4, "max_calls: the 6 of one command", "goes on")
        assert "3 pairs" in done(call_verb(preview, *args))
        done(call_verb(preview, *args))
        assert len({call.seed for call in server.calls}) == len(server.calls) == 13


def test_a_mistake_is_one_line(call_verb, place):
    refused(call_verb(preview, "--count", "0"), 2, "--count")
    refused(call_verb(preview, "--fresh"), 2, "--fresh")
    refused(call_verb(preview, "--data.topic", "8"), 2, "data.topics")
    assert not (place / "runs").exists()


def test_a_shortfall_is_told(call_verb, teacher):
    told = done(call_verb(preview, "--count", "5", "--data.topics", "3"))
    assert "3 pairs of 5: data.topics allows no more tries" in told
