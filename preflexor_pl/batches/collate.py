"""Pairs of text -> token ids -> thinking mask -> the tensors of a micro-batch."""

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from losses import PairLogps
from losses.logps import IGNORE_INDEX, sum_pairs
from preflexor_pl.batches.packing import FlatBatch, flat_batch, packed, padded
from preflexor_pl.batches.thinking import Markers, NoMasking, ThinkingMask
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.device import to_device
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import check_value
from preflexor_pl.pairs.pair import PreferencePair

Batching = Literal["packed", "padded", "plain"]
Kept = tuple[list[bool], list[bool]]  # which tokens of chosen and rejected are supervised


@dataclass(frozen=True)
class PairBatch:
    """A plain micro-batch: rows 0..B-1 are chosen, B..2B-1 rejected in the same order.

    Every row has its prompt and padding, and the model's own head computes all logits from the
    first target on. It is slow, and the oracle for the tests of the other layouts.

    Attributes:
        input_ids: [2B, T].
        attention_mask: [2B, T], 1 where a token is; rows are padded on the right.
        labels: [2B, T] input_ids where supervised, IGNORE_INDEX elsewhere.
        first_target: the first column with a target in any row, >= 1.
        ids: [B] of the pairs.
        reference: [2B, T] log-prob of the token in each column under the reference, 0 outside the
            responses; None where the pairs have none.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    first_target: int
    ids: tuple[str, ...]
    reference: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: Any) -> "PairBatch":
        """The same batch on ``device``; the copy from the host is asynchronous."""
        moved: dict[str, Any] = {
            name: to_device(getattr(self, name), device)
            for name in ("input_ids", "attention_mask", "labels", "reference")
            if getattr(self, name) is not None
        }
        return replace(self, **moved)

    def sums(self, logps: Tensor) -> PairLogps:
        """Log-probs [2B, T] of the labels, summed by response."""
        return sum_pairs(logps, self.labels)

    def reference_logps(self) -> PairLogps | None:
        """The reference's log-probs, summed over this batch's targets; None without a reference."""
        if self.reference is None:
            return None
        unsupervised = self.labels == IGNORE_INDEX
        return self.sums(self.reference.masked_fill(unsupervised, 0.0))

    def by_response(self, logps: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Log-probs [2B, T] of the labels as those of each pair's chosen and rejected response."""
        supervised = self.labels != IGNORE_INDEX
        rows = [row[kept] for row, kept in zip(logps, supervised, strict=True)]
        return list(zip(rows[: len(self)], rows[len(self) :], strict=True))


