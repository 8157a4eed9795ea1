"""Batched decoding against the plainest one: one text, no cache, no padding, argmax in a loop."""

import pytest
import torch

from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.errors import ResourceError
from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.policy import generation, prompt_batch
from preflexor_pl.policy.adapters import trained_state
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.gradient_check import check_gradients

GREEDY = Sampling(max_new_tokens=24, temperature=0.0)
WARM = Sampling(max_new_tokens=24, temperature=1.0, top_k=0, top_p=1.0)
QUESTIONS = ["Why?", "How does silk bend?", "What is bone?", "Where do geckos hold on to walls?"]


@pytest.fixture
def policy(policy):
    """Adapters that say something else than the base, and end turns now and then."""
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in trained_state(policy).values():
            weight.add_(torch.randn(weight.shape, generator=noise) * 0.2)
    return policy


def requests(sampling, system="Be brief."):
    return [
        Request(text, system, sampling, seed, (("1?", "one"),))
        for seed, text in enumerate(QUESTIONS)
    ]


@torch.no_grad()
def argmax_loop(policy, request, model=None):
    ids = chat_ids(policy.tokenizer, request.prompt, request.system, request.examples)
    made = []
    while len(made) < request.sampling.max_new_tokens:
        logits = policy.model(input_ids=torch.tensor([ids + made]), use_cache=False).logits
        token = int(logits[0, -1].argmax())
        if token in policy.stop_ids:
            return policy.decode(made), "stop", len(made)
        made.append(token)
    return policy.decode(made), "length", len(made)


def told(completions):
    return [(c.text, c.finish_reason, c.tokens) for c in completions]


def test_greedy_texts_are_those_of_the_plain_loop(policy):
    asked = requests(GREEDY)
    assert told(LocalGenerator(policy, "policy").complete(asked)) == [
        argmax_loop(policy, request) for request in asked
    ]


def test_with_adapters_off_the_base_speaks(policy, monkeypatch):
    monkeypatch.setattr(type(policy), "marker_ids", [])  # suppress nothing: compare the weights
    asked = requests(GREEDY)
    made = LocalGenerator(policy, "base").complete(asked)
    with policy.model.disable_adapter():
        assert told(made) == [argmax_loop(policy, request) for request in asked]
    assert told(made) != told(LocalGenerator(policy, "policy").complete(asked))


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "warm"])
def test_a_text_does_not_depend_on_its_companions(policy, sampling):
    generator = LocalGenerator(policy, "policy")
    asked = requests(sampling)
    together = told(generator.complete(asked))
    assert together == [told(generator.complete([request]))[0] for request in asked]
    assert together[::-1] == told(generator.complete(asked[::-1]))


@pytest.mark.parametrize("shared_from", [2, 10**6], ids=["shared", "apart"])
@pytest.mark.parametrize("shrink_at", [0.0, 1.0], ids=["kept", "shrunk"])
def test_shared_beginnings_and_shrinking_do_not_show(policy, monkeypatch, shared_from, shrink_at):
    monkeypatch.setattr(prompt_batch, "SHARED_FROM", shared_from)
    monkeypatch.setattr(generation, "SHRINK_AT", shrink_at)
    asked = [
        Request(text, "Be brief.", Sampling(max_new_tokens=4 + 9 * place, temperature=0.0))
        for place, text in enumerate(QUESTIONS)
    ]
    assert told(LocalGenerator(policy, "policy").complete(asked)) == [
        argmax_loop(policy, request) for request in asked
    ]


def test_equal_prompts_share_all_but_their_last_token(policy):
    asked = [Request("Why?", None, WARM, seed) for seed in (1, 2, 1)]
    first, second, third = told(LocalGenerator(policy, "policy").complete(asked))
    assert first == third != second
    assert first == told(LocalGenerator(policy, "policy").complete(asked[:1]))[0]


