"""What later rounds may rest on: the pairs of a round as notes, see ``corpus/notes``."""

import re
from collections.abc import Sequence

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.responses import answer_of
from preflexor_pl.corpus.earlier_answers import Note
from preflexor_pl.pairs.pair import PreferencePair, note_id

HEADING = "An earlier question and its answer, not source text"  # where a chunk has its title

_WORD = re.compile(r"\w\w+")


def notes_of(pairs: Sequence[PreferencePair], markers: MarkerStrings = DEFAULT) -> tuple[Note, ...]:
    """A note for each pair, ``pair:<its id>``: question, chosen answer, and what it rests on."""
    return tuple(
        Note(
            note_id(pair.id),
            markers.question(pair.prompt),
            answer_of(pair.chosen, markers),
            tuple(pair.chunk_ids),
            pair.round,
        )
        for pair in pairs
    )


def says_again(answer: str, note: Note) -> bool:
    """Whether an answer that rests on a note has no word but the note's answer's.

    A small teacher that is shown an earlier answer often just repeats it.
    """
    return {*_WORD.findall(answer.lower())} <= {*_WORD.findall(note.answer.lower())}
