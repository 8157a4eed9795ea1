"""Documents cut into chunks that the embedder reads whole, at ends of sentences where possible.

Lengths are in the embedder's own tokens: what is over its limit it drops without a word, and two
texts that differ only there would have similarity 1.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from preflexor_pl.core.segmentation import Span, last_word_start, sentence_spans, stripped
from preflexor_pl.corpus.records import Document

MIN_TOKENS = 15  # a shorter last chunk takes sentences from the one before
CHARS_PER_TOKEN = 12  # English has 4 to 5; a word of 10,000 letters may be one unknown token
BATCH = 256

HEADINGS = re.compile(r"(?:\s*#{1,6} [^\n]*(?:\n|\Z))+\Z")
MAX_HEADING_CHARS = 400

Piece = tuple[Span, int]  # a sentence, or a part of one, and its number of tokens


@dataclass(frozen=True)
class Chunk:
    """A slice of a document: ``text == document.text[start:end]``; ``id`` is ``<document>#<n>``.

    ``title`` is the document's.
    """

    id: str
    document: str
    text: str
    start: int
    end: int
    title: str = ""


def split(document: Document, tokenizer: Any, chunk_tokens: int, overlap: int) -> list[Chunk]:
    """Cuts a document into overlapping windows of whole sentences.

    Args:
        document: its text is left as it is; every character but white space is in some chunk.
        tokenizer: the embedder's (a fast Hugging Face tokenizer).
        chunk_tokens: most tokens of a chunk, special tokens not counted, >= 1.
        overlap: most tokens of trailing sentences that the next chunk begins with, >= 0.

    Returns:
        Chunks in order. A sentence longer than a chunk is cut between words; a heading stays with
        what follows it.

    Raises:
        ValueError: chunk_tokens < 1, or overlap not in [0, chunk_tokens).
    """
    if chunk_tokens < 1 or not 0 <= overlap < chunk_tokens:
        raise ValueError(
            f"chunk_tokens must be >= 1 and 0 <= overlap < chunk_tokens: {chunk_tokens}, {overlap}"
        )
    text = document.text
    pieces = [
        piece
        for sentence in _sentences(text)
        for piece in _cut_chars(text, sentence, chunk_tokens * CHARS_PER_TOKEN)
    ]
    counted = list(_cut_tokens(text, pieces, tokenizer, chunk_tokens))
    windows = _pack(counted, chunk_tokens, overlap)
    # Tokens of a slice may be more than the sum of its sentences' (rarely): look, and halve.
    spans = [s for window in windows for s in _fitting(text, window, tokenizer, chunk_tokens)]
    return [
        Chunk(f"{document.id}#{n}", document.id, text[start:end], start, end, document.title)
        for n, (start, end) in enumerate(spans)
    ]


def split_all(
    documents: Sequence[Document],
    tokenizer: Any,
    chunk_tokens: int,
    overlap: int,
    progress: Callable[[int, int], None],
) -> list[Chunk]:
    """The chunks of N documents, in order; ``progress`` is called with (done, N) after each."""
    chunks: list[Chunk] = []
    for done, document in enumerate(documents, start=1):
        chunks += split(document, tokenizer, chunk_tokens, overlap)
        progress(done, len(documents))
    return chunks


def texts_of(chunks: Iterable[Chunk]) -> dict[str, str]:
    """Document id -> its text without white space, however it is cut into chunks."""
    texts: dict[str, list[str]] = {}
    ends: dict[str, int] = {}
    for chunk in chunks:
        new = chunk.text[max(0, ends.get(chunk.document, 0) - chunk.start) :]
        texts.setdefault(chunk.document, []).append("".join(new.split()))
        ends[chunk.document] = max(chunk.end, ends.get(chunk.document, 0))
    return {name: "".join(parts) for name, parts in texts.items()}


def _sentences(text: str) -> Iterator[Span]:
    """Spans of sentences without the white space around them; a heading joins the next one."""
    start = -1
    for begun, end in sentence_spans(text):
        start = begun if start < 0 else start
        if end - start <= MAX_HEADING_CHARS and HEADINGS.match(text[start:end]):
            continue
        yield start, end
        start = -1
    if start >= 0:
        yield start, end


def _cut_chars(text: str, span: Span, limit: int) -> Iterator[Span]:
    """Pieces of at most ``limit`` characters, cut between words where there are some."""
    start, end = span
    while end - start > limit:
        cut = last_word_start(text, start, start + limit)
        yield from stripped(text, start, cut)
        start = cut
    yield from stripped(text, start, end)


def _token_ids(tokenizer: Any, texts: list[str], **options: Any) -> Any:
    return tokenizer(
        texts,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
        **options,
    )


def _cut_tokens(text: str, pieces: list[Span], tokenizer: Any, limit: int) -> Iterator[Piece]:
    """Pieces with their token counts; those over the limit are cut between words."""
    for first in range(0, len(pieces), BATCH):
        batch = pieces[first : first + BATCH]
        encoded = _token_ids(tokenizer, [text[s:e] for s, e in batch], return_offsets_mapping=True)
        for (start, end), offsets in zip(batch, encoded["offset_mapping"], strict=True):
            starts = [start + offset[0] for offset in offsets]
            at = 0  # the first token of the next part
            while len(starts) - at > limit:
                cut = last_word_start(text, starts[at], starts[at + limit])
                following = max(at + 1, bisect_left(starts, cut))
                for span in stripped(text, start, cut):
                    yield span, following - at
                start, at = cut, following
            for span in stripped(text, start, end):
                yield span, len(starts) - at


def _pack(pieces: list[Piece], limit: int, overlap: int) -> list[Span]:
    """Fills windows greedily with pieces; each begins with the last pieces of the one before."""
    windows: list[list[Piece]] = []
    for piece in pieces:
        window = windows[-1] if windows else []
        if window and _fits([*window, piece], limit):
            window.append(piece)
            continue
        carried = _tail(window, min(overlap, limit - piece[1]))
        while carried and not _fits([*carried, piece], limit):
            carried.pop(0)
        windows.append([*carried, piece])
    _lengthen_last(windows, limit)
    return [(window[0][0][0], window[-1][0][1]) for window in windows]


def _lengthen_last(windows: list[list[Piece]], limit: int) -> None:
    """Moves pieces to a last window that is shorter than MIN_TOKENS, if none gets too short."""
    if len(windows) < 2:
        return
    before, last = windows[-2:]
    at = len(before) - sum(piece in before for piece in last)
    while at > 0 and _tokens(last) < MIN_TOKENS:
        at -= 1
        last = [before[at], *last]
        if not _fits(last, limit) or _tokens(before[:at]) < MIN_TOKENS:
            return
    if last is not windows[-1]:
        windows[-2:] = [before[:at], last]


def _tokens(window: list[Piece]) -> int:
    return sum(tokens for _, tokens in window)


def _fits(window: list[Piece], limit: int) -> bool:
    chars = window[-1][0][1] - window[0][0][0]
    return _tokens(window) <= limit and chars <= limit * CHARS_PER_TOKEN


def _tail(window: list[Piece], most: int) -> list[Piece]:
    """The last pieces of a window (never all of it) with at most ``most`` tokens together."""
    tail: list[Piece] = []
    for piece in reversed(window[1:]):
        most -= piece[1]
        if most < 0:
            break
        tail.insert(0, piece)
    return tail


def _fitting(text: str, span: Span, tokenizer: Any, limit: int) -> Iterator[Span]:
    """The span, or its halves (cut between words if there are some), until each fits."""
    start, end = span
    ids = _token_ids(tokenizer, [text[start:end]])["input_ids"][0]
    if len(ids) <= limit or end - start < 2:
        yield start, end
        return
    middle = (start + end) // 2
    cut = last_word_start(text, start, middle)
    for half in ((start, cut), (cut, end)):
        for part in stripped(text, *half):
            yield from _fitting(text, part, tokenizer, limit)
