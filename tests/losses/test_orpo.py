"""ORPO by hand: p = 1/2 has odds 1, p = 1/4 has odds 1/3, so -log sigmoid(log 3) = log(4/3)."""

import math

import pytest
import torch

from losses import ORPOLoss, PairLogps
from losses.orpo import log_odds, mean_logps


def one_pair(chosen, rejected, chosen_len=1, rejected_len=1, dtype=torch.float32):
    values = torch.tensor([[chosen], [rejected]], dtype=dtype)
    lens = torch.tensor([[chosen_len], [rejected_len]])
    return PairLogps(values[0].requires_grad_(), values[1].requires_grad_(), lens[0], lens[1])


def test_by_hand():
    out = ORPOLoss(beta=1.0)(one_pair(math.log(1 / 2), math.log(1 / 4)))
    assert out.metrics["log_odds_ratio"].item() == pytest.approx(math.log(3))
    assert out.metrics["nll"].item() == pytest.approx(math.log(2))
    assert out.loss.item() == pytest.approx(math.log(2) + math.log(4 / 3))


def test_golden():
    out = ORPOLoss(beta=0.1)(one_pair(-1.2, -1.8))
    assert out.metrics["log_odds_ratio"].item() == pytest.approx(0.7777, abs=5e-5)
    assert out.loss.item() - 1.2 == pytest.approx(0.0378, abs=5e-5)


def test_the_mean_is_taken_over_each_response_own_tokens():
    # 8 * -1.2 and 3 * -1.8: the same means as one token each.
    long = ORPOLoss()(one_pair(8 * -1.2, 3 * -1.8, chosen_len=8, rejected_len=3))
    short = ORPOLoss()(one_pair(-1.2, -1.8))
    torch.testing.assert_close(long.per_pair, short.per_pair)
    assert long.chosen_rewards.item() == pytest.approx(0.1 * -1.2)
    assert long.rejected_rewards.item() == pytest.approx(0.1 * -1.8)


def test_beta_zero_is_plain_sft():
    pair = one_pair(-6.0, -1.0, chosen_len=4)
    out = ORPOLoss(beta=0.0)(pair)
    out.loss.backward()
    assert out.loss.item() == 1.5
    assert pair.chosen.grad.item() == -1 / 4
    assert pair.rejected.grad.item() == 0.0


def test_the_reference_is_ignored():
    pair = one_pair(-1.2, -1.8)
    assert ORPOLoss()(pair, one_pair(-7.0, -9.0)).loss == ORPOLoss()(pair).loss


def test_swapping_the_sides_flips_the_log_odds_ratio():
    there = ORPOLoss()(one_pair(-1.2, -1.8)).metrics["log_odds_ratio"]
    back = ORPOLoss()(one_pair(-1.8, -1.2)).metrics["log_odds_ratio"]
    torch.testing.assert_close(there, -back)


def test_log_odds_has_the_digits_of_float64():
    # Above -1e-4, 1 - p has lost half its digits in float32 unless expm1 computes it.
    logps = -torch.logspace(-6, math.log10(50), 200, dtype=torch.float32)
    exact = [logp - math.log(-math.expm1(logp)) for logp in logps.tolist()]
    torch.testing.assert_close(
        log_odds(logps), torch.tensor(exact, dtype=torch.float32), rtol=1e-6, atol=2e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("sides", [(0.0, -1.0), (-1.0, 0.0), (0.0, 0.0), (-1e-7, -1e-30)])
def test_certain_responses_keep_loss_and_gradient_finite(sides, dtype):
    pair = one_pair(*sides, dtype=dtype)
    loss = ORPOLoss()(pair).loss
    loss.backward()
    assert math.isfinite(loss.item())
    assert math.isfinite(pair.chosen.grad.item())
    assert math.isfinite(pair.rejected.grad.item())


def test_hopeless_responses_keep_loss_and_gradient_finite():
    pair = one_pair(-1e4, -1e4)
    loss = ORPOLoss()(pair).loss
    loss.backward()
    assert math.isfinite(loss.item())
    assert math.isfinite(pair.chosen.grad.item())


def test_a_response_without_supervised_tokens_spoils_nothing():
    logps = torch.tensor([0.0, -1.2], requires_grad=True)
    lens = torch.tensor([0, 1])
    batch = PairLogps(logps, torch.tensor([-1.8, -1.8]), lens, torch.tensor([1, 1]))
    out = ORPOLoss()(batch)
    out.loss.backward()
    assert out.per_pair[1].item() == pytest.approx(1.2378, abs=5e-5)
    assert torch.isfinite(out.per_pair).all()
    assert torch.isfinite(logps.grad).all()
    assert mean_logps(logps, lens)[0] == 0


def test_bf16_sums_are_divided_in_float32():
    # 257 has no bf16: dividing there would give -1 instead of -256/257.
    means = mean_logps(torch.tensor([-256.0], dtype=torch.bfloat16), torch.tensor([257]))
    assert means.item() == pytest.approx(-256 / 257)
