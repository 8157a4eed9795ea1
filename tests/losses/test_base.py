"""The contract: what the carriers refuse, and what every loss owes to them."""

import math
import subprocess
import sys

import pytest
import torch

from losses import DPOLoss, EXOLoss, LossOutput, ORPOLoss, PairLogps, PreferenceLoss

LOSSES = [
    ORPOLoss(),
    ORPOLoss(beta=0.0),
    DPOLoss(),
    DPOLoss(label_smoothing=0.1),
    EXOLoss(),
    EXOLoss(beta=0.5, label_smoothing=0.2),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)


def pairs(chosen, rejected, lens=4, dtype=torch.float32):
    """PairLogps from two lists, all responses ``lens`` tokens long."""
    size = torch.full((len(chosen),), lens)
    return PairLogps(
        torch.tensor(chosen, dtype=dtype), torch.tensor(rejected, dtype=dtype), size, size
    )


def random_pairs(size, seed, dtype=torch.float32):
    rng = torch.Generator().manual_seed(seed)
    logps = -20 * torch.rand(2, size, generator=rng, dtype=dtype) - 0.1
    lens = torch.randint(1, 9, (2, size), generator=rng)
    return PairLogps(logps[0], logps[1], lens[0], lens[1])


def part(batch, rows):
    return PairLogps(
        batch.chosen[rows], batch.rejected[rows], batch.chosen_len[rows], batch.rejected_len[rows]
    )


def trainable(batch):
    """The same values as leaves that take a gradient."""
    return PairLogps(
        batch.chosen.clone().requires_grad_(),
        batch.rejected.clone().requires_grad_(),
        batch.chosen_len,
        batch.rejected_len,
    )


def test_pair_logps_takes_four_tensors_of_one_shape():
    assert pairs([-1.0, -2.0], [-3.0, -4.0]).chosen.shape == (2,)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), ()])
def test_pair_logps_refuses_one_odd_shape(which, shape):
    tensors = [torch.zeros(2) for _ in range(4)]
    tensors[which] = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"one shape \[B\]"):
        PairLogps(*tensors)


@pytest.mark.parametrize("shape", [(), (2, 3), (0,)])
def test_pair_logps_refuses_what_is_not_a_batch(shape):
    with pytest.raises(ValueError, match="B >= 1"):
        PairLogps(*[torch.zeros(shape)] * 4)


def test_pair_logps_does_not_look_at_values():
    bad = torch.tensor([float("nan")])
    PairLogps(bad, bad, bad, bad)


def test_loss_is_the_mean_over_pairs():
    two = torch.tensor([1.0, 3.0])
    assert LossOutput(per_pair=two, chosen_rewards=two, rejected_rewards=two).loss.item() == 2.0


def test_the_contract_is_abstract():
    with pytest.raises(TypeError):
        PreferenceLoss()


@pytest.mark.parametrize(("loss", "needs"), [(ORPOLoss, False), (DPOLoss, True), (EXOLoss, True)])
def test_a_loss_says_whether_it_needs_a_reference(loss, needs):
    assert issubclass(loss, PreferenceLoss)
    assert loss.needs_reference is needs


@pytest.mark.parametrize("loss", [DPOLoss(), EXOLoss()], ids=str)
def test_a_missing_reference_is_refused(loss):
    with pytest.raises(ValueError, match="needs a reference"):
        loss(pairs([-1.0], [-2.0]))


@pytest.mark.parametrize("loss", [DPOLoss(), EXOLoss()], ids=str)
def test_a_reference_of_another_size_does_not_broadcast(loss):
    with pytest.raises(ValueError, match="2 pairs and reference 1"):
        loss(pairs([-1.0, -1.0], [-2.0, -2.0]), pairs([-1.0], [-2.0]))


