"""A head against logits and autograd, in float64, and one case with a pencil."""

import math

import pytest
import torch
from torch import tensor

import preflexor_pl.policy.kernels.head
from losses.logps import token_logps
from preflexor_pl.policy.kernels.head import Head

N, H, V = 11, 5, 13
ROWS = tensor([4, 9])
CASES = {
    "plain": {},
    "scaled": {"scale": 0.25},
    "capped": {"softcap": 2.0},
    "scaled and capped": {"scale": 3.0, "softcap": 5.0},
}


@pytest.fixture(params=[256, 3])
def tile(request, monkeypatch):
    """Tokens in a tile: all of them, or four tiles of which the last is smaller."""
    monkeypatch.setattr(preflexor_pl.policy.kernels.head, "TILE_CPU", request.param)


def drawn(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


LABELS = tensor([4, 9, 0, 12, 4, 3, 9, 1, 1, 7, 4])  # rows that stand elsewhere among them


def by_logits(hidden, weight, scale=1.0, softcap=None):
    logits = hidden @ weight.T * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return token_logps(logits, LABELS)


def gradients(logps, *inputs):
    """Of a sum with a weight of its own for each token, as a loss would have."""
    weights = torch.linspace(-1, 2, len(logps), dtype=logps.dtype)
    return torch.autograd.grad((weights * logps).sum(), inputs)


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_two_words_by_hand():
    # Logits are the hidden state itself: 0 and ln 3, so p = 1/4 and 3/4.
    head = Head(torch.eye(2, dtype=torch.float64))
    hidden = tensor([[0, math.log(3)]], dtype=torch.float64, requires_grad=True)
    logps = head.logps(hidden, tensor([1]))
    assert logps.item() == pytest.approx(math.log(3 / 4))
    logps.backward()
    assert hidden.grad[0].tolist() == pytest.approx([-1 / 4, 1 / 4])  # (0 - 1/4, 1 - 3/4)


@pytest.mark.parametrize("case", CASES)
def test_frozen(tile, case):
    hidden, weight = drawn(N, H), drawn(V, H, seed=1).detach()
    ours = Head(weight, **CASES[case]).logps(hidden, LABELS)
    theirs = by_logits(hidden, weight, **CASES[case])
    same([ours, *gradients(ours, hidden)], [theirs, *gradients(theirs, hidden)])


@pytest.mark.parametrize("case", CASES)
def test_frozen_but_for_some_rows(tile, case):
    hidden, weight, values = drawn(N, H), drawn(V, H, seed=1).detach(), drawn(2, H, seed=2)
    ours = Head(weight, ROWS, values, **CASES[case]).logps(hidden, LABELS)
    theirs = by_logits(hidden, weight.index_copy(0, ROWS, values), **CASES[case])
    same([ours, *gradients(ours, hidden, values)], [theirs, *gradients(theirs, hidden, values)])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "budget", [preflexor_pl.policy.kernels.head.KEEP_BYTES, 0, 3 * V * 8], ids=str
)
def test_trained(tile, case, budget, monkeypatch):
    """Coefficients are kept, made again, or kept for the first tile alone."""
    monkeypatch.setattr(preflexor_pl.policy.kernels.head, "KEEP_BYTES", budget)
    hidden, weight = drawn(N, H), drawn(V, H, seed=1)
    ours = Head(weight, **CASES[case]).logps(hidden, LABELS)
    theirs = by_logits(hidden, weight, **CASES[case])
    same([ours, *gradients(ours, hidden, weight)], [theirs, *gradients(theirs, hidden, weight)])


def test_a_tied_table_gets_both_gradients():
    table, ids = drawn(V, H), tensor([1, 4, 4])
    ours = Head(table).logps(table[ids], tensor([2, 4, 9]))
    theirs = token_logps(table[ids] @ table.T, tensor([2, 4, 9]))
    same(gradients(ours, table), gradients(theirs, table))


def test_without_a_gradient_it_is_the_same_and_keeps_nothing(tile):
    hidden, weight, values = drawn(N, H), drawn(V, H, seed=1).detach(), drawn(2, H, seed=2)
    head = Head(weight, ROWS, values, 0.5, 4.0)
    with torch.no_grad():
        alone = head.logps(hidden, LABELS)
    assert alone.grad_fn is None
    torch.testing.assert_close(alone, head.logps(hidden, LABELS))


def test_bfloat16_gives_float32_near_the_exact_values():
    hidden, weight = drawn(N, H, dtype=torch.bfloat16), drawn(V, H, seed=1, dtype=torch.bfloat16)
    ours = Head(weight.detach()).logps(hidden, LABELS)
    assert ours.dtype == torch.float32
    (found,) = gradients(ours, hidden)
    assert found.dtype == torch.bfloat16
    exact, frozen = hidden.detach().double().requires_grad_(), weight.detach().double()
    theirs = by_logits(exact, frozen)
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=0.03)  # logits of 8 bits
    (wanted,) = gradients(theirs, exact)
    torch.testing.assert_close(found.double(), wanted, rtol=0.05, atol=0.03)


def test_a_token_as_good_as_certain_has_no_gradient_left():
    hidden = torch.eye(3)[:1].requires_grad_()
    logps = Head(200 * torch.eye(3)).logps(hidden, tensor([0]))  # e^-200 is 0 in float32
    assert logps.item() == 0.0
    assert gradients(logps, hidden)[0].tolist() == [[0.0, 0.0, 0.0]]


def test_shapes_and_mixtures_are_refused():
    with pytest.raises(ValueError, match="hidden states"):
        Head(drawn(V, H)).logps(drawn(N, H), LABELS[:3])
    with pytest.raises(ValueError, match="matrix is frozen"):
        Head(drawn(V, H), ROWS, drawn(2, H)).logps(drawn(N, H), LABELS)
