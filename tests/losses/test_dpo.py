"""DPO by hand: sigmoid(log 3) = 3/4, so a margin of log 3 costs log(4/3)."""

import math

import pytest
import torch

from losses import DPOLoss, PairLogps


def one_pair(chosen, rejected):
    values = torch.tensor([[chosen], [rejected]])
    lens = torch.tensor([5])
    return PairLogps(values[0].requires_grad_(), values[1].requires_grad_(), lens, lens)


def test_by_hand():
    # Log-ratios +log 3 and -log 3, halved by beta: h = log 3.
    out = DPOLoss(beta=0.5)(
        one_pair(-10.0 + math.log(3), -12.0 - math.log(3)), one_pair(-10.0, -12.0)
    )
    assert out.loss.item() == pytest.approx(math.log(4 / 3), rel=1e-5)
    assert out.chosen_rewards.item() == pytest.approx(math.log(3) / 2, rel=1e-5)
    assert out.rejected_rewards.item() == pytest.approx(-math.log(3) / 2, rel=1e-5)


def test_golden():
    # h = 0.5 * ((-10 + 11) - (-12 + 11.5)) = 0.75
    out = DPOLoss(beta=0.5, label_smoothing=5e-3)(one_pair(-10.0, -12.0), one_pair(-11.0, -11.5))
    assert out.loss.item() == pytest.approx(0.3906, abs=5e-5)
    assert (out.chosen_rewards - out.rejected_rewards).item() == pytest.approx(0.75)


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.49])
def test_log_two_before_the_first_step(eps):
    pair = one_pair(-10.0, -12.0)
    assert DPOLoss(label_smoothing=eps)(pair, pair).loss.item() == pytest.approx(math.log(2))


def test_derivative_at_zero():
    # d/dh = -sigmoid(-h) = -1/2, and dh/dlogp = beta.
    pair = one_pair(-10.0, -12.0)
    DPOLoss(beta=0.2)(pair, pair).loss.backward()
    assert pair.chosen.grad.item() == pytest.approx(-0.2 / 2)
    assert pair.rejected.grad.item() == pytest.approx(0.2 / 2)


def test_swapping_the_sides_swaps_the_label():
    # L(h; eps) = L(-h; 1 - eps): with eps = 1/4, weights 3/4 and 1/4 change places.
    h = math.log(3)
    loss = DPOLoss(beta=1.0, label_smoothing=0.25)
    there, back = (loss(one_pair(x, 0.0), one_pair(0.0, 0.0)).loss.item() for x in (h, -h))
    assert there == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    assert back == pytest.approx(0.25 * math.log(4 / 3) + 0.75 * math.log(4))


def test_smoothing_gives_a_finite_margin():
    eps = 5e-3
    pair = one_pair(math.log((1 - eps) / eps), 0.0)
    DPOLoss(beta=1.0, label_smoothing=eps)(pair, one_pair(0.0, 0.0)).loss.backward()
    assert pair.chosen.grad.item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("h", [-1e4, -200.0, 200.0, 1e4])
def test_a_large_margin_stays_finite(h):
    pair = one_pair(h, 0.0)
    loss = DPOLoss(beta=1.0)(pair, one_pair(0.0, 0.0)).loss
    loss.backward()
    assert loss.item() == pytest.approx(max(-h, 0.0))
    assert pair.chosen.grad.item() == pytest.approx(-1.0 if h < 0 else 0.0)


def test_against_the_formula_in_float64():
    h = torch.linspace(-30, 30, 61)
    zero, lens = torch.zeros(61), torch.ones(61)
    out = DPOLoss(beta=1.0, label_smoothing=0.1)(
        PairLogps(h, zero, lens, lens), PairLogps(zero, zero, lens, lens)
    )
    p, q = 1 / (1 + torch.exp(-h.double())), 1 / (1 + torch.exp(h.double()))
    expected = -0.9 * torch.log(p) - 0.1 * torch.log(q)
    torch.testing.assert_close(out.per_pair.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("eps", [-0.1, 0.5, 1.0, float("nan"), "0.1", None, False])
def test_a_wrong_label_smoothing_is_refused(eps):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 0.5\)"):
        DPOLoss(label_smoothing=eps)


def test_beta_zero_is_refused():
    with pytest.raises(ValueError, match="beta must be a number > 0, got 0"):
        DPOLoss(beta=0)
