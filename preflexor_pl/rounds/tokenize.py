"""The pairs of a round as ids, with the reference's log-probs where a loss needs them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.progress import log_line
from preflexor_pl.pairs.drop_reasons import advice, by_reason
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.policy.policy import Policy
from preflexor_pl.rounds.reference import with_reference


@dataclass
class PairTokenizer:
    """Tokenises the pairs of a run.

    Attributes:
        policy: in training; its reference gives the log-probs.
        collator: of the run.
        token_budget: padded tokens in one forward pass.
    """

    policy: Policy
    collator: PairCollator
    token_budget: int

    def tokenized(
        self, pairs: Sequence[PreferencePair], folder: Path, reference: bool
    ) -> list[TokenizedPair]:
        """The pairs as ids; says how many cannot be trained on, by reason.

        Args:
            pairs: of one round, or the held-out ones.
            folder: theirs.
            reference: whether the loss needs the reference's log-probs.

        Raises:
            CorpusError: there is none that can.
        """
        tokenized = [self.collator.tokenize(pair) for pair in pairs]
        reasons = [self.collator.problem_of(pair) for pair in tokenized]
        made = [pair for pair, reason in zip(tokenized, reasons, strict=True) if not reason]
        if len(made) < len(pairs):
            told = by_reason(filter(None, reasons))
            log_line(
                f"  {len(pairs) - len(made)} of {len(pairs)} pairs cannot be trained on: {told}"
            )
        if not made:
            raise CorpusError(f"{folder}: no pair can be trained on{advice(reasons)}")
        if not reference:
            return made
        title = "held-out pairs" if folder.name == "held_out" else f"round {int(folder.name[6:])}"
        path = folder / "reference.safetensors"
        return with_reference(self.policy, self.collator, made, self.token_budget, path, title)

    def drawn(
        self, folders: Sequence[Path], count: int, rng: random.Random, reference: bool
    ) -> list[TokenizedPair]:
        """Pairs drawn from several rounds, as ``tokenized``.

        Args:
            folders: of complete rounds.
            count: how many pairs; all where there are not so many.
            rng: of the draw.
            reference: whether the loss needs the reference's log-probs.
        """
        pairs = {folder: read_pairs(folder / "pairs.jsonl") for folder in folders if count}
        known = [(folder, pair.id) for folder, some in pairs.items() for pair in some]
        drawn = set(rng.sample(known, min(count, len(known))))
        return [
            pair
            for folder in sorted({folder for folder, _ in drawn})
            for pair in self.tokenized(pairs[folder], folder, reference)
            if (folder, pair.id) in drawn
        ]
