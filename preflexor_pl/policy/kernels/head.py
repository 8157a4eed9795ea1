"""Log-probs of labels from hidden states: the model's head, on the supervised positions alone.

Full logits of a pair are the largest tensor of a training step, and most of their rows (prompt,
padding, masked thinking) carry no loss. Here hidden states of the supervised positions go through
the head a tile of tokens at a time, and no tile outlives its turn.

- A frozen head needs no logits in backward. With z = softcap(scale * W h), p = softmax(z) and label
  y, the gradient of log p[y] by h is J = ((onehot(y) - p) * dz) W: one product, made in forward and
  scaled in backward by whatever gradient comes in. Two products in all, exact, for every loss on
  log-probs.
- A frozen head of which K rows train (marker tokens) keeps the K columns of (onehot(y) - p) * dz.
- A head that trains keeps those coefficients whole within ``KEEP_BYTES``, and makes them again in
  backward beyond it; its gradient is summed in at least float32.

Tiles go over tokens, never over the vocabulary. Left out: biases, and heads that are no matrix.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.base import at_least_float32

TILE_CPU, TILE_GPU = 256, 2048  # tokens: their logits are a tile's memory
ROWS_CPU = 16  # of them, for what is made in float32 and used once
KEEP_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Head:
    """How logits come of hidden states: softcap * tanh(scale * h W' / softcap).

    Attributes:
        weight: [V, H].
        rows: [K] int64, each below V: which rows of ``weight`` stand elsewhere; None where none do.
        values: [K, H] these rows; they may train where ``weight`` does not.
        scale: of the logits.
        softcap: logits are squeezed into (-softcap, softcap) (Gemma 2, arXiv:2408.00118).
    """

    weight: Tensor
    rows: Tensor | None = None
    values: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def logps(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Log-prob of each label.

        Args:
            hidden: [N, H] in the dtype of ``weight``; N is at least 1.
            labels: [N] int64, each in 0..V-1.

        Returns:
            [N] log-probs in nats, at least float32; differentiable once in ``hidden``, in
            ``values`` and, where there are no ``values``, in ``weight``.

        Raises:
            ValueError: the shapes do not go together, or both ``weight`` and ``values`` train.
        """
        if hidden.dim() != 2 or labels.shape != hidden.shape[:1]:
            raise ValueError(
                f"a head needs hidden states [N, H] and labels [N], got {tuple(hidden.shape)} and "
                f"{tuple(labels.shape)}"
            )
        if not torch.is_grad_enabled():
            return torch.cat([_logps(self._logits(h), y) for h, y in self._tiles(hidden, labels)])
        if not self.weight.requires_grad:
            return _Frozen.apply(hidden, self.values, labels, self)  # type: ignore[no-any-return, no-untyped-call]
        if self.values is not None:
            raise ValueError("rows of a head stand elsewhere only where its matrix is frozen")
        return _Trained.apply(hidden, self.weight, labels, self)  # type: ignore[no-any-return, no-untyped-call]

    def _tiles(self, hidden: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
        size = TILE_GPU if hidden.is_cuda else TILE_CPU
        ends = range(0, len(labels), size)
        return [(hidden[i : i + size], labels[i : i + size]) for i in ends]

    def _logits(self, hidden: Tensor) -> Tensor:
        """[n, V] logits of a tile."""
        logits = hidden @ self.weight.T
        if self.rows is not None and self.values is not None:
            merged = self.values.to(hidden.dtype)  # as a matrix of one dtype would hold them
            logits.index_copy_(1, self.rows, hidden @ merged.T)
        if self.scale != 1:
            logits = at_least_float32(logits) * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(at_least_float32(logits) / self.softcap)
        return logits

    def _weighted(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of a tile: log-probs, and their gradient by W h: (onehot(y) - p) * dz.

        Returns:
            [n] log-probs; [n, V] p * dz of all ids but the labels, in the dtype of ``hidden``; [n]
            (1 - p[y]) * dz[y], at least float32: near p[y] = 1 fewer bits would round it to 0.
        """
        logits = self._logits(hidden)
        found = _logps(logits, labels)
        weights = logits.softmax(1)
        own = -torch.expm1(found) * self.scale
        if self.softcap is not None:
            slopes = 1 - (logits / self.softcap) ** 2
            weights *= slopes
            own *= _of_labels(slopes, labels)
        if self.scale != 1:
            weights *= self.scale
        weights = weights.to(hidden.dtype)
        weights[_places(labels)] = 0.0
        return found, weights, own

    def _coefficients(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of a tile: [n] log-probs, and [n, V] their gradient by W h in the dtype of ``hidden``."""
        found, weights, own = self._weighted(hidden, labels)
        weights.neg_()[_places(labels)] = own.to(hidden.dtype)
        return found, weights


def _logps(logits: Tensor, labels: Tensor) -> Tensor:
    """[n] log-probs, at least float32: on a CPU a few rows at a time, which stay in its cache."""
    size = len(labels) if logits.is_cuda else ROWS_CPU
    dtype = torch.promote_types(logits.dtype, torch.float32)
    parts = zip(torch.split(logits, size), torch.split(labels, size), strict=True)
    return torch.cat([_of_labels(z.log_softmax(1, dtype=dtype), y) for z, y in parts])


def _of_labels(x: Tensor, labels: Tensor) -> Tensor:
    return x.gather(1, labels[:, None]).squeeze(1)


def _places(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of the labels in [n, V]."""
    return torch.arange(len(labels), device=labels.device), labels


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right, summed in the dtype of ``total``."""
    if left.is_cuda and left.dtype != total.dtype:
        # As exact as with copies in float32, whose products take a GPU ten times as long.
        total += torch.mm(left, right, out_dtype=total.dtype)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


class _Frozen(torch.autograd.Function):
    """A head whose matrix is frozen; rows of it that stand elsewhere may train."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, values: Tensor | None, labels: Tensor, head: Head
    ) -> Tensor:
        found, jacobians, columns = [], [], []
        for tile, label in head._tiles(hidden, labels):
            logps, weights, own = head._weighted(tile, label)
            found.append(logps)
            own = own[:, None]
            labels_part = own * head.weight[label]  # [n, H]
            if values is not None and head.rows is not None:
                here = label[:, None] == head.rows  # [n, K]
                ours = own * here - weights.index_select(1, head.rows)
                weights.index_fill_(1, head.rows, 0.0)
                labels_part.masked_fill_(here.any(1, keepdim=True), 0.0)
                labels_part += ours @ values.to(ours.dtype)
                columns.append(ours)
            if hidden.requires_grad:
                labels_part = labels_part.to(tile.dtype)
                jacobians.append(torch.addmm(labels_part, weights, head.weight, alpha=-1))
        trains = values is not None and values.requires_grad
        ctx.save_for_backward(
            torch.cat(jacobians) if jacobians else None,  # [N, H]
            torch.cat(columns) if trains else None,
            hidden if trains else None,
        )
        ctx.values_dtype = values.dtype if values is not None else None
        return torch.cat(found)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        jacobian, columns, hidden = ctx.saved_tensors
        by_hidden = by_values = None
        if jacobian is not None:
            by_hidden = (gradient[:, None] * jacobian).to(jacobian.dtype)
        if columns is not None:
            by_values = (gradient[:, None] * columns).T @ at_least_float32(hidden)
            by_values = by_values.to(ctx.values_dtype)
        return by_hidden, by_values, None, None


class _Trained(torch.autograd.Function):
    """A head whose matrix trains."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, head: Head) -> Tensor:
        found, kept, room = [], [], KEEP_BYTES
        for tile, label in head._tiles(hidden, labels):
            logps, coefficients = head._coefficients(tile, label)
            found.append(logps)
            room -= coefficients.nbytes
            kept.append(coefficients if room >= 0 else None)
        ctx.save_for_backward(hidden, weight, labels, *kept)
        ctx.head = head
        return torch.cat(found)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, labels, *kept = ctx.saved_tensors
        tiles = ctx.head._tiles(hidden, labels)
        gradients = ctx.head._tiles(gradient, labels)
        by_hidden = []
        by_weight = torch.zeros_like(weight, dtype=at_least_float32(weight[:0]).dtype)
        for (tile, label), (scale, _), coefficients in zip(tiles, gradients, kept, strict=True):
            if coefficients is None:
                coefficients = ctx.head._coefficients(tile, label)[1]
            scaled = (scale[:, None] * coefficients).to(tile.dtype)
            by_hidden.append(scaled @ weight)
            _add_product(by_weight, scaled.T, tile)
        return torch.cat(by_hidden), by_weight.to(weight.dtype), None, None
