"""Useful floating-point operations of a step on preference pairs, and the peak rates of GPUs.

Useful are the operations that the layout [prompt | chosen | rejected] needs once: no padding, no
prompt computed twice, no recomputed activation or logit, no reference, and the head on response
tokens only. A multiply and an add are two operations; norms, rotations and softmax do not count.
The backward pass costs twice the forward pass for trained weights. For frozen weights it costs the
same as the forward pass: there is no weight gradient, but an input gradient, in the first layer
too, below which trained marker rows lie.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PEAKS = {  # dense bfloat16 operations per second, by the driver's name of the GPU
    r"NVIDIA H100 80GB HBM3": 989e12,
    r"NVIDIA H200": 989e12,
    r"NVIDIA A100-(SXM4|PCI[Ee])-\d+GB": 312e12,
}

Lengths = tuple[int, int, int]  # tokens of prompt, chosen and rejected response


def peak_of(gpu: str) -> float | None:
    """Peak operations per second of a GPU; None if unknown."""
    return next((peak for name, peak in PEAKS.items() if re.fullmatch(name, gpu)), None)


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama model.

    Attributes:
        layers: number of layers.
        hidden: width of the residual stream.
        heads: query heads.
        kv_heads: key and value heads.
        head_size: width of a head.
        inner: width inside the MLP.
        vocabulary: tokens of the head.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """The shape of a transformers config."""
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.intermediate_size,
            config.vocab_size,
        )

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's matrices: q, k, v, o, gate, up, down."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return [
            (self.hidden, queries),
            (self.hidden, keys),
            (self.hidden, keys),
            (queries, self.hidden),
            (self.hidden, self.inner),
            (self.hidden, self.inner),
            (self.inner, self.hidden),
        ]


def visible_keys(lengths: Lengths) -> int:
    """Keys that the queries of a pair attend to, summed over the queries."""
    prompt, chosen, rejected = lengths
    first = prompt + chosen
    return first * (first + 1) // 2 + rejected * prompt + rejected * (rejected + 1) // 2


def useful_flops(shape: Shape, pairs: Iterable[Lengths], rank: int) -> int:
    """Operations of a step, forward and backward.

    Args:
        shape: shape of the model.
        pairs: lengths of each pair.
        rank: rank of the adapters on every matrix but the head; 0 if all weights train.
    """
    weights = shape.layers * sum(a * b for a, b in shape.matrices)
    adapters = shape.layers * sum(rank * (a + b) for a, b in shape.matrices)
    total = 0
    for lengths in pairs:
        tokens, targets = sum(lengths), sum(lengths[1:])
        frozen = 2 * tokens * weights + 2 * targets * shape.hidden * shape.vocabulary
        attention = 4 * shape.layers * shape.heads * shape.head_size * visible_keys(lengths)
        total += (2 if rank else 3) * frozen + 3 * attention + 3 * 2 * tokens * adapters
    return total


def utilisation(flops: float, seconds: float, gpu: str) -> float | None:
    """Share of the GPU's peak; None if that is unknown."""
    peak = peak_of(gpu)
    return None if peak is None else round(flops / seconds / peak, 4)
