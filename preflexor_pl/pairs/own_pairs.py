"""Preference pairs of the user's own: where they lie, how they are read, and which round has which.

A row has ``prompt`` (or ``question``, ``instruction``), ``chosen`` and, unless the policy in
training is to write it, ``rejected``: texts, or lists of messages as chat data sets have them.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import check_value
from preflexor_pl.corpus.data_rows import rows_of
from preflexor_pl.pairs.own_markers import others_than, require_markers
from preflexor_pl.pairs.own_pair import OwnPair, UnusableRow, own_pair_of
from preflexor_pl.pairs.pair import question_key
from preflexor_pl.pairs.round_folders import markers_of


@dataclass(frozen=True)
class OwnPairs:
    """Preference pairs of one's own.

    Attributes:
        source: a .jsonl, .json or .parquet file, a folder of such files or one that ``datasets``
            saved, the hub id of a data set; in Python also rows themselves.
        rounds: which rounds they are for: the ``first``, or ``every`` one.
        share: of the pairs of such a round; the others are made.
    """

    source: str | list[Any]
    rounds: Literal["first", "every"] = "every"
    share: float = 1.0

    def __post_init__(self) -> None:
        is_rows = isinstance(self.source, Iterable) and not isinstance(self.source, Mapping)
        rule = "the name of a file, a folder or a data set; or rows (of a DatasetDict one split)"
        check_value(is_rows, "data.pairs.source", type(self.source).__name__, rule)
        fits = isfinite(self.share) and 0 < self.share <= 1
        check_value(fits, "data.pairs.share", self.share, "in (0, 1]")
        check_value(
            self.rounds in ("first", "every"), "data.pairs.rounds", self.rounds, "first, every"
        )

    @property
    def alone(self) -> bool:
        """Whether no round has pairs that are made, so that no corpus is needed."""
        return stand_alone(self)


def stand_alone(given: Any) -> bool:
    """Whether own pairs, as a config or a script gives them, leave no pair to be made."""
    rounds, share = getattr(given, "rounds", "every"), getattr(given, "share", 1.0)
    return given is not None and rounds == "every" and share == 1


class OwnSet:
    """The pairs of one's own that a run trains on, and those that it holds out.

    Args:
        settings: where they are and which rounds they are for.
        held_out: how many different prompts are held out where no corpus gives held-out questions.
        system_prompt: of the run; other system turns in the rows are left out, and counted.
        seed: of the run.
        markers: of the run; with its trigger and without it a prompt is the same one.

    Attributes:
        train: pairs to train on.
        held: pairs of the prompts that are held out; none where a corpus gives them.

    Raises:
        ConfigError: there is no such source, or too few prompts to hold some out.
        CorpusError: a row is no pair.
    """

    def __init__(
        self,
        settings: OwnPairs,
        held_out: int,
        system_prompt: str | None,
        seed: int,
        markers: MarkerStrings = DEFAULT,
    ) -> None:
        self.settings = settings
        self.seed = seed
        pairs = read_own(settings.source, system_prompt, markers)
        asked = [question_key(markers.question(pair.prompt)) for pair in pairs]
        names = sorted(set(asked))
        held: set[str] = set()
        if settings.alone:
            count, most = len(names), len(names) - 1
            if count <= held_out:
                advice = f"give at most {most}" if most > 1 else "give pairs of 3 prompts or more"
                raise ConfigError(
                    f"data.held_out_questions: {held_out} cannot be held out of the {count} "
                    f"different prompts in data.pairs; {advice}"
                )
            held = set(random.Random(derive_seed(seed, "own held out")).sample(names, held_out))
        named = list(zip(asked, pairs, strict=True))
        self.train = [pair for name, pair in named if name not in held]
        self.held = [pair for name, pair in named if name in held]

    def without(self, documents: Collection[str]) -> None:
        """Leave out the pairs that say they rest on one of these held-out documents."""
        kept = [
            pair
            for pair in self.train
            if not {id.rpartition("#")[0] for id in pair.chunk_ids} & {*documents}
        ]
        if len(kept) < len(self.train):
            log_line(f"  {len(self.train) - len(kept)} rest on held-out documents and are left out")
        self.train = kept

    def of_round(self, index: int, wanted: int) -> list[OwnPair]:
        """The pairs of a round: each is taken once before any is taken again.

        Args:
            index: of the round, from 0.
            wanted: pairs of the whole round.
        """
        if self.settings.rounds == "first" and index > 0:
            return []
        total = len(self.train)
        if not total:
            return []
        count = min(total, max(1, round(self.settings.share * wanted)))
        taken: dict[int, None] = {}
        place = index * count
        while len(taken) < count:
            order = list(range(total))
            random.Random(derive_seed(self.seed, "own pairs", place // total)).shuffle(order)
            for number in order[place % total :]:
                place += 1
                if len(taken) < count:
                    taken[number] = None
        return [self.train[number] for number in taken]


def read_own(
    source: str | Iterable[Any], system_prompt: str | None, markers: MarkerStrings = DEFAULT
) -> list[OwnPair]:
    """The pairs of a source; says what was left out.

    Raises:
        ConfigError: there is no such source.
        CorpusError: a row is no pair or has other markers than ``markers``, or none can be used.
    """
    dropped: Counter[str] = Counter()
    pairs, systems = [], 0
    recorded = markers_of(Path(source).expanduser()) if isinstance(source, str) else None
    others = others_than(markers, recorded)
    for place, row in rows_of(source, "data.pairs"):
        try:
            pair, system = own_pair_of(asdict(row) if is_dataclass(row) else row)  # type: ignore[arg-type]
        except UnusableRow as reason:
            dropped[str(reason)] += 1
            continue
        except (TypeError, ValueError, KeyError) as error:
            raise CorpusError(f"data.pairs: {place} is no preference pair ({error})") from error
        texts = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected or ""}
        require_markers(place, texts, markers, others)
        pairs.append(pair)
        systems += system not in (None, system_prompt)
    told = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    if not pairs:
        raise CorpusError(f"data.pairs: not one pair can be used{f': {told}' * bool(told)}")
    missing = sum(pair.rejected is None for pair in pairs)
    log_line(
        f"{len(pairs)} pairs of your own"
        + f", {missing} without a rejected answer" * bool(missing)
        + f"; left out: {told}" * bool(told)
    )
    if systems:
        log_line(f"  {systems} have a system turn that is not data.system_prompt: it is left out")
    return pairs
