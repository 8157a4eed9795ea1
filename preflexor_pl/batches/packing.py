"""Lays out the tokens of a micro-batch, and lists those that the loss needs.

    packed   one row without padding; each pair has its prompt once, [prompt | chosen | rejected].
             The rejected response starts at the same position as the chosen one and does not see
             it.
    padded   a row for each response, with its prompt, padded on the right.

In both, the supervised tokens are listed one after the other, for a head that runs on them alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any, TypeVar

import torch
from torch import Tensor

from losses import PairLogps
from losses.base import at_least_float32
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.device import to_device

Moved = TypeVar("Moved")


@dataclass(frozen=True)
class Span:
    """A pair in a packed row: where it starts, and the lengths of its prompt and responses."""

    start: int
    prompt: int
    chosen: int
    rejected: int


@dataclass(frozen=True, eq=False)
class Spans:
    """The pairs of a packed row, for attention: which keys each segment of queries sees.

    A pair has two segments of queries, [prompt + chosen] and [rejected], in the order of the row.
    Their keys are [prompt + chosen] and [prompt + rejected]. A query sees the keys up to its own.

    Attributes:
        pairs: of the row.
        keys: [M] positions in the row of the keys of all segments, one segment after the other.
        query_ends: [2B + 1] int32, where the segments of queries begin and end.
        key_ends: [2B + 1] int32, the same for their keys.
        longest: most queries in a segment, and most keys.
    """

    pairs: tuple[Span, ...]
    keys: Tensor
    query_ends: Tensor
    key_ends: Tensor
    longest: tuple[int, int]

    def to(self, device: Any) -> "Spans":
        """The same on ``device``."""
        return _moved(self, device)


@dataclass(frozen=True, eq=False)
class Rows:
    """The input of a model.

    Attributes:
        input_ids: [R, T].
        position_ids: [R, T], from 0 at each prompt's beginning.
        attention_mask: [R, T], 1 where a token is; None in a packed row.
        spans: of a packed row; None where each response has a row of its own.
        places: [B][2] for each response, positions in the flattened ids: of the last token of its
            prompt, and of its own first token.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor | None
    spans: Spans | None
    places: tuple[tuple[tuple[int, int], tuple[int, int]], ...]

    def to(self, device: Any) -> "Rows":
        """The same on ``device``."""
        return _moved(self, device)


