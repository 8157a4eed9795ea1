"""How the teacher's and the judge's replies are read, and put together to a chosen response."""

import re
from typing import Literal

from preflexor_pl.core import segmentation
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.pairs.reply_checks import refuses, unfinished

CorrectnessVerdict = Literal["right", "wrong", ""]  # "": the judge did not say

MIN_WORDS = 4  # of a thought or an answer
MAX_KNOWN = 0.8  # share of a criticism's words that the thinking may have already

_WORD = re.compile(r"\w+")
_RULING = re.compile(  # "not right", "partly right" and "right or wrong" are no ruling
    r"\W*(?:(?:the|this|answer|to|examine|verdict|is|it)\W+){0,6}(right|correct|wrong|incorrect)\b"
    r"(?!\W+(?:or|and|but)\b)",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^([ \t>*+-]*|\d+[.)] )\*\*([^*\n]+?)\*\*[ \t]*[:\uff1a]", re.MULTILINE)
_OWN_LINE = re.compile(r"[-*+\u2022] |\d{1,3}[.)] |\||#|```|~~~|> |\$\$|\\\[|\\begin")
_CLOSED = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\u0964][\"'\u201d\u2019\u00bb)\]*_]*$|\$\$$|\\\]$|\||:$|^$"
)  # one line needs no full stop


def read_block(text: str, name: str = "") -> tuple[str, str]:
    """A block of the thinking section, and why it cannot be used, as for a question.

    Paragraphs, lists, tables and formulas stay as they are. A heading that says the block's name
    again is taken off, and ``**Heading**:`` at the beginning of a line becomes ``**Heading:**``,
    because the former is how a block begins.

    Args:
        text: of the reply.
        name: of the block's category.
    """
    block = _HEADING.sub(r"\1**\2:**", _without_heading(text.strip(), name))
    reason = _problem(block, "sentence_too_short")
    if not reason and "\n" not in block and not _CLOSED.search(block):
        block += "."
    return block, reason


def read_critique(text: str, thinking: str) -> tuple[str, str]:
    """The criticism in a reply, and why it cannot be used, as for a question.

    One whose words nearly all stand in the thinking says it again and criticises nothing.
    """
    sentence, reason = read_block(text)
    words = set(_WORD.findall(sentence.lower()))
    known = words & set(_WORD.findall(thinking.lower()))
    if not reason and len(known) > MAX_KNOWN * len(words):
        reason = "repeats_thinking"
    return sentence, reason


def read_answer(text: str) -> tuple[str, str]:
    """The answer in a reply, and why it cannot be used, as for a question."""
    answer = text.strip()
    return answer, _problem(answer, "answer_too_short")


def read_verdict(reply: str) -> CorrectnessVerdict:
    """The ruling that a reply begins with; "" where none stands there."""
    found = _RULING.match(reply)
    if not found:
        return ""
    return "right" if found.group(1).lower() in ("right", "correct") else "wrong"


def _problem(text: str, too_short: str) -> str:
    """Why a reply cannot be used; "" where it can."""
    if refuses(text):
        return "refusal"
    if len(list(segmentation.words(text))) < MIN_WORDS:
        return too_short
    return unfinished(text)


def _without_heading(text: str, name: str) -> str:
    """The text without a first line, or a first label, that only says ``name``."""
    if not name:
        return text
    label = rf"[#*_\s]*{re.escape(name)}[*_]*(?:[ \t]*[:\uff1a][*_]*\s*|[ \t]*\n\s*)"
    return re.sub(rf"\A{label}", "", text, flags=re.IGNORECASE).strip() or text


def thinking_text(blocks: dict[str, str]) -> str:
    """The blocks of a thinking section, without its markers.

    A list, a table, a formula or code begins on a line of its own, or it would be none.
    """
    parts = []
    for name, text in blocks.items():
        block = text.strip()
        parts.append(f"**{name}**:{chr(10) if _OWN_LINE.match(block) else ' '}{block}")
    return "\n\n".join(parts)


def chosen_response(
    blocks: dict[str, str],
    answer: str,
    reflection: str = "",
    markers: MarkerStrings = DEFAULT,
) -> str:
    """A whole chosen response: thinking section, reflect section if there is one, the answer."""
    return thought_response(thinking_text(blocks), answer, reflection, markers)


def thought_response(
    thinking: str, answer: str, reflection: str = "", markers: MarkerStrings = DEFAULT
) -> str:
    """A response with its thinking section, reflect section if there is one, and the answer."""
    parts = [markers.think_start, thinking, markers.think_end]
    if reflection:
        parts += [markers.reflect_start, reflection.strip(), markers.reflect_end]
    return "\n".join([*parts, answer.strip()])
