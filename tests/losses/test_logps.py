"""Log-probs by hand: logits that are logs of probabilities give these probabilities back."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from losses.logps import IGNORE_INDEX, pair_logps, shift_labels, sum_pairs, token_logps

X = IGNORE_INDEX


def random_batch(rows=4, length=6, vocab=7, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, length, vocab, generator=rng, dtype=dtype)
    labels = torch.randint(0, vocab, (rows, length), generator=rng)
    labels[:, :2] = X
    labels[1, 4:] = X
    return logits, labels


def test_the_ignore_index_is_the_one_of_torch():
    assert torch.nn.CrossEntropyLoss().ignore_index == IGNORE_INDEX


def test_token_logps_by_hand():
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    logps = token_logps(probabilities.log() + 3.0, torch.tensor([0, 2]))  # any constant cancels
    assert logps.tolist() == pytest.approx([math.log(0.5), math.log(0.7)])


def test_ignored_labels_give_exactly_zero_and_no_gradient():
    logits = torch.randn(3, 5, requires_grad=True)
    logps = token_logps(logits, torch.tensor([1, X, 4]))
    logps.sum().backward()
    assert logps[1] == 0
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


def test_a_wrong_negative_label_is_not_taken_for_token_zero():
    with pytest.raises((RuntimeError, IndexError)):
        token_logps(torch.zeros(1, 5), torch.tensor([-1]))


def test_token_logps_never_exceed_zero():
    assert token_logps(torch.tensor([[80.0, -80.0]]), torch.tensor([0])) == 0
    assert token_logps(torch.tensor([[1e5, -1e5]]), torch.tensor([1])) == -2e5


def test_a_suppressed_token_leaves_the_others_finite():
    logits = torch.tensor([[0.0, 0.0, -math.inf]], requires_grad=True)
    logps = token_logps(logits, torch.tensor([0]))
    logps.sum().backward()
    assert logps.item() == pytest.approx(-math.log(2))
    assert logits.grad.tolist() == [[0.5, -0.5, 0.0]]


def test_token_logps_equal_cross_entropy():
    logits, labels = random_batch()
    flat, targets = logits.flatten(0, 1), labels.flatten()
    expected = -cross_entropy(flat, targets, reduction="none")
    torch.testing.assert_close(token_logps(flat, targets), expected)


def test_token_logps_against_finite_differences():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([3, X, 0])
    assert torch.autograd.gradcheck(lambda rows: token_logps(rows, labels), (logits,))


@pytest.mark.parametrize(
    ("given", "back"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_the_sums_are_at_least_float32(given, back):
    logits, labels = random_batch(dtype=torch.float32)
    logits = logits.to(given)
    pairs = pair_logps(logits, labels)
    assert pairs.chosen.dtype == back
    torch.testing.assert_close(pairs.chosen, pair_logps(logits.to(back), labels).chosen)


def test_shift_labels():
    labels = torch.tensor([[X, 7, 8], [5, X, 6]])
    assert shift_labels(labels).tolist() == [[7, 8, X], [X, 6, X]]


def test_pair_logps_by_hand():
    # Two pairs, vocabulary {0, 1}; the logit at t gives P(0) for the token at t + 1.
    p0 = torch.tensor([[0.5, 0.2, 0.9], [0.5, 0.5, 0.5], [0.25, 0.8, 0.1], [0.6, 0.3, 0.7]])
    logits = torch.stack([p0, 1 - p0], dim=-1).log()  # [4, 3, 2]
    labels = torch.tensor([[X, 0, 1], [X, X, 0], [X, 1, X], [0, 1, 0]])
    pairs = pair_logps(logits, labels)
    expected = [0.5 * 0.8, 0.5]
    assert pairs.chosen.exp().tolist() == pytest.approx(expected)
    assert pairs.rejected.exp().tolist() == pytest.approx([0.75, 0.4 * 0.3])
    assert pairs.chosen_len.tolist() == [2, 1]
    assert pairs.rejected_len.tolist() == [1, 2]  # the label at position 0 has no logit
    assert pairs.chosen_len.dtype == torch.int64


def test_the_last_logit_and_unsupervised_ones_take_no_gradient():
    logits, labels = random_batch()
    logits.requires_grad_()
    pairs = pair_logps(logits, labels)
    (pairs.chosen + pairs.rejected).sum().backward()
    touched = (logits.grad != 0).any(dim=-1)  # [2B, T]
    assert torch.equal(touched, shift_labels(labels) != X)


def test_padding_changes_nothing():
    logits, labels = random_batch()
    padded = pair_logps(
        torch.cat([logits, torch.randn(4, 3, 7)], dim=1),
        torch.cat([labels, torch.full((4, 3), X)], dim=1),
    )
    plain = pair_logps(logits, labels)
    torch.testing.assert_close(padded.chosen, plain.chosen)
    torch.testing.assert_close(padded.rejected, plain.rejected)
    assert torch.equal(padded.rejected_len, plain.rejected_len)


def test_the_steps_on_supervised_rows_alone_equal_the_whole():
    logits, labels = random_batch()
    targets = shift_labels(labels)
    kept = targets != X
    logps = torch.zeros(targets.shape).masked_scatter(
        kept, token_logps(logits[kept], targets[kept])
    )
    stepwise, whole = sum_pairs(logps, targets), pair_logps(logits, labels)
    torch.testing.assert_close(stepwise.chosen, whole.chosen)
    torch.testing.assert_close(stepwise.rejected, whole.rejected)


def test_a_response_without_targets_sums_to_zero():
    logits, labels = random_batch()
    labels[0] = X
    pairs = pair_logps(logits, labels)
    assert pairs.chosen[0] == 0
    assert pairs.chosen_len[0] == 0


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ((4, 3, 5), (4, 2)),
        ((4, 3, 5), (2, 3)),
        ((3, 3, 5), (3, 3)),
        ((4, 3), (4, 3)),
        ((0, 3, 5), (0, 3)),
    ],
)
def test_wrong_shapes_are_refused(logits, labels):
    with pytest.raises(ValueError, match=r"\[2B, T|B >= 1"):
        pair_logps(torch.zeros(logits), torch.zeros(labels, dtype=torch.int64))


@pytest.mark.parametrize(("logits", "labels"), [((3, 5), (2,)), ((3, 5), (3, 1)), ((3,), (3,))])
def test_wrong_token_shapes_are_refused(logits, labels):
    with pytest.raises(ValueError, match=r"\[N, V\]"):
        token_logps(torch.zeros(logits), torch.zeros(labels, dtype=torch.int64))


@pytest.mark.parametrize(("logps", "targets"), [((3, 4), (3, 4)), ((4, 4), (4, 3)), ((4,), (4,))])
def test_wrong_sums_are_refused(logps, targets):
    with pytest.raises(ValueError, match=r"\[2B, T\]"):
        sum_pairs(torch.zeros(logps), torch.zeros(targets, dtype=torch.int64))
