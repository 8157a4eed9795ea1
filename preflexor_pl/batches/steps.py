"""The loader: one item is the pairs of one optimiser step, already split into micro-batches."""

import random
from collections.abc import Callable, Iterator, Sequence

from preflexor_pl.batches.collate import PairBatch, TokenizedPair
from preflexor_pl.core.seeds import derive_seed

Step = list[PairBatch]


def micro_batches(pairs: Sequence[TokenizedPair], token_budget: int) -> list[list[TokenizedPair]]:
    """Split pairs so that no padded micro-batch holds more than ``token_budget`` tokens.

    Pairs are taken from the longest to the shortest, so padding is small. A pair that is longer
    than the budget is a micro-batch of its own.
    """
    batches: list[list[TokenizedPair]] = []
    for pair in sorted(pairs, key=lambda pair: (-pair.longest, pair.id)):
        width = 2 * (batches[-1][0].longest if batches else 0)
        if batches and width * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(pair)
        else:
            batches.append([pair])
    return batches


class StepLoader:
    """Steps of one epoch, shuffled by (seed, epoch); resumes where its state says.

    Args:
        pairs: of the round.
        collate: a micro-batch from its pairs.
        pairs_per_step: pairs in one optimiser step; the last step may have fewer.
        token_budget: padded tokens in one micro-batch.
        seed: of the run.
        epoch: whose order and masks these are.
    """

    def __init__(
        self,
        pairs: Sequence[TokenizedPair],
        collate: Callable[[Sequence[TokenizedPair]], PairBatch],
        pairs_per_step: int,
        token_budget: int,
        seed: int,
        epoch: int,
    ) -> None:
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
            yield [self.collate(b) for b in micro_batches(self.steps[place], self.token_budget)]

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from ``state``, if it is of this epoch and the epoch was not over."""
        if state["epoch"] == self.epoch and state["position"] < len(self.steps):
            self._start = self.position = state["position"]
