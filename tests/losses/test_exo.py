"""EXO by hand: eps = 1/4, h = 0 costs 1/2 log((1/2)/(3/4)) + 1/2 log((1/2)/(1/4)) = log(4/3)/2."""

import math

import pytest
import torch

from losses import EXOLoss, PairLogps

EPS = 5e-3
H_STAR = math.log((1 - EPS) / EPS)


def one_pair(chosen, rejected):
    values = torch.tensor([[chosen], [rejected]])
    lens = torch.tensor([5])
    return PairLogps(values[0].requires_grad_(), values[1].requires_grad_(), lens, lens)


def at(h, eps=EPS, beta=1.0):
    """Loss, and its derivative by h, at margin h."""
    pair = one_pair(h / beta, 0.0)
    loss = EXOLoss(beta=beta, label_smoothing=eps)(pair, one_pair(0.0, 0.0)).loss
    loss.backward()
    return loss.item(), pair.chosen.grad.item() / beta


def test_by_hand():
    assert at(0.0, eps=0.25)[0] == pytest.approx(math.log(4 / 3) / 2)


def test_golden():
    # h = 0.5 * ((-10 + 11) - (-12 + 11.5)) = 0.75
    out = EXOLoss(beta=0.5)(one_pair(-10.0, -12.0), one_pair(-11.0, -11.5))
    assert out.loss.item() == pytest.approx(1.0757, abs=5e-5)
    assert out.chosen_rewards.item() == pytest.approx(0.5)
    assert out.rejected_rewards.item() == pytest.approx(-0.25)


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_before_the_first_step(beta):
    pair = one_pair(-10.0, -12.0)
    loss = EXOLoss(beta=beta)(pair, pair).loss
    loss.backward()
    assert loss.item() == pytest.approx(1.95852, abs=5e-6)
    assert pair.chosen.grad.item() == pytest.approx(-1.32333 * beta, rel=1e-5)
    assert pair.rejected.grad.item() == pytest.approx(1.32333 * beta, rel=1e-5)


def test_the_minimum_is_zero_at_a_finite_margin():
    loss, slope = at(H_STAR)
    assert pytest.approx(5.2933, abs=5e-5) == H_STAR
    assert loss == pytest.approx(0.0, abs=1e-6)
    assert slope == pytest.approx(0.0, abs=1e-6)
    assert at(H_STAR - 0.5)[1] < 0 < at(H_STAR + 0.5)[1]


@pytest.mark.parametrize("h", [-8.0, -1.0, 0.5, 4.0, 9.0])
def test_derivative_by_hand(h):
    p = 1 / (1 + math.exp(-h))
    assert at(h)[1] == pytest.approx(p * (1 - p) * (h - H_STAR), rel=1e-3)


@pytest.mark.parametrize("h", [0.0, 0.7, -3.0])
def test_swapping_the_sides_turns_the_cost_round(h):
    # The entropy part is the same for both orders: p and q only change the logs that they weigh.
    p, q = 1 / (1 + math.exp(-h)), 1 / (1 + math.exp(h))
    assert at(h)[0] - at(-h)[0] == pytest.approx(-(p - q) * H_STAR, abs=1e-5)


@pytest.mark.parametrize("h", [-1e4, -200.0, 200.0, 1e4])
def test_a_large_margin_stays_finite(h):
    # All weight on one side: only the other side's log is left.
    loss, slope = at(h)
    assert loss == pytest.approx(-math.log(1 - EPS) if h > 0 else -math.log(EPS), rel=1e-4)
    assert slope == pytest.approx(0.0, abs=1e-6)


def test_against_the_formula_in_float64():
    h = torch.linspace(-30, 30, 61)
    zero, lens = torch.zeros(61), torch.ones(61)
    out = EXOLoss(beta=1.0)(PairLogps(h, zero, lens, lens), PairLogps(zero, zero, lens, lens))
    p, q = 1 / (1 + torch.exp(-h.double())), 1 / (1 + torch.exp(h.double()))
    expected = p * torch.log(p / (1 - EPS)) + q * torch.log(q / EPS)
    torch.testing.assert_close(out.per_pair.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("eps", [-0.1, 0, 0.0, 0.5, 1.0, float("nan"), "0.1", None, True])
def test_a_wrong_label_smoothing_is_refused(eps):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \(0, 0.5\)"):
        EXOLoss(label_smoothing=eps)


def test_beta_zero_is_refused():
    with pytest.raises(ValueError, match="beta must be a number > 0, got 0"):
        EXOLoss(beta=0)
