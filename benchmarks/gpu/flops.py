"""Useful floating-point operations of a step on preference pairs, and what a card could do.

Useful is what the shared layout [prompt | chosen | rejected] needs once: no padding, no prompt run
twice, no activation or logit computed again, no reference, and the head on response tokens alone.
A multiply and an add are two operations; norms, rotations and softmax are not counted. The backward
pass is twice the forward pass where weights train. Where they are frozen it is once: no gradient of
a weight, but one of each input, that of the first layer too, where trained marker rows lie.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PEAKS = {  # dense bfloat16, operations a second, by the name that the driver gives the card
    r"NVIDIA H100 80GB HBM3": 989e12,
    r"NVIDIA H200": 989e12,
    r"NVIDIA A100-(SXM4|PCI[Ee])-\d+GB": 312e12,
}

Lengths = tuple[int, int, int]  # tokens of prompt, chosen and rejected response


def peak_of(card: str) -> float | None:
    """Operations a second of a card at its best; None where we do not know it."""
    return next((peak for name, peak in PEAKS.items() if re.fullmatch(name, card)), None)


@dataclass(frozen=True)
class Shape:
    """The matrices of a Llama.

    Attributes:
        layers: how many.
        hidden: width.
        heads: of the queries.
        shared: heads of keys and values.
        size: of a head.
        inner: width within the MLP.
        vocabulary: of the head.
    """

    layers: int
    hidden: int
    heads: int
    shared: int
    size: int
    inner: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """That of a transformers config."""
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
        queries, keys = self.heads * self.size, self.shared * self.size
        return [
            (self.hidden, queries),
            (self.hidden, keys),
            (self.hidden, keys),
            (queries, self.hidden),
            (self.hidden, self.inner),
            (self.hidden, self.inner),
            (self.inner, self.hidden),
        ]


def seen(lengths: Lengths) -> int:
    """Keys that the queries of a pair see, summed over the queries."""
    prompt, chosen, rejected = lengths
    first = prompt + chosen
    return first * (first + 1) // 2 + rejected * prompt + rejected * (rejected + 1) // 2


def useful_flops(shape: Shape, pairs: Iterable[Lengths], rank: int) -> int:
    """Operations of a step, forward and backward.

    Args:
        shape: of the model.
        pairs: lengths of each.
        rank: of adapters on every matrix but the head; 0 where all weights train.
    """
    weights = shape.layers * sum(a * b for a, b in shape.matrices)
    adapters = shape.layers * sum(rank * (a + b) for a, b in shape.matrices)
    total = 0
    for lengths in pairs:
        tokens, targets = sum(lengths), sum(lengths[1:])
        frozen = 2 * tokens * weights + 2 * targets * shape.hidden * shape.vocabulary
        attention = 4 * shape.layers * shape.heads * shape.size * seen(lengths)
        total += (2 if rank else 3) * frozen + 3 * attention + 3 * 2 * tokens * adapters
    return total


def utilisation(flops: float, seconds: float, card: str) -> float | None:
    """Share of the card's peak; None where we do not know it."""
    peak = peak_of(card)
    return None if peak is None else round(flops / seconds / peak, 4)