@dataclass(frozen=True, eq=False)
class FlatBatch:
    """A micro-batch of B pairs and a list of its N supervised tokens, pair by pair.

    Attributes:
        rows: what the model reads.
        sources: [N] position in the flattened ids of the token before each target.
        targets: [N] their ids.
        responses: [N] the response of each: b for the chosen one of pair b, B + b for the rejected.
        lens: [2B] supervised tokens of each response, >= 1.
        ids: [B] of the pairs.
        reference: [N] log-prob of each target under the reference; None where the pairs have none.
    """

    rows: Rows
    sources: Tensor
    targets: Tensor
    responses: Tensor
    lens: Tensor
    ids: tuple[str, ...]
    reference: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: Any) -> "FlatBatch":
        """The same batch on ``device``; the copy from the host is asynchronous."""
        return _moved(self, device)

    def sums(self, logps: Tensor) -> PairLogps:
        """Log-probs [N] of the targets, summed by response."""
        logps = at_least_float32(logps)
        sums = logps.new_zeros(2 * len(self)).index_add(0, self.responses, logps)  # [2B]
        (chosen, rejected), (chosen_len, rejected_len) = sums.chunk(2), self.lens.chunk(2)
        return PairLogps(chosen, rejected, chosen_len, rejected_len)

    def reference_logps(self) -> PairLogps | None:
        """The reference's log-probs summed over this batch's targets."""
        return None if self.reference is None else self.sums(self.reference)

    def by_response(self, logps: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Log-probs [N] of the targets as those of each pair's chosen and rejected response."""
        parts = logps.split(self.lens.view(2, -1).T.flatten().tolist())
        return list(zip(parts[::2], parts[1::2], strict=True))


def packed(pairs: Sequence[TokenizedPair]) -> Rows:
    """One row without padding."""
    ids: list[int] = []
    positions: list[int] = []
    keys: list[int] = []
    segments: list[tuple[int, int]] = []  # queries and keys of each
    spans, places = [], []
    for pair in pairs:
        start, fork = len(ids), len(pair.prompt)
        chosen, rejected = fork + len(pair.chosen), len(pair.rejected)  # ends of [prompt + ...]
        ids += [*pair.prompt, *pair.chosen, *pair.rejected]
        positions += [*range(chosen), *range(fork, fork + rejected)]
        keys += range(start, start + chosen)
        keys += [*range(start, start + fork), *range(start + chosen, len(ids))]
        segments += [(chosen, chosen), (rejected, fork + rejected)]
        spans.append(Span(start, fork, len(pair.chosen), rejected))
        before = start + fork - 1
        places.append(((before, start + fork), (before, start + chosen)))
    queries, seen = zip(*segments, strict=True)
    ends = [torch.tensor([0, *accumulate(some)], dtype=torch.int32) for some in (queries, seen)]
    longest = max(queries), max(seen)
    described = Spans(tuple(spans), torch.tensor(keys), ends[0], ends[1], longest)
    return Rows(torch.tensor([ids]), torch.tensor([positions]), None, described, tuple(places))


def padded(pairs: Sequence[TokenizedPair], pad: int) -> Rows:
    """A row for each response, a pair's two one after the other; ``pad`` fills them up."""
    whole = [pair.prompt + side for pair in pairs for side in (pair.chosen, pair.rejected)]
    width = max(map(len, whole))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in whole])
    mask = torch.arange(width) < torch.tensor(list(map(len, whole)))[:, None]
    positions = torch.arange(width).expand(len(whole), -1)
    firsts = [
        [(2 * number + side) * width + len(pair.prompt) for side in (0, 1)]
        for number, pair in enumerate(pairs)
    ]
    places = tuple(((a - 1, a), (b - 1, b)) for a, b in firsts)
    return Rows(ids, positions, mask.long(), None, places)


def flat_batch(
    rows: Rows, pairs: Sequence[TokenizedPair], kept: Sequence[tuple[list[bool], list[bool]]]
) -> FlatBatch:
    """List the supervised tokens.

    Args:
        rows: where the pairs lie.
        pairs: B of them.
        kept: which tokens of each pair's chosen and rejected response are supervised.
    """
    sources: list[int] = []
    targets: list[int] = []
    responses: list[int] = []
    logps: list[Tensor] = []
    for number, (pair, masks) in enumerate(zip(pairs, kept, strict=True)):
        for side, response in enumerate((pair.chosen, pair.rejected)):
            before, first = rows.places[number][side]
            places = [place for place, keep in enumerate(masks[side]) if keep]
            sources += [first + place - 1 if place else before for place in places]
            targets += [response[place] for place in places]
            responses += [number + side * len(pairs)] * len(places)
            if pair.reference is not None:
                logps.append(pair.reference[side][places])
    known = len(logps) == 2 * len(pairs)
    of = torch.tensor(responses)
    return FlatBatch(
        rows,
        torch.tensor(sources),
        torch.tensor(targets),
        of,
        of.bincount(minlength=2 * len(pairs)),
        tuple(pair.id for pair in pairs),
        torch.cat(logps) if known else None,
    )


def _moved(what: Moved, device: Any) -> Moved:
    """A copy of a dataclass whose tensors are on ``device``."""
    values = {field.name: getattr(what, field.name) for field in fields(what)}  # type: ignore[arg-type]
    there = {
        name: to_device(value, device) if isinstance(value, Tensor) else value.to(device)
        for name, value in values.items()
        if hasattr(value, "to")
    }
    return replace(what, **there)  # type: ignore[type-var]