class PairCollator:
    """Turns pairs into tensors for one tokenizer, one mask and one set of limits.

    Args:
        tokenizer: with the markers registered.
        markers: their ids.
        end_id: the id that ends a turn.
        masking: which response tokens are targets.
        system_prompt: of the policy; None leaves the chat template's own.
        max_length: tokens of prompt and response together.
        max_prompt_length: tokens of the prompt.
        seed: of the run; masks are drawn from it, the round, the epoch, the pair and the side.
        batching: how pairs lie in a micro-batch: ``packed``, ``padded`` (``packing``), or ``plain``
            (``PairBatch``).

    Raises:
        ValueError: there is no such batching.
    """

    def __init__(
        self,
        tokenizer: Any,
        markers: Markers,
        end_id: int,
        masking: ThinkingMask,
        system_prompt: str | None,
        max_length: int,
        max_prompt_length: int,
        seed: int,
        batching: Batching = "plain",
    ) -> None:
        known = get_args(Batching)
        check_value(batching in known, "data.batching", batching, f"one of {', '.join(known)}")
        self.batching = batching
        self.tokenizer = tokenizer
        self.markers = markers
        self.end_id = end_id
        self.masking = masking
        self.system_prompt = system_prompt
        self.max_length = max_length
        self.max_prompt_length = max_prompt_length
        self.seed = seed

    @property
    def packed(self) -> bool:
        """Whether a micro-batch is one row without padding."""
        return self.batching == "packed"

    def tokenize(self, pair: PreferencePair) -> TokenizedPair:
        """Ids of a pair, not truncated; ``problem_of`` says whether it can be trained on."""
        prompt = chat_ids(self.tokenizer, pair.prompt, self.system_prompt)
        chosen = [*encode(self.tokenizer, pair.chosen), self.end_id]
        rejected = encode(self.tokenizer, pair.rejected)
        if pair.finish_reason == "stop":
            rejected.append(self.end_id)
        return TokenizedPair(pair.id, prompt, chosen, rejected)

    def problem(self, pair: PreferencePair) -> str:
        """Why a pair cannot be trained on, as a slug; "" where it can."""
        return self.problem_of(self.tokenize(pair))

    def problem_of(self, made: TokenizedPair) -> str:
        """``problem`` of a pair that is tokenized already.

        Nothing is truncated: a prompt would lose its trigger, a response its closing marker, its
        answer or its end of turn. A rejected response that generation cut is used as the policy
        left it.
        """
        if len(made.prompt) > min(self.max_prompt_length, self.max_length - 1):
            return "prompt_too_long"
        for side in ("chosen", "rejected"):
            response = getattr(made, side)
            if len(made.prompt) + len(response) > self.max_length:
                return f"{side}_too_long"
            # Which tokens a mask draws can change; whether any is left cannot.
            if not any(self.masking(response, self.markers, random.Random(0))):
                return f"{side}_no_target"
        return ""

    def unmasked(self) -> "PairCollator":
        """The same collator without a mask: every response token is a target."""
        twin = copy.copy(self)
        twin.masking = NoMasking()
        return twin

    def relaid(self, batching: Batching) -> "PairCollator":
        """The same collator with another layout."""
        twin = copy.copy(self)
        twin.batching = batching
        return twin

    def __call__(
        self, pairs: Sequence[TokenizedPair], draw: tuple[int, int]
    ) -> PairBatch | FlatBatch:
        """Collate a micro-batch.

        Args:
            pairs: B of them, B >= 1.
            draw: (round, epoch), which with the pair and its side seed the masks.

        Raises:
            ValueError: a response has no supervised token.
        """
        kept = [self.supervised(pair, draw) for pair in pairs]
        empty = [p.id for p, sides in zip(pairs, kept, strict=True) if not all(map(any, sides))]
        if empty:
            raise ValueError(
                f"no supervised token in pairs {', '.join(empty)}: drop them before the batch"
            )
        if self.batching == "plain":
            return self._plain(pairs, kept)
        rows = packed(pairs) if self.batching == "packed" else padded(pairs, self.end_id)
        return flat_batch(rows, pairs, kept)

    def supervised(self, pair: TokenizedPair, draw: tuple[int, int]) -> Kept:
        """Which tokens of a pair's chosen and rejected response are targets in ``draw``."""
        chosen, rejected = (
            self.masking(
                getattr(pair, side),
                self.markers,
                random.Random(derive_seed(self.seed, *draw, pair.id, side)),
            )
            for side in ("chosen", "rejected")
        )
        return chosen, rejected

    def _plain(self, pairs: Sequence[TokenizedPair], kept: Sequence[Kept]) -> PairBatch:
        shape = 2 * len(pairs), max(pair.longest for pair in pairs)
        input_ids = torch.full(shape, self.end_id)  # [2B, T]
        attention_mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORE_INDEX)
        known = [pair.reference for pair in pairs if pair.reference is not None]
        reference = torch.zeros(shape) if len(known) == len(pairs) else None  # [2B, T]
        for row in range(2 * len(pairs)):
            side, number = divmod(row, len(pairs))
            pair = pairs[number]
            response = (pair.chosen, pair.rejected)[side]
            start, end = len(pair.prompt), len(pair.prompt) + len(response)
            ids = torch.tensor(pair.prompt + response)
            input_ids[row, :end] = ids
            attention_mask[row, :end] = 1
            labels[row, start:end] = ids[start:].where(
                torch.tensor(kept[number][side]), IGNORE_INDEX
            )
            if reference is not None:
                reference[row, start:end] = known[number][side]
        first = int((labels != IGNORE_INDEX).any(0).nonzero()[0])
        names = tuple(pair.id for pair in pairs)
        return PairBatch(input_ids, attention_mask, labels, first, names, reference)
