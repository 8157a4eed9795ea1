"""Notes: questions that were answered before, found like chunks and kept apart from source text.

Their graph is one of their own, made anew from the notes: that of the sources stays as it is, and
what a note rests on can be followed by its links down to chunks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from preflexor_pl.corpus.checks import checked_vectors, usable_rows
from preflexor_pl.corpus.graph import CorpusGraph

# Cosine of two questions, the answer to one of which would do for the other. Of a small teacher's
# questions, embedded with all-MiniLM, those from here on only say it in other words; others on the
# same subject stay below 0.8.
ALIKE = 0.85

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Note:
    """A question with its answer.

    Attributes:
        id: no chunk's id.
        question: that was asked.
        answer: that was given.
        links: ids of the chunks, and of earlier notes, that it rests on.
        round: that it comes from.
    """

    id: str
    question: str
    answer: str
    links: tuple[str, ...]
    round: int

    @property
    def text(self) -> str:
        """Question and answer."""
        return f"{self.question}\n{self.answer}"


class Notes:
    """Notes to be searched; embedded when that is first done.

    Args:
        notes: of different ids. One whose vector is NaN or zero is never found.
        embed: texts to vectors [N, D].
        seed: of the graph.

    Attributes:
        by_id: the notes.
    """

    def __init__(
        self, notes: Sequence[Note], embed: Callable[[list[str]], Rows], seed: int = 0
    ) -> None:
        self.by_id = {note.id: note for note in notes}
        self._embed = embed
        self._seed = seed

    def nearest(self, question: str) -> tuple[str, float] | None:
        """The note most similar to a question, of those that do not answer the same question.

        Such a one would have its answer given again. It is known by its question: beside its text,
        which has the answer in it, even its own question has a cosine of 0.6 to 0.8 only.

        Returns:
            Its id and its cosine similarity; None where there is none.
        """
        if not self.by_id:
            return None
        graph, ids, questions = self._embedded
        asked = checked_vectors(self._embed([question]), graph.dim, "cosine")  # [1, D]
        others = [id for id, near in zip(ids, questions @ asked[0], strict=True) if near < ALIKE]
        found, similarities = graph.search(asked, 1, within=others)
        return (found[0][0], similarities[0][0]) if found[0] else None

    @cached_property
    def _embedded(self) -> tuple[CorpusGraph, list[str], Rows]:
        """The graph of the texts, its ids, and the vectors [N, D] of their questions."""
        notes = list(self.by_id.values())
        texts = np.asarray(self._embed([note.text for note in notes]))
        questions = np.asarray(self._embed([note.question for note in notes]))
        usable = usable_rows(texts) & usable_rows(questions)
        ids = [note.id for note, good in zip(notes, usable, strict=True) if good]
        graph = CorpusGraph.build(ids, texts[usable], seed=self._seed)
        return graph, ids, checked_vectors(questions[usable], graph.dim, "cosine")
