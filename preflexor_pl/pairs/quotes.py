"""Sentences of a text that can be an answer by themselves, word for word.

For teachers too weak to be trusted with an answer: what a chunk says is right as far as the chunk
is. A sentence that points at others ("This is why ...") says little alone, and is left.
"""

import random
import re

from preflexor_pl.core import segmentation
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.pairs.journaled_client import JournaledClient, PairDraft
from preflexor_pl.pairs.questions import EmbeddingCache

MIN_WORDS, MAX_WORDS = 6, 40
_ENDED = re.compile(r"[.!\u3002\uff01\u0964][\"'\u201d\u2019)\]]*$")
_NO_PROSE = re.compile(r"[#>|*+\-\u2022\d]+[.)]?\s|```|\$\$")  # a heading, an item, a table
_POINTS_BACK = re.compile(
    r"(?:this|that|these|those|it|its|they|their|them|he|she|his|her|such|here|there|both|each"
    r"|another|others?|one|some|the (?:same|former|latter|other|result|reason|answer|effect)"
    r"|however|therefore|thus|hence|but|and|or|so|yet|also|instead|otherwise|then|moreover"
    r"|furthermore|for (?:example|instance)|in (?:contrast|addition|other words|both|this|these)"
    r")\b",
    re.IGNORECASE,
)
_POINTS_ELSEWHERE = re.compile(
    r"\b(?:above|below|figs?|figure|table|section|chapter|this (?:paper|note|text|chapter))\b",
    re.IGNORECASE,
)


class Quotes:
    """Gives drafts their quotes, and tells whether a question is about its quote.

    Args:
        library: chunks of the corpus.
        client: of the round; takes the drops.
        embeddings: of texts.
    """

    def __init__(
        self, library: CorpusIndex, client: JournaledClient, embeddings: EmbeddingCache
    ) -> None:
        self.library = library
        self.client = client
        self.embeddings = embeddings

    def give(self, items: list[PairDraft]) -> list[PairDraft]:
        """The items whose first chunk has a sentence to quote, with one that is drawn."""
        for item in items:
            found = self._sentences(item)
            if found:
                item.quote = random.Random(self.client.seed_of(item, "quote")).choice(found)
            else:
                self.client.drop(item, "nothing_to_quote", "")
        return [item for item in items if item.quote]

    def is_asked_about(self, item: PairDraft) -> bool:
        """Whether, of the sentences of its chunk, the question is nearest to the one quoted.

        A question that is nearer to another asks about something else (round-trip consistency,
        Alberti et al., 2019, with an embedder in the place of a reader).
        """
        chunk = self.library.chunks[item.chunk_ids[0]].text
        lines = [" ".join(one.split()) for one in segmentation.sentences(chunk)]
        sentences = [escape_special_tokens(one, self.client.special_tokens) for one in lines]
        question, *vectors = self.embeddings([item.question, *sentences])
        cosines = [float(question @ vector) for vector in vectors]  # vectors have length 1
        return sentences[cosines.index(max(cosines))] == item.quote

    def _sentences(self, item: PairDraft) -> list[str]:
        """Of an item's first chunk, inert."""
        found = quotable(self.library.chunks[item.chunk_ids[0]].text)
        return [escape_special_tokens(one, self.client.special_tokens) for one in found]


def quotable(text: str) -> list[str]:
    """The sentences of ``text`` that stand alone, in order, each in one line."""
    found = (" ".join(sentence.split()) for sentence in segmentation.sentences(text))
    return [sentence for sentence in found if _stands_alone(sentence)]


def _stands_alone(sentence: str) -> bool:
    count = sum(1 for _ in segmentation.words(sentence))
    pointing = _POINTS_BACK.match(sentence) or _POINTS_ELSEWHERE.search(sentence)
    is_prose = bool(_ENDED.search(sentence)) and not _NO_PROSE.match(sentence)
    return MIN_WORDS <= count <= MAX_WORDS and is_prose and not pointing
