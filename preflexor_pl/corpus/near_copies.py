"""Documents that are near-copies: a paper as .pdf and as .txt, a page with another footer.

Two documents are near-copies where at least half of the shingles of the one that has fewer are in
the other (containment; Broder, 1997, "On the resemblance and containment of documents"). A shingle
is 32 letters or digits in a row, whatever their case and what white space and punctuation lie
between, so that line ends and hyphens do not matter, in any script. The time grows with the corpus
as sorting does.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from preflexor_pl.corpus.chunks import Chunk, texts_of

SHARE = 0.5  # of the shingles of the document that has fewer
FEWEST = 8  # shingles in common
DOUBLINGS = 5  # a shingle has 2**5 letters
REACH = 8  # a document is compared with so many of those that share a shingle with it
BOILERPLATE = 0.1  # of all documents: what more of them have in common does not count
MOST = 4_000_000  # shingles in memory: of a larger corpus a sample, the same of equal texts
ODD = 0x9E3779B97F4A7C15  # 2**64 by the golden ratio
BETWEEN = re.compile(r"[\W_]+")

Hashes = NDArray[np.uint64]


def near_copies(chunks: Iterable[Chunk]) -> dict[str, str]:
    """The group of each document: what is a near-copy of a near-copy is in it, too.

    Returns:
        Document id -> id of the first document of its group; its own where it is alone.
    """
    texts = texts_of(chunks)
    names, part = list(texts), MOST / max(1, sum(map(len, texts.values())))
    first = list(range(len(names)))
    for one, other in _pairs([_shingles(text, part) for text in texts.values()]):
        low, high = sorted((_root(first, one), _root(first, other)))
        first[high] = low
    return {name: names[_root(first, place)] for place, name in enumerate(names)}


def _shingles(text: str, part: float) -> Hashes:
    """[S] hashes of a text's different shingles, those below ``part`` of all that a hash can be."""
    letters = BETWEEN.sub("", text.casefold()).encode("utf-32-le", "surrogatepass")
    hashes = np.frombuffer(letters, dtype=np.uint32).astype(np.uint64)
    for doubling in range(DOUBLINGS):  # of the letters that a hash is of
        width = 2**doubling
        hashes = hashes[:-width] * np.uint64(ODD + 2 * doubling) + hashes[width:]
    hashes = _mixed(hashes)
    if part < 1:
        hashes = hashes[hashes < np.uint64(part * 2**64)]
    return np.unique(hashes)


def _mixed(hashes: Hashes) -> Hashes:
    """Hashes of which each bit depends on all that were there (splitmix64; Steele et al., 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _pairs(shingles: Sequence[Hashes]) -> Iterator[tuple[int, int]]:
    """Places of two near-copies each."""
    sizes = np.array([len(one) for one in shingles], dtype=np.int64)
    hashes = np.concatenate([np.empty(0, np.uint64), *shingles])
    owners = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    _, runs = np.unique(hashes, return_counts=True)
    own = np.repeat(runs <= max(REACH, BOILERPLATE * len(sizes)), runs)
    hashes, owners = hashes[own], owners[own]
    sizes = np.bincount(owners, minlength=len(sizes))
    numbers = []  # of the pair that has a shingle in common, once a shingle
    for step in range(1, REACH + 1):
        same = hashes[step:] == hashes[:-step]
        numbers.append(owners[:-step][same] * len(sizes) + owners[step:][same])
    for number, common in zip(*np.unique(np.concatenate(numbers), return_counts=True), strict=True):
        one, other = divmod(int(number), len(sizes))
        if common >= max(FEWEST, SHARE * min(sizes[one], sizes[other])):
            yield one, other


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        first[place] = first[first[place]]
        place = first[place]
    return place
