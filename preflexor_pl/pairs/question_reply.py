"""The question in a teacher's reply, whole, without what stands around it.

A strong teacher writes a premise before its question, a task ("Explain how ..."), several sentences
or a stem with a list; around it labels, preambles and remarks. Of several questions in a list, or
in paragraphs of their own, the first is taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from preflexor_pl.core import segmentation
from preflexor_pl.pairs.question_words import (
    ASKS_WITHOUT_MARK,
    LABEL,
    LABELLED,
    NO_QUESTION,
    NUMBERED,
    POINTING,
    PREAMBLES,
    SETTING,
    SOURCE,
    TAG,
    TASK,
)
from preflexor_pl.pairs.question_wrapping import unwrapped
from preflexor_pl.pairs.reply_checks import refuses, unfinished

MIN_WORDS = 4  # of a question
MOST_TOGETHER = 3  # question marks of one question; more of them in a row are a list of questions

_EMPHASIS = (
    re.compile(r"\*{2,3}(?=\S)(.+?)(?<=\S)\*{2,3}"),
    re.compile(r"(?<![\w*\\^])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![\w*])"),
    re.compile(r"(?<!\w)__(?=\S)(.+?)(?<=\S)__(?!\w)"),
)
_TITLE = re.compile(r"#{1,6}\s.*|\*\*[^*]+\*\*")
_RULE = re.compile(r"[-*_]{3,}")
_ITEM = re.compile(
    r"(?:[-*•–]\s+|[(（](?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[)）]\s*|(?:\d{1,2}|[a-zA-Z])[)）]\s*"
    r"|(?:\d{1,2}|[a-h]|[ivx]{1,4})\.\s+|\d{1,2}、\s*)(?=\S)"
)
_QUOTES = {  # an opening quote, and what closes it in one language or another
    '"': '"', "'": "'", "`": "`", "“": "”", "”": "”", "‘": "’", "«": "»", "»": "«»", "„": "“”",
    "「": "」", "『": "』",
}  # fmt: skip
_CLAUSE = re.compile(r"[,;:.!?)—–]|\band\b")
_CHOICES = re.compile(r"[:：]$|\b(?:following|these|those|below)\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Block:
    """A paragraph, or an item with its marker; ``is_new``: under a number, as "Question 1:"."""

    text: str
    marker: str = ""
    is_new: bool = False


def read_question(text: str) -> tuple[str, str]:
    """The question in a reply, and why it cannot be used.

    Returns:
        (question, reason): reason is "" where the question can be used.
    """
    if refuses(text) or NO_QUESTION.match(text):
        return "", "refusal"
    text = unwrapped(text)
    question = _unquoted(_question_of(list(_blocks(text))))
    if not question:
        return "", "not_a_question"
    if len(list(segmentation.words(question))) < MIN_WORDS:
        return question, "question_too_short"
    cut = "" if _asks(question) else unfinished(text if "\n" in question else question)
    if cut:
        return question, cut
    if SOURCE.search(question):
        return question, "question_mentions_source"
    if _points_out(question):
        return question, "question_not_standalone"
    return _capitalised(question), ""


def asked_before_cut(text: str) -> str:
    """What of a reply that was cut can be read: up to its last question mark; "" without any."""
    spans = list(segmentation.sentence_spans(text))
    ends = [end for start, end in spans if segmentation.asks(text[start:end])]
    return text[: ends[-1]] if ends else ""


def _blocks(text: str) -> Iterator[_Block]:
    """Paragraphs and list items in order, without emphasis, titles, labels and preambles."""
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        line = TAG.sub("", line).strip().removeprefix("> ")
        plain = _plain(line)
        is_title = bool(_TITLE.fullmatch(line)) and not _is_whole_question(plain)
        is_title = is_title or bool(_RULE.fullmatch(line) or LABEL.fullmatch(plain))
        item = _ITEM.match(line) or NUMBERED.match(plain)
        if (not line or is_title or item or LABELLED.match(plain)) and paragraph:
            yield from _paragraph(" ".join(paragraph))
            paragraph = []
        if not line or is_title:
            continue
        if item and _ITEM.match(line):
            yield _Block(_plain(line[item.end() :]), item.group().strip())
        elif item:
            yield _Block(plain[item.end() :], "", True)
        else:
            paragraph.append(plain)


def _paragraph(text: str) -> Iterator[_Block]:
    """The paragraph without its preamble; nothing where there is nothing else."""
    before = None
    while before != text:
        before = text
        for pattern in PREAMBLES:
            text = pattern.sub("", text, count=1) if pattern.match(text) else text
    if text:
        yield _Block(text)


def _question_of(blocks: list[_Block]) -> str:
    """The question that the blocks make; "" where they make none."""
    stem: list[str] = []
    for place, block in enumerate(blocks):
        if block.marker or block.is_new:
            found = _with_items(stem, blocks[place:])
            if found or not stem:
                return found
            continue
        question = _whole(block.text)
        if question:
            rest = blocks[place + 1 :]
            items = _with_items([*stem, question], rest) if _belong(block.text, rest) else ""
            return items or " ".join([*stem, question, *_more_tasks(rest)])
        if segmentation.ends_sentence(block.text) or block.text.endswith((":", "：")):
            stem.append(block.text)  # anything else is a heading
    return ""


def _with_items(stem: list[str], blocks: list[_Block]) -> str:
    """Stem and list together; without a stem the first item that asks something."""
    items = list(takewhile(lambda block: block.marker or block.is_new, blocks))
    asking = [question for question in (_whole(item.text) for item in items) if question]
    if not stem or items[0].is_new:
        return asking[0] if asking else ""
    is_task = any(TASK.search(part) or _asks(part) for part in stem)
    if not asking and not is_task:
        return ""
    return "\n".join([" ".join(stem), *(f"{item.marker} {item.text}" for item in items)])


def _belong(stem: str, rest: list[_Block]) -> bool:
    """Whether the list after a question is of sub-questions or choices, not of remarks."""
    items = list(takewhile(lambda block: block.marker, rest))
    return bool(items) and bool(_CHOICES.search(stem) or any(_whole(item.text) for item in items))


def _more_tasks(rest: list[_Block]) -> list[str]:
    """Paragraphs that go on with the question: "Support your answer with ..."."""
    going_on = takewhile(lambda block: not block.marker and not block.is_new, rest)
    return [
        block.text
        for block in takewhile(lambda block: SETTING.match(block.text), going_on)
        if segmentation.ends_sentence(block.text)
    ]


def _whole(paragraph: str) -> str:
    """Its premise and its question or task, without remarks; "" where it asks nothing whole."""
    spans = list(segmentation.sentence_spans(paragraph))
    parts = [paragraph[start:end] for start, end in spans]
    first = next((place for place, part in enumerate(parts) if _is_whole_question(part)), None)
    if first is None:
        return ""
    begin = next(n for n, part in enumerate(parts) if n == first or not _is_interjection(part))
    going_on = list(
        takewhile(
            lambda part: _calls(part) and (_asks(part) or segmentation.ends_sentence(part)),
            parts[first + 1 :],
        )
    )
    if 1 + sum(map(_asks, going_on)) > MOST_TOGETHER:
        going_on = []
    return paragraph[spans[begin][0] : spans[first + len(going_on)][1]]


def _is_interjection(sentence: str) -> bool:
    """Whether it is too short for a premise: "Good."."""
    return not _calls(sentence) and len(list(segmentation.words(sentence))) < MIN_WORDS


def _is_whole_question(sentence: str) -> bool:
    if _asks(sentence):
        return True
    is_ended = segmentation.ends_sentence(sentence) or sentence.endswith((":", "："))
    return is_ended and bool(TASK.search(sentence))


def _calls(sentence: str) -> bool:
    return bool(_asks(sentence) or TASK.search(sentence) or SETTING.match(sentence))


def _asks(sentence: str) -> bool:
    return segmentation.asks(sentence.rstrip("!！")) or bool(ASKS_WITHOUT_MARK.search(sentence))


def _points_out(question: str) -> bool:
    """Whether it says "this" or "the material" before it has named anything."""
    for found in POINTING.finditer(question):
        clauses = [clause.end() for clause in _CLAUSE.finditer(question, 0, found.start())]
        named = question[: clauses[-1]] if clauses else ""
        if len(list(segmentation.words(named))) < MIN_WORDS:
            return True
    return False


def _plain(line: str) -> str:
    """A line without emphasis, spaces made one."""
    for pattern in _EMPHASIS:
        line = pattern.sub(r"\1", line)
    return " ".join(line.lstrip("#").split())


def _unquoted(question: str) -> str:
    question = question.strip().strip("*").strip()
    closing = _QUOTES.get(question[:1], "")
    if closing and (question[-1] in closing or not set(closing) & set(question[1:])):
        question = question[1:].rstrip(closing)
    elif question.endswith(('"', "”")) and not set(question[:-1]) & set('"“'):
        question = question[:-1]
    return question.strip()


def _capitalised(question: str) -> str:
    """With a capital, where it begins with a common word: not pH, mRNA or α-keratin."""
    word = re.match(r"[^\W\d_]+", question)
    if word and len(word.group()) > 1 and word.group().islower():
        return question[0].upper() + question[1:]
    return question
