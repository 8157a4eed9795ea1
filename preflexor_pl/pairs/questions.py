"""Which questions were asked before: known again by their words, or by what they mean."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from preflexor_pl.corpus.checks import usable_rows
from preflexor_pl.pairs.pair import question_key

SAME = 0.95  # cosine of two questions that ask for the same thing

Vectors = NDArray[np.float32]


class EmbeddingCache:
    """Vectors of texts, each embedded once, together with all that are wanted at the time.

    One after another costs twice as much, while a server has nothing to do.

    Args:
        embed: texts to vectors [N, D].
    """

    def __init__(self, embed: Callable[[list[str]], Vectors]) -> None:
        self._embed = embed
        self._known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """The vectors [N, D] of N texts, at least one."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self._known |= dict(zip(missing, self._embed(missing), strict=True))
        return np.stack([self._known[text] for text in texts])

    def has(self, text: str) -> bool:
        """Whether a text has a vector that can be compared and searched with."""
        return bool(usable_rows(self([text]))[0])


class QuestionDeduplicator:
    """The questions that were asked so far.

    Args:
        questions: of earlier rounds.
        embed: texts to vectors [N, D]; None goes by words alone.
    """

    def __init__(
        self, questions: Sequence[str], embed: Callable[[Sequence[str]], Vectors] | None
    ) -> None:
        self._keys = {question_key(question) for question in questions}
        self._embed = embed
        self._vectors: Vectors | None = None
        if embed and questions:
            self._vectors = _unit(embed(list(questions)))

    def add(self, question: str) -> bool:
        """Whether a question is new; from now on it is not."""
        if question_key(question) in self._keys:
            return False
        self._keys.add(question_key(question))
        if self._embed is None:
            return True
        vector = _unit(self._embed([question]))
        known = self._vectors
        if known is not None and float((known @ vector[0]).max()) >= SAME:
            return False
        self._vectors = vector if known is None else np.concatenate([known, vector])
        return True


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.nan_to_num(vectors / np.maximum(lengths, np.finfo(np.float32).tiny))
