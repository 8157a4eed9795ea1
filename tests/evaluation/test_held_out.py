"""Values of every held-out question, on a tiny model, against one row at a time."""

from dataclasses import replace

import numpy as np
import pytest

from losses import ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import AnswerOnly
from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.generator import Completion
from preflexor_pl.core.markers import THINK_END, THINK_START
from preflexor_pl.core.responses import parse_response
from preflexor_pl.evaluation import held_out
from preflexor_pl.evaluation.held_out import AnsweredPrompt, forms, preferences, thinks_unasked
from preflexor_pl.evaluation.text_metrics import partners_of
from preflexor_pl.policy.scoring import mean_logps
from tests.policy.test_adapters import disturb
from tests.tiny import PAIR

PAIRS = [
    replace(PAIR, id=name, prompt=PAIR.prompt.replace("silk", name), chosen=f"{PAIR.chosen} {name}")
    for name in ("silk", "nacre", "bone", "wood", "horn")
]


def collator(policy, batching="plain"):
    ids = policy.tokenizer, policy.markers, policy.end_id
    return PairCollator(*ids, AnswerOnly(), None, 512, 256, 0, batching)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("batching", ["plain", "padded", "packed"])
def test_the_mismatched_margin_is_that_of_single_rows(policy, count, batching):
    disturb(policy)
    pairs, made = PAIRS[:count], collator(policy, batching)
    tokenized = [made.tokenize(pair) for pair in pairs]
    found = preferences(policy, ORPOLoss(), made, tokenized, 700, seed=3)

    def logp(prompt, response):
        ids = [*encode(policy.tokenizer, response), policy.end_id]
        return mean_logps(policy, [(chat_ids(policy.tokenizer, prompt), ids)])[0]

    partners = partners_of(count, 3, 3)
    assert len(partners) == min(3, count - 1)
    for i, pair in enumerate(pairs):
        own = logp(pair.prompt, pair.chosen)
        others = [logp(pair.prompt, pairs[partner[i]].chosen) for partner in partners]
        assert found[pair.id]["margin_mismatched"] == pytest.approx(own - np.mean(others), abs=2e-5)
        beaten = np.mean([own > other for other in others])
        assert found[pair.id]["accuracy_mismatched"] == pytest.approx(beaten)


def test_losses_and_rewards_are_those_of_each_pair_alone(policy):
    made = collator(policy)
    tokenized = [made.tokenize(pair) for pair in PAIRS]
    together = preferences(policy, ORPOLoss(), made, tokenized, 4000, seed=0)
    for pair in tokenized:
        batch = made([pair], held_out.DRAW)
        alone = ORPOLoss()(policy.logps(batch)).loss.detach()
        assert together[pair.id]["loss"] == pytest.approx(alone.item(), abs=1e-4)


class Writes:
    """Thinks where a question has this word."""

    def __init__(self, word, text):
        self.word, self.text = word, text

    def __call__(self, model, role, batch_size):
        assert role == "policy"
        return self

    def batches(self, requests):
        return [list(range(len(requests)))]

    def complete(self, requests):
        assert all(
            request.sampling.max_new_tokens == held_out.UNASKED_TOKENS for request in requests
        )
        assert all(request.sampling.temperature == 0 for request in requests)
        texts = [self.text if self.word in r.prompt else "Plainly." for r in requests]
        return [Completion(text, "length", 1) for text in texts]


@pytest.mark.parametrize("text", [f"{THINK_START}It", f"It bends.\n{THINK_END}\nIt bends."])
def test_thinking_counts_where_nobody_asked_for_it(policy, monkeypatch, text):
    monkeypatch.setattr(held_out, "LocalGenerator", Writes("silk", text))
    questions = ["Why is silk tough?", "Why is nacre tough?"]
    assert thinks_unasked(policy, questions, "Be brief.", 8) == [True, False]


def test_a_policy_that_never_saw_a_marker_does_not_think_unasked(policy):
    assert thinks_unasked(policy, ["Why is silk tough?"] * 3, None, 2) == [False] * 3


def test_each_answer_has_its_values(policy):
    text = f"<|thinking|>{'x ' * 20}<|/thinking|>"
    texts = [f"{text}silk", f"{text}nacre nacre nacre nacre nacre", "silk"]
    questions = ["silk", "nacre", "bone"]
    answered = [
        AnsweredPrompt(q, Completion(text, "stop", 1), parse_response(text))
        for q, text in zip(questions, texts, strict=True)
    ]

    def embed(words):
        return np.array([[float(name in word) for name in questions] for word in words])

    found = forms(policy, answered, questions, embed)
    assert found["format_rate"] == [1, 1, 0]
    assert found["on_topic"] == [1, 1, 0]
    assert found["repetition"][2] == 0 < found["repetition"][0]
