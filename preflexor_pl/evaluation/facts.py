"""Questions whose answers can be checked without a judge: facts of the documents, and a control.

A file of items, one JSON object a line: ``id``, ``document`` ("" for a fact that no document is
about), ``kind``, ``question``, ``answer``, three ``distractors``, and ``accept``. A ``choice`` item
has four lettered options; a ``short`` one is an open question, and an answer that contains one of
the ``accept`` strings is right. Both are measured by likelihood too: is the right answer likelier
than the wrong ones?
"""

import json
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.errors import CorpusError
from preflexor_pl.policy.language_model import LanguageModel, Role
from preflexor_pl.policy.scoring import mean_logps
from preflexor_pl.tasks.answer_text import contains, read_option, with_options

OPTIONS = 4
STRATA = ("training", "held out", "control")  # documents of training, those held out, neither


@dataclass(frozen=True)
class Item:
    """One question with a known answer; see the head of this file."""

    id: str
    document: str
    kind: str
    question: str
    answer: str
    distractors: tuple[str, ...]
    accept: tuple[str, ...]

    def options(self, position: int) -> list[str]:
        """The four answers, the right one at ``position``."""
        return [*self.distractors[:position], self.answer, *self.distractors[position:]]

    def prompt(self, position: int) -> str:
        """The question for a model that writes its answer."""
        if self.kind == "short":
            return self.question
        return with_options(self.question, self.options(position))

    def is_right(self, answer: str, position: int) -> bool:
        """Whether a written answer is right; one that names no option is wrong."""
        if self.kind == "short":
            return any(contains(answer, accepted) for accepted in self.accept)
        return read_option(answer, self.options(position)) == position


def read_items(path: Path) -> list[Item]:
    """The items of a file.

    Raises:
        CorpusError: there is no such file, or a line is no item; names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error
    items = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            item = Item(
                id=_text(record["id"]),
                document=_text(record["document"]),
                kind=_text(record["kind"]),
                question=_text(record["question"]),
                answer=_text(record["answer"]),
                distractors=_texts(record["distractors"]),
                accept=_texts(record.get("accept", [])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}:{number} is no item ({error!r})") from error
        problem = _problem(item)
        if problem:
            raise CorpusError(f"{path}:{number}: {problem}")
        items.append(item)
    if not items:
        raise CorpusError(f"{path} holds no items")
    return items


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):  # the letters of a text would be texts too
        raise TypeError(f"{value!r} is no list")
    return tuple(map(_text, value))


def _problem(item: Item) -> str:
    if item.kind not in ("choice", "short"):
        return f"kind is {item.kind!r}, must be choice or short"
    if len(item.distractors) != 3 or len({*item.distractors, item.answer}) != 4:
        return "needs three distractors that differ from the answer and from each other"
    if item.kind == "short" and not item.accept:
        return "a short item needs accept: the strings that make an answer right"
    if not all(map(str.strip, (item.question, item.answer, *item.distractors, *item.accept))):
        return "a question, an answer, distractors and accept must not be empty"
    return ""


def by_stratum(
    items: Sequence[Item],
    training: Collection[str],
    held_out: Collection[str],
    limit: int,
    seed: int,
) -> dict[str, list[Item]]:
    """The items of each stratum, in the order of the file, without those on other documents.

    Args:
        items: of a file.
        training: documents of the training pairs.
        held_out: documents that were held out of training.
        limit: of items a stratum, a random sample; 0 for all.
        seed: of the sample.
    """
    strata: dict[str, list[Item]] = {name: [] for name in STRATA}
    documents = dict(zip(STRATA, (training, held_out, ("",)), strict=True))
    for item in items:
        for name, chosen in documents.items():
            if item.document in chosen:
                strata[name].append(item)
    if limit:
        for name, members in strata.items():
            if len(members) > limit:
                sample = sorted(random.Random(seed).sample(range(len(members)), limit))
                strata[name] = [members[i] for i in sample]
    return strata


def key_positions(count: int, seed: int) -> list[int]:
    """Positions of the right option in ``count`` items, each position equally often."""
    positions = [i % OPTIONS for i in range(count)]
    random.Random(seed).shuffle(positions)
    return positions


def likeliest(
    model: LanguageModel, items: Sequence[Item], system_prompt: str | None, role: Role = "policy"
) -> list[bool]:
    """Whether the right answer of each item has the highest mean log-prob of the four.

    The four are scored as whole responses to the question, without trigger and thinking.
    """
    rows: list[tuple[list[int], list[int]]] = []
    for item in items:
        prompt = chat_ids(model.tokenizer, item.question, system_prompt)
        texts = [option[0].upper() + option[1:] for option in item.options(0)]
        rows += [(prompt, encode(model.tokenizer, text)) for text in texts]
    means = mean_logps(model, rows, role)
    fours = [means[i : i + 4] for i in range(0, len(means), 4)]
    return [four[0] > max(four[1:]) for four in fours]