@pytest.mark.parametrize("loss", [ORPOLoss, DPOLoss, EXOLoss])
@pytest.mark.parametrize(
    "beta", [-0.1, float("nan"), float("inf"), -float("inf"), "0.1", None, True, torch.tensor(0.1)]
)
def test_a_wrong_beta_is_refused_at_construction(loss, beta):
    with pytest.raises(ValueError, match="beta must be"):
        loss(beta=beta)


@every_loss
def test_all_outputs_are_per_pair_and_only_the_loss_has_a_graph(loss):
    out = loss(trainable(random_pairs(3, seed=0)), random_pairs(3, seed=1))
    logged = [out.chosen_rewards, out.rejected_rewards, *out.metrics.values()]
    assert out.per_pair.requires_grad
    assert all(tensor.shape == (3,) for tensor in [out.per_pair, *logged])
    assert not any(tensor.requires_grad for tensor in logged)


@every_loss
def test_the_reference_is_a_constant(loss):
    reference = trainable(random_pairs(3, seed=1))
    loss(trainable(random_pairs(3, seed=0)), reference).loss.backward()
    assert reference.chosen.grad is None
    assert reference.rejected.grad is None


@every_loss
def test_two_half_batches_equal_the_whole(loss):
    batch, reference = random_pairs(6, seed=0), random_pairs(6, seed=1)
    whole, halves = trainable(batch), trainable(batch)
    total = loss(whole, reference).loss
    total.backward()
    split = 0.0
    for rows in (slice(0, 3), slice(3, 6)):
        half = loss(part(halves, rows), part(reference, rows)).loss / 2
        half.backward()
        split += half.item()
    assert split == pytest.approx(total.item(), rel=1e-6)
    torch.testing.assert_close(halves.chosen.grad, whole.chosen.grad)
    torch.testing.assert_close(halves.rejected.grad, whole.rejected.grad)


@every_loss
def test_a_pair_is_independent_of_its_neighbours(loss):
    batch, reference = random_pairs(4, seed=0), random_pairs(4, seed=1)
    together = loss(batch, reference).per_pair
    alone = [loss(part(batch, [i]), part(reference, [i])).per_pair for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))


@every_loss
def test_gradient_against_finite_differences(loss):
    batch = random_pairs(3, seed=0, dtype=torch.float64)
    reference = random_pairs(3, seed=1, dtype=torch.float64)

    def per_pair(chosen, rejected):
        policy = PairLogps(chosen, rejected, batch.chosen_len, batch.rejected_len)
        return loss(policy, reference).per_pair

    policy = trainable(batch)
    assert torch.autograd.gradcheck(per_pair, (policy.chosen, policy.rejected))


@every_loss
def test_bf16_is_computed_in_float32(loss):
    low, reference = random_pairs(3, seed=0, dtype=torch.bfloat16), random_pairs(3, seed=1)
    high = PairLogps(low.chosen.float(), low.rejected.float(), low.chosen_len, low.rejected_len)
    out = loss(low, reference)
    assert out.per_pair.dtype == out.chosen_rewards.dtype == torch.float32
    torch.testing.assert_close(out.per_pair, loss(high, reference).per_pair, rtol=0, atol=0)


@every_loss
def test_float64_stays_float64(loss):
    batch = random_pairs(3, seed=0, dtype=torch.float64)
    out = loss(batch, random_pairs(3, seed=1, dtype=torch.float64))
    assert out.per_pair.dtype == out.chosen_rewards.dtype == torch.float64


@every_loss
def test_a_nan_shows(loss):
    out = loss(pairs([float("nan"), -1.0], [-2.0, -2.0]), pairs([-1.0, -1.0], [-1.0, -1.0]))
    assert math.isnan(out.per_pair[0])
    assert math.isfinite(out.per_pair[1])


def test_importing_the_losses_brings_in_nothing_but_torch():
    code = (
        "import sys, torch; before = set(sys.modules); import losses, losses.logps; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "sys.exit(', '.join(new - {'losses', 'torch'} - set(sys.stdlib_module_names)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
