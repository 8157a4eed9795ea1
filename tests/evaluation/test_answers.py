"""Measures on answers, by hand: vectors in two dimensions, words that can be counted."""

import math
from dataclasses import replace

import numpy as np
import pytest

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.markers import TRIGGER
from preflexor_pl.evaluation.answers import form_rate, likelihoods, measure
from preflexor_pl.policy.scoring import mean_logps
from preflexor_pl.reasoning import Step
from tests.policy.test_adapters import disturb
from tests.tiny import PAIR

PLACES = {"silk": 0.0, "nacre": 90.0, "Silk is strong": 30.0, "A silk is tough.": 0.0}


def embed(texts):
    """Directions in degrees; whatever is not known points away from all."""
    angles = [math.radians(PLACES.get(text, 225.0)) for text in texts]
    return np.array([[math.cos(a), math.sin(a)] for a in angles], dtype=np.float32)


def step(kind, text, loop=""):
    return Step(kind, 0, "model", text, None, None, text, (), "stop", 1, 0.0, loop)


def measured(answers, taught=("A silk is tough.", "nacre"), tokens=(4, 8)):
    made = [[step("answer", text)] for text in answers]
    return measure(["silk", "nacre"], answers, taught, made, tokens, embed, seed=0)


def test_measures_by_hand():
    found = measured(["Silk is strong", "nacre"])
    values = {name: estimate.value for name, estimate in found.items()}
    assert values == pytest.approx(
        {
            "answered": 1,
            "finished_for_it": 0,
            "looped": 0,
            "on_topic": 1,
            "distinct": 1,
            "repetition": 0,
            "similarity": (math.cos(math.radians(30)) + 1) / 2,
            # silk is strong, silk is tough: two of three words both ways, articles aside
            "f1": (2 / 3 + 1) / 2,
            "words": (3 + 1) / 2,
            "tokens": 6,
        },
        abs=1e-6,
    )
    assert {estimate.n for estimate in found.values()} == {2}


def test_what_came_is_measured_before_it_was_repaired():
    made = [[step("answer", "a b a", "a b a b a b"), step("finish", "a")], [step("answer", "b")]]
    answers, taught = ["a", "b"], ["silk", "nacre"]
    found = measure(["silk", "nacre"], answers, taught, made, [1, 1], embed, seed=0)
    assert (found["finished_for_it"].value, found["looped"].value) == (0.5, 0.5)
    assert found["repetition"].value == pytest.approx((1 / 3 + 0) / 2)  # abab, baba, abab
    found = measure(["silk", "nacre"], answers, taught, [[], made[1]], [1, 1], embed, seed=0)
    assert (found["looped"].n, found["repetition"].n) == (1, 1)


def test_no_answer_is_a_miss_in_every_measure():
    found = measured(["Silk is strong", " "])
    assert found["answered"].value == 0.5
    assert found["on_topic"].value == 0.5
    assert found["similarity"].value == pytest.approx(math.cos(math.radians(30)) / 2)
    assert found["f1"].value == pytest.approx(1 / 3)
    assert found["words"].value == 1.5
    none = measured(["", ""])
    assert [none[name].value for name in ("answered", "on_topic", "f1", "words")] == [0] * 4
    assert none["distinct"].value == 0.5


def test_an_answer_off_its_topic():
    assert measured(["nacre", "silk"])["on_topic"].value == 0
    assert measured(["silk", "silk"])["on_topic"].value == 0.5
    assert measured(["silk", "silk"])["distinct"].shown(percent=True) == "50 %"


def test_repeated_words_are_counted_an_answer():
    # "a b a b a b": one of three 4-grams came before
    assert measured(["a b a b a b", "nacre"])["repetition"].value == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("text", "finished", "reflection", "has"),
    [
        (f"<|thinking|>{'x' * 20}<|/thinking|>a", True, False, 1),
        (f"<|thinking|>{'x' * 19}<|/thinking|>a", True, False, 0),
        (f"<|thinking|>{'x' * 20}<|/thinking|>a", False, False, 0),
        (f"<|thinking|>{'x' * 20}<|/thinking|>", True, False, 0),
        (f"<|thinking|>{'x' * 20}<|/thinking|>a", True, True, 0),
        (f"<|thinking|>{'x' * 20}<|/thinking|><|reflect|>r<|/reflect|>a", True, True, 1),
        ("a", True, False, 0),
    ],
)
def test_the_form_is_that_of_training(policy, text, finished, reflection, has):
    texts = [text, "plain"]
    assert form_rate(policy, texts, [finished, True], reflection).value == has / 2


PAIRS = [
    replace(
        PAIR,
        prompt=f"Why is {name} tough?{TRIGGER}",
        chosen=f"<|thinking|>\n{name} bends.\n<|/thinking|>\n{name} bends before it breaks.",
        rejected=rejected,
    )
    for name, rejected in (("silk", "No."), ("nacre", "It is not so."), ("bone", "Hm"))
]


@pytest.mark.parametrize("role", ["policy", "base"])
@pytest.mark.parametrize("system", [None, "Be terse."])
def test_likelihoods_are_means_of_single_rows(policy, role, system):
    disturb(policy)

    def logp(prompt, response):
        ids = chat_ids(policy.tokenizer, prompt, system), encode(policy.tokenizer, response)
        return mean_logps(policy, [ids], role)[0]

    found = likelihoods(policy, PAIRS, system, seed=0, role=role)
    taught = [
        logp(f"Why is {name} tough?", f"{name} bends before it breaks.")
        for name in ("silk", "nacre", "bone")
    ]
    good = [logp(pair.prompt, pair.chosen) for pair in PAIRS]
    bad = [logp(pair.prompt, pair.rejected) for pair in PAIRS]
    assert found["teacher_logp"].value == pytest.approx(sum(taught) / 3, abs=1e-5)
    wins = sum(a > b for a, b in zip(good, bad, strict=True))
    assert found["prefers_chosen"].value == pytest.approx(wins / 3)
    others = [  # of three questions, each has the two others
        [logp(pair.prompt, other.chosen) for other in PAIRS if other is not pair] for pair in PAIRS
    ]
    margins = [own - sum(two) / 2 for own, two in zip(good, others, strict=True)]
    assert found["margin_matched"].value == pytest.approx(sum(margins) / 3, abs=1e-5)
    beaten = [sum(own > one for one in two) / 2 for own, two in zip(good, others, strict=True)]
    assert found["prefers_matched"].value == pytest.approx(sum(beaten) / 3)
    assert {estimate.n for estimate in found.values()} == {3}


def test_a_model_that_learnt_the_pairs_prefers_what_was_chosen(policy):
    import torch

    rows = [
        chat_ids(policy.tokenizer, pair.prompt) + encode(policy.tokenizer, pair.chosen)
        for pair in PAIRS
    ]
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=0.02)
    with torch.enable_grad():
        for step in range(60):
            ids = torch.tensor([rows[step % 3]])
            policy.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    found = likelihoods(policy, PAIRS, None, seed=0)
    assert found["prefers_chosen"].value == 1
    assert found["prefers_matched"].value == 1
    before = likelihoods(policy, PAIRS, None, seed=0, role="base")
    assert found["teacher_logp"].value > before["teacher_logp"].value + 1


def test_empty_texts_of_a_file_made_by_hand_are_measured_too(policy):
    pairs = [replace(PAIRS[0], rejected="", chosen="<|thinking|>It bends."), *PAIRS[1:]]
    assert all(math.isfinite(e.value) for e in likelihoods(policy, pairs, None, 0).values())
