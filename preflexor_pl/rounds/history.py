"""What the rounds of a run leave to a later one: questions, uses of chunks, doubts, notes."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.pairs.item_choice import ItemTries
from preflexor_pl.pairs.notes import notes_of
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.pairs.planning import EarlierRounds
from preflexor_pl.pairs.round_folders import round_folder
from preflexor_pl.pairs.task_maker import TRIES, read_tries

MARGINS = "margins.json"  # in a round's folder: of all earlier pairs, under its policy


def pairs_before(run: Path, index: int) -> list[PreferencePair]:
    """The pairs of all rounds before one."""
    files = [round_folder(run, number) / "pairs.jsonl" for number in range(index)]
    return [pair for file in files for pair in read_pairs(file)]


def past_of(run: Path, index: int, grow: bool, markers: MarkerStrings = DEFAULT) -> EarlierRounds:
    """What the rounds before one have used.

    Args:
        run: the run's folder.
        index: of the round; those before it are complete.
        grow: whether it may build on their pairs, as notes.
        markers: of their texts.
    """
    earlier = pairs_before(run, index)
    known = {pair.id: pair.chunk_ids[0] for pair in earlier if pair.chunk_ids}
    path = round_folder(run, index) / MARGINS
    sure = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return EarlierRounds(
        tuple(markers.question(pair.prompt) for pair in earlier),
        Counter(chunk for pair in earlier for chunk in pair.chunk_ids),
        tuple(known[n] for n in sorted(sure, key=lambda name: (sure[name], name)) if n in known),
        notes_of(earlier, markers) if grow else (),
        Counter(pair.topic for pair in earlier if pair.topic),
    )


def tries_before(run: Path, index: int) -> list[ItemTries]:
    """What came of a task's items in all rounds before one."""
    files = [round_folder(run, number) / TRIES for number in range(index)]
    return [one for file in files for one in read_tries(file)]


def keep_margins(
    run: Path, index: int, margins: Callable[[Sequence[PreferencePair]], list[float]]
) -> None:
    """Take the margins of all pairs before a round, once, for ``past_of`` to find.

    Args:
        run: the run's folder.
        index: of the round.
        margins: of pairs, under the policy as it is.
    """
    path = round_folder(run, index) / MARGINS
    if path.exists():
        return
    pairs = pairs_before(run, index)
    by_pair = {pair.id: margin for pair, margin in zip(pairs, margins(pairs), strict=True)}
    write_atomically(path, json.dumps(by_pair, indent=1))
