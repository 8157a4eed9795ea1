"""Sentences and words of a text in any script: ICU's rules (Unicode, UAX 29) and dictionaries.

Chinese, Japanese, Thai, Lao, Khmer and Burmese words are found by dictionary, as no space parts
them. ICU takes the full stop of an abbreviation for a sentence's end, so such ends are joined here.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterator
from typing import Any

from icu4py.breakers import SentenceBreaker, WordBreaker

from preflexor_pl.core.special_tokens import NEVER_TEXT

Span = tuple[int, int]

PARAGRAPH_END = re.compile(r"\n\s*\n")
LINE_ENDS = str.maketrans(dict.fromkeys("\n\r\x0b\x0c\x85\u2028\u2029", " "))
GREEK = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")
ABBREVIATION = re.compile(
    r"\b(?:dr|prof|mr|mrs|ms|st|vs|cf|al|ca|approx|resp|e\.g|i\.e|viz|bzw|vgl|им)\.\Z",
    re.IGNORECASE,
)
BEFORE_NUMBER = re.compile(
    r"\b(?:figs?|eqs?|refs?|nos?|nr|tabs?|secs?|sect|chap|vols?|pp?|abb|рис|табл|стр|гл)\.\Z",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\s*[(\[]?(?:\d|[IVX]{2,}\b)")
INITIALS = re.compile(r"(?:\b[^\W\d_]\.\s?)+\Z")
OPENING, CLOSING = ("Ps", "Pi"), ("Pe", "Pf", "Pi")  # categories of quotes and brackets
LONGEST_ABBREVIATION = 20  # characters that are looked at before a sentence's end
LOOK_AHEAD = 60  # characters that decide whether a word ends


def sentence_spans(text: str) -> Iterator[Span]:
    """Start and end of each sentence, without the white space around it.

    A blank line always ends a sentence; a single line end does not. Headings and list items
    without a full stop are sentences only where blank lines part them.
    """
    for start, end in _paragraphs(text):
        paragraph = text[start:end].translate(LINE_ENDS)
        begun = 0
        for _, cut in _segments(SentenceBreaker, paragraph):
            while begun < cut < len(paragraph) and _kind(paragraph, cut - 1) in OPENING:
                cut -= 1  # ICU leaves an opening quote that no space precedes with what is before
            if cut < len(paragraph) and not _ends(paragraph, begun, cut):
                continue
            yield from stripped(text, start + begun, start + cut)
            begun = cut


def sentences(text: str) -> list[str]:
    """The sentences of a text, as :func:`sentence_spans` finds them."""
    return [text[start:end] for start, end in sentence_spans(text)]


def words(text: str) -> Iterator[str]:
    """Words and numbers in order, without punctuation: ``pH``, ``8.2``, ``don't``, ``拉伸``."""
    for start, end in _segments(WordBreaker, text):
        word = text[start:end]
        if any(letter.isalnum() for letter in word):
            yield word


def last_word_start(text: str, start: int, end: int) -> int:
    """Where to cut ``text[start:]`` so that at most ``text[start:end]`` stays and no word is cut.

    Returns:
        The last place in the second half of the span that follows white space; else the last one
        there where a word begins; else ``end``, which may lie within a word.
    """
    half = start + (end - start) // 2
    window = text[start : end + LOOK_AHEAD]
    starts = [start + at for at, _ in _segments(WordBreaker, window) if half < start + at <= end]
    after_space = [at for at in starts if text[at - 1].isspace()]
    words = [at for at in starts if text[at : at + 1].isalnum()]
    return next((places[-1] for places in (after_space, words, starts) if places), end)


def ends_sentence(text: str) -> bool:
    """Whether a text ends where a sentence does: ``It is.``, not ``It is`` or ``Smith et al.``."""
    tail = text.rstrip()[-LONGEST_ABBREVIATION * 10 :].translate(LINE_ENDS) + " "
    followed = tail + "Aa"
    cuts = [end for _, end in _segments(SentenceBreaker, followed)]
    return len(tail) in cuts and _ends(followed, 0, len(tail))


def asks(sentence: str) -> bool:
    """Whether a sentence ends in a question mark of any script, quotes and brackets aside."""
    end = len(sentence)
    while end and (sentence[end - 1] in " \n\"'*_" or _kind(sentence, end - 1) in CLOSING):
        end -= 1
    mark = sentence[end - 1 : end]
    is_greek = mark == ";" and _locale(sentence) == "el"
    return is_greek or "QUESTION MARK" in unicodedata.name(mark or " ", "")


def stripped(text: str, start: int, end: int) -> Iterator[Span]:
    """The span without the white space at its ends; nothing where nothing else is in it."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def _paragraphs(text: str) -> Iterator[Span]:
    start = 0
    for match in PARAGRAPH_END.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _ends(text: str, begun: int, cut: int) -> bool:
    """Whether a sentence ends where ICU says so: not after an abbreviation or a list's number."""
    before = text[max(begun, cut - LONGEST_ABBREVIATION) : cut].rstrip()
    if text[cut].islower():  # "Is it?" he asked.
        return False
    if ABBREVIATION.search(before):
        return False
    if BEFORE_NUMBER.search(before):
        return not NUMBER.match(text, cut)
    initials = INITIALS.search(before)
    if initials and (initials.group()[0].isupper() or initials.group().count(".") > 1):
        return False
    return cut - begun > LONGEST_ABBREVIATION or any(c.isalpha() for c in before)


def _kind(text: str, at: int) -> str:
    return unicodedata.category(text[at])


def _locale(text: str) -> str:
    """The locale whose rules hold: in Greek, a semicolon is the question mark."""
    return "el" if 2 * len(GREEK.findall(text)) > len(text) else "en"


def _segments(breaker: Any, text: str) -> Iterator[Span]:
    """ICU's segments, from one that counts in UTF-16 units."""
    text = NEVER_TEXT.sub("\ufffd", text)  # ICU takes no lone surrogates
    segments = breaker(text, _locale(text)).segments()
    if text.isascii() or max(text) < "\U00010000":
        yield from segments
        return
    place = array("L")
    for index, letter in enumerate(text):
        place.extend([index] * (1 + (letter > "\uffff")))
    place.append(len(text))
    for start, end in segments:
        yield place[start], place[end]
