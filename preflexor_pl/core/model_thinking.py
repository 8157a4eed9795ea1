"""Separates the reply of a reasoning model from the thoughts that it writes before it.

Each family of models marks its thoughts with its own tags. ``TAGS`` lists them; a user can name
others. A text that only mentions such tags is left unchanged: tags in code, in the middle of a
sentence, or around a word or two do not mark thoughts.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from preflexor_pl.core.generator import FinishReason, Request
from preflexor_pl.core.special_tokens import DOT

NAMES = "think", "thinking", "thought", "thoughts", "reasoning"  # as <name>, any case, attributes
TAGS = (
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    (r"<seed:think>", r"</seed:think>"),  # Seed-OSS
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # Sky-T1, OpenThinker
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Command A Reasoning
    (r"<\|channel>thought", r"<channel\|>"),  # Gemma 4
    (r"◁think▷", r"◁/think▷"),  # Kimi-VL
    (r"<unused94>", r"<unused95>"),  # MedGemma
    (
        r"Here(?: is|['\u2019]s) my thought process:",
        r"Here(?: is|['\u2019]s) my response:",
    ),  # Granite 3.2
)
ONLY_THINKING, THINKING_CUT = "only_thinking", "cut_while_thinking"  # why a text is of no use
MENTION = 3  # up to so many words between two tags on a line only mention the tags

Found = Literal["", "closed", "open"]  # whether there were thoughts, and whether they ended

_CODE = re.compile(r"```.*?```|~~~.*?~~~|`[^`\n]+`", re.DOTALL)
_WRAPPED = re.compile(r"\A<(answer|response|output)>(.*)</\1>\s*\Z", re.DOTALL | re.IGNORECASE)
_CHANNEL = rf"<{DOT}?\|channel\|>"
_HARMONY = re.compile(
    rf"\s*(?:<{DOT}?\|start\|>\s*assistant\s*)?{_CHANNEL}|.*?assistant{_CHANNEL}", re.DOTALL
)
_FINAL = re.compile(rf"{_CHANNEL}\s*final\b[^<]*<{DOT}?\|message\|>")
_TURN = re.compile(rf"<{DOT}?\|(?:end|return|start|call)\|>")
_BARE_HARMONY = re.compile(r"\s*analysis(?=[A-Z\"'(])(?:.*?assistantfinal|.*\Z)", re.DOTALL)
_STARTS = re.compile(r"(?:\A|\n|[.!?\u2026])[ \t]*\Z")  # what may stand before thoughts
_GOES_ON = re.compile(r"[ \t]+[a-z]|[ \t]*[,;:.)`\"'\u2019\u201d]")  # a sentence about the tag


@dataclass(frozen=True)
class ThinkingTags:
    """The tags with which one family of models marks its thoughts."""

    opening: re.Pattern[str]
    closing: re.Pattern[str]


def thinking_tags(opening: str, closing: str) -> ThinkingTags:
    """Tags of two patterns; they match also where their first character is escaped."""
    both = (re.sub(r"\A\\?.", rf"\g<0>{DOT}?", text) for text in (opening, closing))
    return ThinkingTags(*(re.compile(text, re.IGNORECASE) for text in both))


def all_thinking_tags(tags: Sequence[str] = ()) -> tuple[ThinkingTags, ...]:
    """``TAGS``, after the user's own ``tags``, such as ``notes`` or ``<<notes>> <</notes>>``."""
    pairs = [tag.split(" ") for tag in tags if " " in tag]
    names = [re.escape(tag) for tag in (*(tag for tag in tags if " " not in tag), *NAMES)]
    name = f"(?:{'|'.join(names)})"  # some models close another one of them than they opened
    tagged = [(rf"<{name}(?:\s[^<>]*)?>", rf"</{name}\s*>")]
    own = [(re.escape(opening), re.escape(closing)) for opening, closing in pairs]
    return tuple(thinking_tags(*pair) for pair in (*own, *tagged, *TAGS))


def strip_thinking(text: str, known: Sequence[ThinkingTags]) -> tuple[str, Found]:
    """The reply in a text, without the thoughts before it, and whether there were any.

    Text before the thoughts is dropped with them; thoughts that do not end leave no reply.
    """
    reply, found = _without_channels(text)
    again = not found
    while again:
        again = False
        for one in known:
            end = _end(reply, one)
            if end is not None:
                reply, found, again = reply[end:].lstrip(), "closed", True
                if not reply and not _ends_in(text, one):
                    return "", "open"
    wrapped = _WRAPPED.match(reply) if found else None
    return (wrapped[2].strip() if wrapped else reply), found


