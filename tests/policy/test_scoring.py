"""Mean log-probs against the plainest way: one row, no padding, a log-softmax over its logits."""

import math
import random

import pytest
import torch

from preflexor_pl.policy import scoring
from preflexor_pl.policy.adapters import trained_state
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.policy.scoring import mean_logps
from tests.policy.test_adapters import disturb


def rows():
    """Twelve of all lengths, shuffled, with the first and the last byte of the table among them."""
    draw = random.Random(4)
    made = [
        ([draw.randrange(256) for _ in range(prompt)], [draw.randrange(256) for _ in range(answer)])
        for prompt, answer in [(1, 1), (1, 30), (40, 1), (17, 9), (60, 90), (3, 3)] * 2
    ]
    made[3] = ([0, 255], [255, 0])
    draw.shuffle(made)
    return made


@torch.no_grad()
def by_hand(model, prompt, response):
    logits = model(input_ids=torch.tensor([prompt + response]), use_cache=False).logits[0]
    # the logits at a position are of the token after it
    logps = logits.double().log_softmax(-1)[len(prompt) - 1 : -1]
    return sum(logps[i, token].item() for i, token in enumerate(response)) / len(response)


@pytest.fixture
def policy(policy):
    disturb(policy)
    return policy


@pytest.fixture
def widths(policy, monkeypatch):
    """Shapes of the forward passes."""
    seen = []
    forward = policy.inner.forward

    def counted(*args, **kwargs):
        seen.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    monkeypatch.setattr(policy.inner, "forward", counted)
    return seen


@pytest.mark.parametrize("role", ["policy", "base"])
@pytest.mark.parametrize("budget", [1, 100, 400, 10**6])
def test_means_are_those_of_single_rows_in_any_grouping(policy, monkeypatch, role, budget):
    monkeypatch.setattr(scoring, "TOKEN_BUDGET", budget)
    with policy.active_weights(role) as model:
        expected = [by_hand(model, *row) for row in rows()]
    assert mean_logps(policy, rows(), role) == pytest.approx(expected, abs=1e-5)


def test_the_base_is_not_the_policy(policy):
    on, off = (mean_logps(policy, rows(), role) for role in ("policy", "base"))
    assert all(abs(a - b) > 1e-3 for a, b in zip(on, off, strict=True))


@pytest.mark.parametrize(
    ("budget", "passes"), [(1, 12), (10**6, 1), (2 * 150, None)], ids=["alone", "all", "pairs"]
)
def test_groups_keep_the_budget_of_padded_tokens(policy, widths, monkeypatch, budget, passes):
    monkeypatch.setattr(scoring, "TOKEN_BUDGET", budget)
    mean_logps(policy, rows())
    assert sum(count for count, _ in widths) == 12
    assert passes in (None, len(widths))
    assert all(count == 1 or count * width <= budget for count, width in widths)


def test_weights_are_as_they_were(policy):
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    trains = set(trained_state(policy))
    mean_logps(policy, rows())
    mean_logps(policy, rows(), role="base")
    assert all(torch.equal(p, before[name]) for name, p in policy.named_parameters())
    assert set(trained_state(policy)) == trains


def test_an_empty_response_is_refused_and_nothing_asked_gives_nothing(policy):
    with pytest.raises(ValueError, match="an empty response has no log-prob"):
        mean_logps(policy, [([1], [2]), ([1, 2], [])])
    assert mean_logps(policy, []) == []


def test_equal_logits_by_hand(model_folder):
    # every token has a chance of one in the size of the table
    model = load_language_model(str(model_folder), "x", "float32")
    with torch.no_grad():
        model.inner.get_output_embeddings().weight.zero_()
    size = len(model.tokenizer)
    [mean] = mean_logps(model, [([1, 2], [3, 4, 5])])
    assert mean == pytest.approx(-math.log(size), abs=1e-6)


def test_logits_are_made_from_the_first_answer_on(policy):
    """Of prompts of 40 and 50 tokens and answers of 3, the last 14 columns at most."""
    seen = []
    policy.inner.get_output_embeddings().register_forward_hook(
        lambda module, args, out: seen.append(out.shape[:2])
    )
    mean_logps(policy, [([5] * 40, [1, 2, 3]), ([6] * 50, [3, 2, 1])])
    assert seen == [(2, 53 - 40 + 1)]
