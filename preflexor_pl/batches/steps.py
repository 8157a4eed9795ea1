"""The loader: one item is the pairs of one optimiser step, already split into micro-batches."""

import random
from collections.abc import Callable, Iterator, Sequence

from preflexor_pl.batches.collate import PairBatch
from preflexor_pl.batches.packing import FlatBatch
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.seeds import derive_seed

Step = list[PairBatch | FlatBatch]


def micro_batches(
    pairs: Sequence[TokenizedPair], token_budget: int, packed: bool = False
) -> list[list[TokenizedPair]]:
    """Split pairs so that no micro-batch has more than ``token_budget`` tokens.

    Pairs are placed from the longest to the shortest. A pair longer than the budget is a
    micro-batch of its own.

    Args:
        pairs: of one step.
        token_budget: most tokens in one forward pass, padding included.
        packed: a pair takes its own tokens, and joins the first micro-batch with room. Otherwise it
            takes two rows as long as the longest, and joins only the last micro-batch, so that
            padding stays small.
    """
    batches: list[list[TokenizedPair]] = []
    for pair in sorted(pairs, key=lambda pair: (-_length(pair, packed), pair.id)):
        open_ones = batches if packed else batches[-1:]
        for batch in open_ones:
            if _tokens([*batch, pair], packed) <= token_budget:
                batch.append(pair)
                break
        else:
            batches.append([pair])
    return batches


def _length(pair: TokenizedPair, packed: bool) -> int:
    return pair.total if packed else pair.longest


def _tokens(pairs: Sequence[TokenizedPair], packed: bool) -> int:
    lengths = [_length(pair, packed) for pair in pairs]
    return sum(lengths) if packed else 2 * len(lengths) * max(lengths)


class StepLoader:
    """Steps of one epoch, shuffled by (seed, epoch), with a state to resume from.

    Args:
        pairs: of the round.
        collate: makes a micro-batch of its pairs.
        pairs_per_step: pairs in one optimiser step; the last step may have fewer.
        token_budget: tokens in one micro-batch, padding counted.
        seed: of the run.
        epoch: seeds the order and the masks.
        packed: how tokens are counted, see ``micro_batches``.
    """

    def __init__(
        self,
        pairs: Sequence[TokenizedPair],
        collate: Callable[[Sequence[TokenizedPair]], PairBatch | FlatBatch],
        pairs_per_step: int,
        token_budget: int,
        seed: int,
        epoch: int,
        packed: bool = False,
    ) -> None:
        self.packed = packed
        self.collate = collate
        self.token_budget = token_budget
        self.epoch = epoch
        order = list(pairs)
        random.Random(derive_seed(seed, "order", epoch)).shuffle(order)
        self.steps = [order[i : i + pairs_per_step] for i in range(0, len(order), pairs_per_step)]
        self.position = 0
        self._start = 0

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        start, self._start = self._start, 0
        for place in range(start, len(self.steps)):
            self.position = place + 1
            split = micro_batches(self.steps[place], self.token_budget, self.packed)
            yield [self.collate(batch) for batch in split]

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its steps were yielded."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after ``state``, if it is of this epoch and the epoch was not over."""
        if state["epoch"] == self.epoch and state["position"] < len(self.steps):
            self._start = self.position = state["position"]
