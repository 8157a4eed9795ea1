"""The preference pair, as it stands in a round's ``pairs.jsonl``."""

import json
from collections.abc import Collection
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.special_tokens import escape_special_tokens


@dataclass(frozen=True)
class PreferencePair:
    """One question with a chosen and a rejected response, and where each came from.

    Attributes:
        id: unique in the run.
        prompt: the question with its trigger, without a chat template.
        chosen: thinking section, then the teacher's answer.
        rejected: what the model in training, or the teacher, answered instead.
        round: the round that it was made for; -1 for the held-out set.
        topic: what was asked about; "" for a random draw.
        chunk_ids: the chunks that question and answer rest on, the question's first; with
            ``data.grow`` also an earlier pair, as ``pair:<its id>``.
        teacher: who wrote the chosen response.
        rejected_source: who wrote the rejected one.
        policy_step: optimiser steps that the policy had made when it wrote it.
        seed: of the rejected response's draws.
        finish_reason: of the rejected response; ``length`` means that it has no end of turn.
        grounding: share of the chosen answer's words and numbers that stand in its chunks, see
            ``grounding``; None in files that were written without it.
        invented_numbers: numbers in the chosen answer that stand in no chunk; None likewise.
        item: of the task, whose answer both responses were checked by; None where there is none.
    """

    id: str
    prompt: str
    chosen: str
    rejected: str
    round: int
    topic: str
    chunk_ids: list[str]
    teacher: str
    rejected_source: str
    policy_step: int
    seed: int
    finish_reason: str
    grounding: float | None = None
    invented_numbers: int | None = None
    item: str | None = None

    def to_json(self) -> str:
        """One line of ``pairs.jsonl``."""
        return json.dumps(asdict(self), ensure_ascii=False)


def read_pairs(path: Path) -> list[PreferencePair]:
    """The pairs of a file.

    Raises:
        CorpusError: a line is not a pair; names the file and the line.
    """
    known = fields(PreferencePair)
    pairs = []
    try:  # splitlines would cut at U+2028 in a text
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8: {error}") from error
    for number, line in enumerate(lines if lines[-1] else lines[:-1], 1):
        try:
            record = json.loads(line)
            names = [f.name for f in known if f.default is MISSING or f.name in record]
            pair = PreferencePair(**{name: record[name] for name in names})
            _require_types(pair)
            pairs.append(pair)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise CorpusError(f"{path}:{number} is not a preference pair ({error!r})") from error
    return pairs


def _require_types(pair: PreferencePair) -> None:
    for field in fields(pair):
        value = getattr(pair, field.name)
        kind: Any = field.type
        kinds = get_args(kind) if isinstance(kind, UnionType) else (get_origin(kind) or kind,)
        if type(value) not in kinds:
            raise TypeError(f"{field.name}: a {type(value).__name__}")
        if isinstance(value, int):
            value.to_bytes(8, signed=True)  # no table has a column of more than 64 bits
        for text in value if isinstance(value, list) else [str(value)]:
            str.encode(text)  # a number has no encode, half a surrogate pair has no bytes


def inert_but_markers(
    text: str,
    special_tokens: Collection[str],
    markers: MarkerStrings = DEFAULT,
    wanted: MarkerStrings | None = None,
) -> str:
    """Text in which the markers are markers, and every other control token plain text.

    The one form of untrusted text that may hold markers: a response of a pair that the user gave as
    one, such as a line of ``pairs.jsonl``. The markers become those that are ``wanted``.
    """
    names = dict(zip(markers.all, (wanted or markers).all, strict=True))
    parts = markers.pattern.split(text)
    return "".join(
        names[p] if p in names else escape_special_tokens(p, special_tokens) for p in parts
    )


def marked_as(
    pair: PreferencePair,
    markers: MarkerStrings,
    wanted: MarkerStrings,
    special_tokens: Collection[str],
) -> PreferencePair:
    """A pair in the markers of another model.

    Args:
        pair: whose texts are inert but for its markers.
        markers: that it is written with.
        wanted: that it will be written with.
        special_tokens: strings that must be inert for the other model.
    """
    if markers == wanted:
        return pair
    question = markers.question(pair.prompt)
    trigger = wanted.suffix * (question != pair.prompt)
    return replace(
        pair,
        prompt=escape_special_tokens(question, special_tokens) + trigger,
        chosen=inert_but_markers(pair.chosen, special_tokens, markers, wanted),
        rejected=inert_but_markers(pair.rejected, special_tokens, markers, wanted),
    )


def note_id(pair_id: str) -> str:
    """What ``chunk_ids`` of a later pair call this one."""
    return f"pair:{pair_id}"


def is_note(id: str) -> bool:
    """Whether an id among ``chunk_ids`` is that of an earlier pair; a chunk's has a ``#``."""
    return id.startswith(note_id("")) and "#" not in id


def question_key(text: str) -> str:
    """The same for questions that differ in nothing but case and spaces."""
    return " ".join(text.lower().split())
