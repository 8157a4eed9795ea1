"""Attention by blocks against torch's with a mask, in float64."""

import itertools
from math import inf

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from preflexor_pl.batches.packing import Span
from preflexor_pl.policy.kernels import block_attention
from preflexor_pl.policy.kernels.block_attention import AttentionSpec

PAIRS = Span(0, 4, 5, 3), Span(12, 1, 1, 7), Span(21, 6, 2, 1)
TOKENS = 30


def sees(window):
    """[T, T] by the words of the layout."""
    mask = torch.zeros(TOKENS, TOKENS, dtype=torch.bool)
    for pair in PAIRS:
        prompt = range(pair.start, pair.start + pair.prompt)
        chosen = range(prompt.stop, prompt.stop + pair.chosen)
        rejected = range(chosen.stop, chosen.stop + pair.rejected)
        for response in chosen, rejected:
            text = [*prompt, *response]
            for (i, query), (j, key) in itertools.product(enumerate(text), repeat=2):
                if 0 <= i - j < window:
                    mask[query, key] = True
    return mask


def expected(query, key, value, spec):
    shared = len(query) // len(key)
    key, value = (x.repeat_interleave(shared, 0) for x in (key, value))
    scores = query @ key.transpose(1, 2) * spec.scale
    if spec.softcap is not None:
        scores = spec.softcap * torch.tanh(scores / spec.softcap)
    scores = scores.masked_fill(~sees(spec.window or inf), -inf)
    return (scores.softmax(-1) @ value).transpose(0, 1)


def drawn(dtype):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(heads, TOKENS, 8, generator=generator, dtype=dtype).requires_grad_()
        for heads in (6, 2, 2)
    ]


@pytest.mark.parametrize("window", [None, 1, 4, 40])
@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize(("block", "keep"), [(128, 2**20), (2, 2**20), (3, 0), (3, 200)])
def test_blocks_are_attention_with_a_mask(monkeypatch, block, keep, softcap, window):
    monkeypatch.setattr(block_attention, "BLOCK", block)
    monkeypatch.setattr(block_attention, "KEEP_BYTES", keep)
    spec = AttentionSpec(0.3, softcap, window)
    inputs = drawn(torch.float64)
    grad_output = torch.randn(TOKENS, 6, 8, dtype=torch.float64)
    ours, theirs = (
        attend(*inputs, *others)
        for attend, others in (
            (block_attention.block_attention, (PAIRS, spec)),
            (expected, (spec,)),
        )
    )
    torch.testing.assert_close(ours, theirs)
    ours, theirs = (torch.autograd.grad(mixed, inputs, grad_output) for mixed in (ours, theirs))
    torch.testing.assert_close(ours, theirs)


def test_bytes_are_kept_up_to_the_limit(monkeypatch):
    monkeypatch.setattr(block_attention, "BLOCK", 3)
    kept = {}
    for keep in 0, 2000, 2**20:
        monkeypatch.setattr(block_attention, "KEEP_BYTES", keep)
        inputs = drawn(torch.float32)
        mixed = block_attention.block_attention(*inputs, PAIRS, AttentionSpec(0.3))
        _, _, _, *weights = mixed.grad_fn.saved_tensors
        kept[keep] = sum(one.nbytes for one in weights if one is not None)
    assert kept[0] == 0 < kept[2000] <= 2000 < kept[2**20]


def test_without_gradients_the_same(monkeypatch):
    monkeypatch.setattr(block_attention, "BLOCK", 3)
    inputs = drawn(torch.float32)
    mixed = block_attention.block_attention(*inputs, PAIRS, AttentionSpec(0.3))
    with torch.no_grad():
        assert mixed.equal(block_attention.block_attention(*inputs, PAIRS, AttentionSpec(0.3)))


def by_kernel(query, key, value, spec):
    shared = len(query) // len(key)
    key, value = (x.repeat_interleave(shared, 0) for x in (key, value))
    batch = (x[None] for x in (query, key, value))
    mixed = scaled_dot_product_attention(*batch, attn_mask=sees(inf), scale=spec.scale)
    return mixed[0].transpose(0, 1)


def test_bfloat16_is_about_as_exact_as_torchs_kernel():
    spec = AttentionSpec(1.5)  # weights far from even
    rounded = [x.detach().bfloat16() for x in drawn(torch.float32)]
    grad_output = torch.randn(TOKENS, 6, 8, generator=torch.Generator().manual_seed(1)).bfloat16()

    def learned(attend, dtype, *others):
        inputs = [x.to(dtype).requires_grad_() for x in rounded]
        mixed = attend(*inputs, *others)
        found = mixed, *torch.autograd.grad(mixed, inputs, grad_output.to(dtype))
        return [x.detach().double() for x in found]

    exact = learned(expected, torch.float64, spec)
    ours = learned(block_attention.block_attention, torch.bfloat16, PAIRS, spec)
    kernels = learned(by_kernel, torch.bfloat16, spec)
    for right, our, kernel in zip(exact, ours, kernels, strict=True):
        assert (our - right).norm() < 2.5 * (kernel - right).norm()
        assert (our - right).norm() < 0.01 * right.norm()
