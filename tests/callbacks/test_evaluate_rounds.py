"""What an evaluation of a round leaves: means in its row, the values of each question beside it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from losses import ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import NoMasking
from preflexor_pl.callbacks import EvaluateRounds
from preflexor_pl.core.markers import TRIGGER
from preflexor_pl.evaluation.held_out import answer_questions
from preflexor_pl.evaluation.question_values import read_values, values_path
from tests.run_helpers import Letters
from tests.tiny import PAIR

PAIRS = [
    replace(PAIR, id=name, prompt=f"Why is {name} tough?{TRIGGER}", chunk_ids=[f"{name}.md#2"])
    for name in ("silk", "nacre", "bone")
]


@pytest.fixture
def trainer(policy, tmp_path):
    """As much of a trainer and its data as an evaluation asks."""
    markers, end = policy.markers, policy.end_id
    collator = PairCollator(policy.tokenizer, markers, end, NoMasking(), None, 512, 256, 0)
    data = SimpleNamespace(
        run=tmp_path,
        seed=0,
        task=None,
        policy=policy,
        rounds=SimpleNamespace(collator=collator),
        tokens_per_micro_batch=2000,
        generation_batch_size=8,
        pair_settings=SimpleNamespace(reflection=False, system_prompt=None),
        library=SimpleNamespace(embedder=Letters()),
        held_out_pairs=lambda: PAIRS,
        # the second pair is too long, say, to be tokenised
        tokenized_held_out=lambda: [collator.tokenize(pair) for pair in PAIRS[::2]],
        answer=lambda prompts: answer_questions(policy, prompts, None, 24, 8),
    )
    module = SimpleNamespace(loss=ORPOLoss())
    return SimpleNamespace(datamodule=data, lightning_module=module, callbacks=[])


def test_a_row_has_the_means_of_the_values_that_are_kept(trainer, tmp_path):
    means = EvaluateRounds()._measure(trainer, 2)
    kept = read_values(values_path(tmp_path, 2))
    assert kept.prompts == [pair.prompt for pair in PAIRS]
    assert kept.documents == ["silk.md", "nacre.md", "bone.md"]
    assert {"unasked_thinking", "margin_mismatched", "on_topic", "loss"} < set(means)
    assert set(means) - set(kept.values) == {"distinct"}
    for name, values in kept.values.items():
        finite = [value for value in values if value == value]
        assert len(finite) == (2 if name in preferred(means) else 3), name
        assert means[name] == pytest.approx(sum(finite) / len(finite)), name
    lines = values_path(tmp_path, 2).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["silk", "nacre", "bone"]
    assert all("text" in json.loads(line) for line in lines)


def preferred(means):
    """The measures of pairs that fit, not of answers."""
    of_answers = {"format_rate", "on_topic", "repetition", "unasked_thinking", "distinct"}
    return set(means) - of_answers
