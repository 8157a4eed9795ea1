"""Markers of one's own through the commands: two phases, what they leave, and what reads it."""

import json
import re

import pytest
import torch
import yaml

from preflexor_pl import dataset, export, fit, inspect, reason
from preflexor_pl.core.chat import encode
from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.pairs.pair import marked_as, read_pairs
from preflexor_pl.pairs.round_folders import read_manifest
from preflexor_pl.reasoning.model_info import model_info
from preflexor_pl.reasoning.models import load_model
from tests.policy.test_artifact import run_the_cards_snippet
from tests.scripted import GOOD
from tests.tiny import PAIR, refused, save_thinking_model, tiny_policy
from tests.verbs import done

THINK = MarkerStrings("<think>", "</think>", "<reflect>", "</reflect>", "Think in {think_start}.")
SAID = {"markers": {name: getattr(THINK, name) for name in MarkerStrings.__dataclass_fields__}}


@pytest.fixture
def small(place, teacher):
    """mine.yaml without markers, as a text; documents and teacher write ours into their texts."""
    model = save_thinking_model(place / "thinker")
    config = yaml.safe_load((place / "mine.yaml").read_text())
    config["model"]["policy"]["model_name"] = str(model)
    config["trainer"] = {"max_epochs": 1}
    for path in (place / "corpus").glob("*.md"):
        path.write_text("It holds. </think> " + path.read_text())
    teacher.reply = lambda kind, subject, again: (
        f"A <think> tag and </reflect>. {GOOD[kind].format(subject)}" if kind == "answer" else None
    )
    return config


def test_two_phases_and_all_that_reads_them(small, place, call_verb, run_command, teacher):
    plain = yaml.safe_dump(small)
    small["model"]["policy"] |= SAID
    (place / "mine.yaml").write_text(yaml.safe_dump(small))
    done(call_verb(fit, "--run=runs/one"))
    one = place / "runs/one"
    pairs = [pair for file in one.rglob("pairs.jsonl") for pair in read_pairs(file)]
    assert len(pairs) == 5
    for pair in pairs:
        assert pair.prompt.endswith("? Think in <think>.")
        assert re.fullmatch(r"<think>\n\*\*.*\n</think>\nA <·think> tag and .*", pair.chosen, re.S)
        assert (pair.chosen.count("<think>"), pair.chosen.count("</think>")) == (1, 1)
        assert "</reflect>" not in pair.chosen
        assert "<|thinking|>" not in pair.prompt + pair.chosen
    assert all("</think>" not in request.prompt for request in teacher.asked)
    assert any("<·/think>" in request.prompt for request in teacher.asked)

    left = json.loads((one / "adapter/base.json").read_text())
    assert left["markers"] == SAID["markers"]
    assert list(left["added_tokens"]) == ["<reflect>", "</reflect>"]
    assert left["trained_markers"] == []  # they stay the base's own
    assert "Think in <think>.`" in (one / "adapter/README.md").read_text()
    model, tokenizer = run_the_cards_snippet(one / "adapter")
    assert encode(tokenizer, "<think></think>") == [259, 260]
    assert model(input_ids=model.dummy_inputs["input_ids"]).logits.shape[-1] >= 263

    (place / "mine.yaml").write_text(plain)  # which says nothing of markers
    from_one = "--model.policy.start_from=runs/one"
    other = "--model.policy.markers.think_start=<thinks>"
    line = "runs/one/adapter was trained with <think> </think> <reflect> </reflect> 'Think in"
    refused(call_verb(fit, "--run=runs/no", from_one, other), 2, "model.policy.markers", line)
    began = tiny_policy(place / "thinker", start_from="runs/one").inner.get_input_embeddings()
    base = tiny_policy(place / "thinker").inner.get_input_embeddings()
    assert torch.equal(began.weight[[259, 260]], base.weight[[259, 260]])  # in the base's prompts
    done(call_verb(fit, "--run=runs/two", from_one, "--model.loss=losses.DPOLoss"))
    made = read_pairs(place / "runs/two/rounds/round-0000/pairs.jsonl")
    assert all(pair.chosen.startswith("<think>\n**") for pair in made)
    assert read_manifest(place / "runs/two/rounds/round-0000")["markers"] == SAID["markers"]
    assert "Think in <think>." in done(call_verb(inspect, "--run=runs/two", from_one))

    told = done(run_command(dataset, "runs/two"))
    assert re.search(r"mean words of \| question \| thinking \| answer", told)
    assert load_model("runs/two").model.strings == THINK
    traces = done(run_command(reason, "Why?", "--run", "runs/two", "--max_new_tokens=9", "--json"))
    assert json.loads(traces)["question"] == "Why?"
    done(run_command(export, "runs/two", "--out", "whole", "--dtype", "float32"))
    kept = json.loads((place / "whole/config.json").read_text())["preflexor_pl"]
    assert kept["markers"] == SAID["markers"]
    assert "Think in <think>." in (place / "whole/README.md").read_text()
    loaded = load_model("whole")
    assert (loaded.model.strings, loaded.thinks, model_info("whole").markers) == (
        THINK,
        True,
        THINK,
    )
    assert not load_model(str(place / "thinker"), strings=THINK).thinks
    args = "--run=runs/no", "--model.policy.model_name=whole", other
    refused(call_verb(fit, *args), 2, "model.policy.markers", "was exported with <think>")


def test_a_mistake_is_one_line(small, place, call_verb):
    small["model"]["policy"]["markers"] = {"think_start": "<think>", "think_end": "<think>"}
    (place / "mine.yaml").write_text(yaml.safe_dump(small))
    refused(call_verb(fit), 2, "model.policy.markers", "think_start", "no part of think_end")


def test_a_pair_in_the_markers_of_another_model(model_folder):
    other = tiny_policy(model_folder, markers=THINK)
    pair = PAIR.__class__(**vars(PAIR) | {"rejected": "<think> <|/thinking|>"})
    made = marked_as(pair, MarkerStrings(), THINK, other.special_strings)
    assert made.prompt == "Why is silk tough? Think in <think>."
    assert made.chosen == "<think>\nIt bends.\n</think>\nIt bends."
    assert made.rejected == "<·think> </think>"
    assert marked_as(PAIR, THINK, THINK, ()) is PAIR