def test_a_prompt_that_several_rows_have_is_read_once(policy, monkeypatch):
    rows = []
    forward = prompt_batch.PromptBatch._forward

    def counted(self, ids, mask):
        rows.append(len(ids))
        return forward(self, ids, mask)

    monkeypatch.setattr(prompt_batch.PromptBatch, "_forward", counted)
    monkeypatch.setattr(prompt_batch, "SHARED_FROM", 10**6)
    monkeypatch.setattr(generation, "SHRINK_AT", 0.0)
    asked = [Request(text, None, WARM, seed) for seed in (1, 2, 3) for text in QUESTIONS]
    generator = LocalGenerator(policy, "policy")
    together = told(generator.complete(asked))
    assert rows[0] == len(QUESTIONS)
    assert {*rows[1:]} == {len(asked)}
    assert together == [told(generator.complete([request]))[0] for request in asked]


@torch.no_grad()
def favour(policy, token):
    """Make the base say ``token`` all the time: its row of the (tied) table lies far out."""
    table = policy.inner.get_output_embeddings()
    table.register_forward_hook(
        lambda module, args, out: out.index_fill(-1, torch.tensor(token), 99.0)
    )


def test_markers_are_suppressed_when_adapters_are_off(policy):
    favour(policy, policy.markers.think_start)
    on = LocalGenerator(policy, "policy").complete(requests(GREEDY))
    assert on[0].text == "<|thinking|>" * 24
    for sampling in (GREEDY, WARM):
        for made in LocalGenerator(policy, "base").complete(requests(sampling)):
            assert made.tokens > 0
            assert "<|" not in made.text


def test_an_end_of_turn_stops_and_is_no_part_of_the_text(policy):
    favour(policy, policy.end_id)
    for made in LocalGenerator(policy, "policy").complete(requests(WARM)):
        assert (made.text, made.finish_reason, made.tokens) == ("", "stop", 0)


def test_a_stop_string_ends_the_text_before_it(policy):
    favour(policy, policy.tokenizer.convert_tokens_to_ids("a"))
    made = LocalGenerator(policy, "policy").complete(
        [Request("Why?", sampling=GREEDY, stop=("aaa",))]
    )
    assert told(made) == [("", "stop", 3)]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_handed_back_as_it_was(policy, training):
    policy.model.train(training)
    before = {n: p.detach().clone() for n, p in policy.named_parameters()}
    for role in ("policy", "base"):
        LocalGenerator(policy, role).complete(requests(WARM))
    assert all(module.training == training for module in policy.model.modules())
    assert policy.model.config._attn_implementation == "sdpa"
    for name, weight in policy.named_parameters():
        assert torch.equal(weight, before[name])
    check_gradients(policy)  # adapters are on, and nothing is an inference tensor


def test_batches_are_by_length_and_a_pure_function_of_the_requests(policy):
    asked = requests(GREEDY)
    generator = LocalGenerator(policy, "policy", batch_size=3)
    assert generator.batches(asked) == [[3, 1, 2], [0]]
    assert generator.batches([*asked, *asked[:1]]) == [[3, 1, 2], [0, 4]]
    assert generator.batches([]) == []


def test_short_memory_halves_the_batch(policy, monkeypatch):
    generator, watched = LocalGenerator(policy, "policy"), []
    expected, decode, sizes = generator.complete(requests(WARM)), generator._decode, []

    def little_memory(model, batch, watch):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return decode(model, batch, watch)

    monkeypatch.setattr(generator, "_decode", little_memory)
    assert generator.complete(requests(WARM), watch=watched.append) == expected
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    assert not watched  # or it would be told of what was drawn twice


def test_no_memory_at_all_is_an_error_with_advice(policy, monkeypatch):
    def no_memory(model, batch, watch):
        raise torch.OutOfMemoryError

    generator = LocalGenerator(policy, "policy")
    monkeypatch.setattr(generator, "_decode", no_memory)
    policy.model.train()
    with pytest.raises(ResourceError, match=r"out of memory .* shorter texts"):
        generator.complete(requests(WARM))
    assert policy.model.training


def test_names_tell_policy_and_base_apart(policy):
    assert LocalGenerator(policy, "policy").name != LocalGenerator(policy, "base").name
