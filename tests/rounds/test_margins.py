"""Margins of pairs, against log-probs added up by hand."""

from dataclasses import replace

import pytest
import torch

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.rounds.margins import margins, rejected_logps
from tests.tiny import PAIR

OTHER = replace(PAIR, id="0000-0002", chosen="Because it bends.", rejected="It does not.")


def by_hand(policy, prompt, response):
    ids = chat_ids(policy.tokenizer, prompt, None)
    text = encode(policy.tokenizer, response)
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([ids + text])).logits[0].log_softmax(-1)
    logps = [logits[len(ids) + place - 1, token] for place, token in enumerate(text)]
    return float(sum(logps) / len(logps))


def test_a_margin_is_the_difference_of_mean_log_probs(policy):
    pairs = [PAIR, OTHER]
    rejected = [by_hand(policy, pair.prompt, pair.rejected) for pair in pairs]
    chosen = [by_hand(policy, pair.prompt, pair.chosen) for pair in pairs]
    assert rejected_logps(policy, pairs, None) == pytest.approx(rejected, abs=1e-5)
    expected = [good - bad for good, bad in zip(chosen, rejected, strict=True)]
    assert margins(policy, pairs, None) == pytest.approx(expected, abs=2e-5)
