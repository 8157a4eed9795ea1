"""Reading a decoded response: its thinking, its reflection, its answer, and what is wrong with it.

The form that training asks for is `<|thinking|> ... <|/thinking|> answer`, and in the reflection
phase `<|thinking|> ... <|/thinking|> <|reflect|> ... <|/reflect|> answer`. A model may write
anything else, so every string has a defined reading. The rules are those of the thinking masks:

- a section runs from an opening marker to the closing one that balances it, so nested sections
  count as the outermost; one that is never closed runs to the end;
- a closing marker without an opening is no section;
- the answer is what follows the last closing marker, the whole response where there is no marker,
  and None where a section is still open at the end: thinking is never taken for an answer.
"""

from dataclasses import dataclass
from itertools import pairwise

from preflexor_pl.core.markers import DEFAULT, MarkerStrings


@dataclass(frozen=True)
class ParsedResponse:
    """What a response consists of; all texts are stripped and free of markers.

    Attributes:
        thinking: The first thinking section; None where there is none, "" where it is empty.
        reflection: The first reflection section, likewise.
        answer: The answer; None where a section is still open at the end, "" where it is empty.
        problems: Slugs, each at most once, in this order: ``no_thinking``, ``unclosed_thinking``,
            ``unclosed_reflection``, ``close_without_open``, ``nested``, ``several_sections``,
            ``text_before_thinking``, ``text_between_sections``, ``reflection_before_thinking``,
            ``empty_thinking``, ``empty_reflection``, ``empty_answer``. None of them for either of
            the two forms that training asks for.
    """

    thinking: str | None
    reflection: str | None
    answer: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Section:
    start: int  # of the opening marker
    end: int  # past the closing marker, or the end of the text
    text: str


@dataclass(frozen=True)
class _Sections:
    found: tuple[_Section, ...]
    unclosed: bool
    orphan_close: bool


def parse_response(text: str, markers: MarkerStrings = DEFAULT) -> ParsedResponse:
    """Split a response into thinking, reflection and answer; total, no string makes it raise.

    Args:
        text: The response alone, decoded with its markers: no prompt, no chat header, no eos.
            Whitespace around it and around each part does not matter.
        markers: that it was written with.
    """
    thinking = _sections(text, "thinking", markers)
    reflection = _sections(text, "reflection", markers)
    answer = None
    if not (thinking.unclosed or reflection.unclosed):
        # Nothing is open, so the last marker closes.
        answer = markers.pattern.split(text)[-1].strip()
    return ParsedResponse(
        thinking=thinking.found[0].text if thinking.found else None,
        reflection=reflection.found[0].text if reflection.found else None,
        answer=answer,
        problems=_problems(text, markers, thinking, reflection, answer),
    )


def answer_of(response: str, markers: MarkerStrings = DEFAULT) -> str:
    """The answer in a response; "" where it ends before there is one."""
    return parse_response(response, markers).answer or ""


def _kinds(markers: MarkerStrings) -> dict[str, tuple[str, str]]:
    """The opening and the closing marker of each kind of section."""
    return {
        "thinking": (markers.think_start, markers.think_end),
        "reflection": (markers.reflect_start, markers.reflect_end),
    }


def _sections(text: str, kind: str, markers: MarkerStrings) -> _Sections:
    """The outermost sections of one kind; markers of the other kind are looked through."""
    opening, closing = _kinds(markers)[kind]
    found: list[_Section] = []
    depth, start, inner, orphan_close = 0, 0, 0, False
    for match in markers.pattern.finditer(text):
        if match.group() == opening:
            if depth == 0:
                start, inner = match.span()
            depth += 1
        elif match.group() == closing and depth == 0:
            orphan_close = True
        elif match.group() == closing:
            depth -= 1
            if depth == 0:
                inside = _plain(text[inner : match.start()], markers)
                found.append(_Section(start, match.end(), inside))
    if depth > 0:
        found.append(_Section(start, len(text), _plain(text[inner:], markers)))
    return _Sections(tuple(found), unclosed=depth > 0, orphan_close=orphan_close)


def _plain(text: str, markers: MarkerStrings) -> str:
    # A space, not nothing: the two sides of a deleted marker could join into a new marker.
    return markers.pattern.sub(" ", text).strip()


def _problems(
    text: str,
    markers: MarkerStrings,
    thinking: _Sections,
    reflection: _Sections,
    answer: str | None,
) -> tuple[str, ...]:
    before = markers.pattern.split(text, maxsplit=1)[0].strip()
    sections = sorted(thinking.found + reflection.found, key=lambda section: section.start)
    gaps = [text[left.end : right.start] for left, right in pairwise(sections)]
    between = any(_plain(gap, markers) for gap in gaps)
    reordered = (
        thinking.found and reflection.found and reflection.found[0].start < thinking.found[0].start
    )
    present = {
        "no_thinking": not thinking.found,
        "unclosed_thinking": thinking.unclosed,
        "unclosed_reflection": reflection.unclosed,
        "close_without_open": thinking.orphan_close or reflection.orphan_close,
        "nested": _is_nested(text, markers),
        "several_sections": len(thinking.found) > 1 or len(reflection.found) > 1,
        "text_before_thinking": bool(thinking.found and before),
        "text_between_sections": between,
        "reflection_before_thinking": bool(reordered),
        "empty_thinking": any(not section.text for section in thinking.found),
        "empty_reflection": any(not section.text for section in reflection.found),
        "empty_answer": answer == "",
    }
    return tuple(slug for slug, is_present in present.items() if is_present)


def _is_nested(text: str, markers: MarkerStrings) -> bool:
    """Whether any section opens inside another, of its own kind or of the other one."""
    kinds = _kinds(markers)
    depths = dict.fromkeys(kinds, 0)
    for match in markers.pattern.finditer(text):
        for kind, (opening, closing) in kinds.items():
            if match.group() == opening:
                if any(depths.values()):
                    return True
                depths[kind] += 1
            elif match.group() == closing:
                depths[kind] = max(0, depths[kind] - 1)
    return False