def _without_channels(text: str) -> tuple[str, Found]:
    """The final channel of a harmony reply (gpt-oss), also where its special tokens are lost."""
    if _HARMONY.match(text):
        final = list(_FINAL.finditer(text))
        return (_TURN.split(text[final[-1].end() :])[0], "closed") if final else ("", "open")
    bare = _BARE_HARMONY.match(text)
    if bare:
        reply = text[bare.end() :]
        return reply, "closed" if bare[0].endswith("assistantfinal") else "open"
    return text, ""


def _end(text: str, one: ThinkingTags) -> int | None:
    """The end of the first thoughts in these tags; None where there are none."""
    first = one.opening.match(text)
    if first and not _is_mention(text, first, one):
        closing = _closing(text, first, one)
        return closing.end() if closing else len(text)
    plain = _CODE.sub(lambda code: "\0" * len(code[0]), text)
    opened = False
    for tag in _tags(plain, one):
        if one.closing.fullmatch(tag[0]):
            if not opened and _is_lone_closing(plain, tag):
                return tag.end()
            continue
        opened = True
        if _STARTS.search(plain[: tag.start()]) and not _is_mention(plain, tag, one):
            closing = _closing(plain, tag, one)
            return closing.end() if closing else len(text)
    return None


def _tags(text: str, one: ThinkingTags) -> Iterator[re.Match[str]]:
    return re.finditer(f"{one.opening.pattern}|{one.closing.pattern}", text, flags=re.IGNORECASE)


def _closing(text: str, opening: re.Match[str], one: ThinkingTags) -> re.Match[str] | None:
    """The tag that balances the opening one; the last one where the thoughts mention tags."""
    depth, last = 1, None
    for tag in _tags(text[opening.end() :], one):
        depth += 1 if one.opening.fullmatch(tag[0]) else -1
        if one.closing.fullmatch(tag[0]):
            last = tag
            if not depth:
                break
    return one.closing.match(text, opening.end() + last.start()) if last else None


def _is_mention(text: str, opening: re.Match[str], one: ThinkingTags) -> bool:
    """Whether the text only mentions the tag: a sentence goes on after it or its closing tag."""
    closing = one.closing.search(text, opening.end())
    if not closing:
        return bool(_GOES_ON.match(text, opening.end()))
    inside = text[opening.end() : closing.start()]
    if "\n" in inside or len(inside.split()) > MENTION:
        at_start = not text[: opening.start()].strip()
        return "\n" not in inside and not at_start and bool(_GOES_ON.match(text, closing.end()))
    return bool(_GOES_ON.match(text, closing.end()))


def _is_lone_closing(text: str, closing: re.Match[str]) -> bool:
    """Whether a closing tag without an opening one ends thoughts that the chat template opened."""
    before, after = text[: closing.start()], text[closing.end() :]
    ends = not before.strip() or re.search(
        r"(?:\n|[.!?\u2026][\"'\u201d\u2019)*]*)[ \t]*\Z|[^\s\0\"'(\u201c\u2018`]\Z", before
    )
    return bool(ends or re.match(r"[ \t]*\n[ \t]*\n|\w", after))


def _ends_in(text: str, one: ThinkingTags) -> bool:
    return any(one.closing.fullmatch(tag[0]) for tag in _tags(text.rstrip()[-200:], one))


def thinking_problem(reply: str, found: Found, finish: FinishReason) -> str:
    """Why there are thoughts and no reply; "" where there is a reply, or neither."""
    if not found or reply.strip():
        return ""
    return THINKING_CUT if finish == "length" else ONLY_THINKING


def thinking_advice(problem: str, switch: str, request: Request) -> str:
    """What a model's thoughts used up, and what to set; follows the model's name.

    Args:
        problem: ``only_thinking`` or ``cut_while_thinking``.
        switch: the key that switches its thinking off, and an example; "" where there is none.
        request: that was not answered.
    """
    most, off = request.sampling.max_new_tokens, ""
    if problem == THINKING_CUT:
        what = f"thought until its max_new_tokens ({most}) were used up, and came to no reply"
    elif request.stop:
        what = "sent only thoughts, which a stop string of the prompt may have cut"
        off = "set data.prompts to large, or "
    else:
        what = "sent only thoughts and no reply"
    off += f"switch its thinking off by {switch}, or " if switch else ""
    return f"{what}: {off}raise max_new_tokens"
