"""Log-probs of labels from hidden states: the model's head, on the supervised positions only.

The logits of a pair are the largest tensor of a training step, and most of their rows (prompt,
padding, masked thinking) have no loss. Here the hidden states of the supervised positions go
through the head in tiles of tokens, and the logits of a tile are freed before the next one.

Let z = softcap(scale * W h), p = softmax(z), y the label, and dz the derivative of z by W h. The
coefficients (onehot(y) - p) * dz are the gradient of log p[y] by W h.

- Frozen head: the gradient of log p[y] by h is J = ((onehot(y) - p) * dz) W. Forward computes and
  saves J, [N, H]; backward scales it by the incoming gradient. Two matrix products in all, exact
  for every loss on log-probs, and no logits are saved.
- Frozen head with K rows that train (marker tokens): the K columns of the coefficients are saved
  too.
- Trained head: the coefficients are saved up to ``KEEP_BYTES`` and recomputed beyond it; the
  gradient of W is summed in at least float32.

Tiles split the tokens, never the vocabulary. Left out: biases, and heads that are no matrix.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.base import at_least_float32

TILE_CPU, TILE_GPU = 256, 2048  # tokens; a tile's memory is that of their logits
ROWS_CPU = 16  # rows of a tile that log_softmax takes at a time, to stay in the cache
KEEP_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Head:
    """A head that computes logits as softcap * tanh(scale * h W' / softcap).

    Attributes:
        weight: [V, H].
        rows: [K] int64, each below V: the rows of ``weight`` that ``values`` replaces; None for
            none.
        values: [K, H] the replacing rows; they may train where ``weight`` does not.
        scale: factor of the logits.
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
            ``values`` and, without ``values``, in ``weight``.

        Raises:
            ValueError: the shapes do not match, or ``weight`` trains and there are ``values``.
        """
        if hidden.dim() != 2 or labels.shape != hidden.shape[:1]:
            raise ValueError(
                f"a head needs hidden states [N, H] and labels [N], got {tuple(hidden.shape)} and "
                f"{tuple(labels.shape)}"
            )
        if not torch.is_grad_enabled():
            return torch.cat([_logps(self._logits(h), y) for h, y in self._tiles(hidden, labels)])
        if not self.weight.requires_grad:
            return _FrozenHead.apply(hidden, self.values, labels, self)  # type: ignore[no-any-return, no-untyped-call]
        if self.values is not None:
            raise ValueError("rows of a head can be replaced only where its matrix is frozen")
        return _TrainedHead.apply(hidden, self.weight, labels, self)  # type: ignore[no-any-return, no-untyped-call]

    def _tiles(self, hidden: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
        size = TILE_GPU if hidden.is_cuda else TILE_CPU
        starts = range(0, len(labels), size)
        return [(hidden[i : i + size], labels[i : i + size]) for i in starts]

    def _logits(self, hidden: Tensor) -> Tensor:
        """[n, V] logits of a tile."""
        logits = hidden @ self.weight.T
        if self.rows is not None and self.values is not None:
            values = self.values.to(hidden.dtype)  # as in a matrix of one dtype
            logits.index_copy_(1, self.rows, hidden @ values.T)
        if self.scale != 1:
            logits = at_least_float32(logits) * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(at_least_float32(logits) / self.softcap)
        return logits

    def _split_coefficients(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probs of a tile, and the coefficients (onehot(y) - p) * dz in two parts.

        Returns:
            [n] log-probs; [n, V] p * dz, 0 at the labels, in the dtype of ``hidden``; [n] the
            coefficient of the label, (1 - p[y]) * dz[y], at least float32: with fewer bits it would
            round to 0 near p[y] = 1.
        """
        logits = self._logits(hidden)
        logps = _logps(logits, labels)
        others = logits.softmax(1)
        label_coeff = -torch.expm1(logps) * self.scale
        if self.softcap is not None:
            slopes = 1 - (logits / self.softcap) ** 2
            others *= slopes
            label_coeff *= _at_labels(slopes, labels)
        if self.scale != 1:
            others *= self.scale
        others = others.to(hidden.dtype)
        others[_label_index(labels)] = 0.0
        return logps, others, label_coeff

    def _coefficients(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """[n] log-probs of a tile, and [n, V] its coefficients in the dtype of ``hidden``."""
        logps, others, label_coeff = self._split_coefficients(hidden, labels)
        others.neg_()[_label_index(labels)] = label_coeff.to(hidden.dtype)
        return logps, others


def _logps(logits: Tensor, labels: Tensor) -> Tensor:
    """[n] log-probs, at least float32; on a CPU a few rows at a time, which stay in its cache."""
    size = len(labels) if logits.is_cuda else ROWS_CPU
    dtype = torch.promote_types(logits.dtype, torch.float32)
    parts = zip(torch.split(logits, size), torch.split(labels, size), strict=True)
    return torch.cat([_at_labels(z.log_softmax(1, dtype=dtype), y) for z, y in parts])


def _at_labels(x: Tensor, labels: Tensor) -> Tensor:
    """[n] of [n, V]."""
    return x.gather(1, labels[:, None]).squeeze(1)


def _label_index(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The index of the labels in [n, V]."""
    return torch.arange(len(labels), device=labels.device), labels


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right, summed in the dtype of ``total``."""
    if left.is_cuda and left.dtype != total.dtype:
        # As exact as float32 copies, whose product takes ten times as long on a GPU.
        total += torch.mm(left, right, out_dtype=total.dtype)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


class _FrozenHead(torch.autograd.Function):
    """A head whose matrix is frozen; the rows in ``values`` may train."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, values: Tensor | None, labels: Tensor, head: Head
    ) -> Tensor:
        logps, jacobians, row_coeffs = [], [], []
        for tile, tile_labels in head._tiles(hidden, labels):
            tile_logps, others, label_coeff = head._split_coefficients(tile, tile_labels)
            logps.append(tile_logps)
            label_coeff = label_coeff[:, None]
            label_part = label_coeff * head.weight[tile_labels]  # [n, H]
            if values is not None and head.rows is not None:
                is_row = tile_labels[:, None] == head.rows  # [n, K]
                row_coeff = label_coeff * is_row - others.index_select(1, head.rows)
                others.index_fill_(1, head.rows, 0.0)
                label_part.masked_fill_(is_row.any(1, keepdim=True), 0.0)
                label_part += row_coeff @ values.to(row_coeff.dtype)
                row_coeffs.append(row_coeff)
            if hidden.requires_grad:
                label_part = label_part.to(tile.dtype)
                jacobians.append(torch.addmm(label_part, others, head.weight, alpha=-1))
        trains = values is not None and values.requires_grad
        ctx.save_for_backward(
            torch.cat(jacobians) if jacobians else None,  # [N, H]
            torch.cat(row_coeffs) if trains else None,  # [N, K]
            hidden if trains else None,
        )
        ctx.values_dtype = values.dtype if values is not None else None
        return torch.cat(logps)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        jacobian, row_coeff, hidden = ctx.saved_tensors
        grad_hidden = grad_values = None
        if jacobian is not None:
            grad_hidden = (grad_output[:, None] * jacobian).to(jacobian.dtype)
        if row_coeff is not None:
            grad_values = (grad_output[:, None] * row_coeff).T @ at_least_float32(hidden)
            grad_values = grad_values.to(ctx.values_dtype)
        return grad_hidden, grad_values, None, None


class _TrainedHead(torch.autograd.Function):
    """A head whose matrix trains."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, head: Head) -> Tensor:
        logps, saved, bytes_left = [], [], KEEP_BYTES
        for tile, tile_labels in head._tiles(hidden, labels):
            tile_logps, coefficients = head._coefficients(tile, tile_labels)
            logps.append(tile_logps)
            bytes_left -= coefficients.nbytes
            saved.append(coefficients if bytes_left >= 0 else None)
        ctx.save_for_backward(hidden, weight, labels, *saved)
        ctx.head = head
        return torch.cat(logps)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, labels, *saved = ctx.saved_tensors
        tiles = ctx.head._tiles(hidden, labels)
        scales = ctx.head._tiles(grad_output, labels)
        grad_hidden = []
        grad_weight = torch.zeros_like(weight, dtype=at_least_float32(weight[:0]).dtype)
        for (tile, tile_labels), (scale, _), coefficients in zip(tiles, scales, saved, strict=True):
            if coefficients is None:
                coefficients = ctx.head._coefficients(tile, tile_labels)[1]
            scaled = (scale[:, None] * coefficients).to(tile.dtype)
            grad_hidden.append(scaled @ weight)
            _add_product(grad_weight, scaled.T, tile)
        return torch.cat(grad_hidden), grad_weight.to(weight.dtype), None, None
