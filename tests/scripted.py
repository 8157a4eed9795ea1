"""Generators that answer by a script, and a library without an index: rounds without a model.

A request's kind is known by its length limit, its subject by the word after ``subject:``.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from preflexor_pl.core.generator import Completion, Generator, Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import TeacherSettings, ThinkingSettings
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.pairs.correctness import CorrectnessJudge, WordOverlapJudge
from preflexor_pl.pairs.maker import Order, PairMaker
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.planning import EarlierRounds
from preflexor_pl.pairs.questions import EmbeddingCache
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.writers import Measures, Writers

LIMITS = {"question": 41, "thinking": 42, "answer": 43, "rejected": 44, "reflection": 45}
FIRST = 0.25  # temperature of a first try: a second one is asked warmer
SUBJECTS = ["silk", "nacre", "bone", "gecko", "spider", "mussel", "wood", "coral"]

GOOD = {
    "question": "How does {} carry its load?",
    "thinking": "First {} takes the load, then it spreads it.",
    "answer": "The layers of {} share the load.",
    "rejected": "I think that {} is simply strong.",
    "reflection": "The reasoning leaves out how {} ends up broken.",
}

Reply = Callable[[str, str, bool], str | Completion | None]  # kind, subject, whether asked again


class Killed(Exception):
    """Stands for the end of a process."""


@dataclass
class Scripted:
    """A generator that says ``GOOD``, or what ``reply`` gives instead.

    ``lives``: batches until the process dies; the list may be shared by several generators.
    """

    name: str
    reply: Reply = lambda kind, subject, again: None
    batch_size: int = 2
    lives: list[int] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        places = list(range(len(requests)))
        return [places[i : i + self.batch_size] for i in range(0, len(places), self.batch_size)]

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        if self.lives:
            if self.lives[0] == 0:
                raise Killed
            self.lives[0] -= 1
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Completion:
        kind = kind_of(request)
        subject = re.search(r"subject: *(\w+)|How does (\w+)", request.prompt).expand(r"\1\2")
        made = self.reply(kind, subject, request.sampling.temperature != FIRST)
        made = GOOD[kind].format(subject) if made is None else made
        return Completion(made, "stop", len(made.split())) if isinstance(made, str) else made


def kind_of(request: Request) -> str:
    """Stage of the round that a request belongs to."""
    return {limit: kind for kind, limit in LIMITS.items()}[request.sampling.max_new_tokens]


class Shelf:
    """A library of one chunk a subject, drawn in their order; every search finds the last one."""

    def __init__(self, subjects: Sequence[str] = SUBJECTS, text: str = "It is tough.") -> None:
        made = [
            Chunk(f"{s}.md#0", f"{s}.md", f"{text} subject: {s}", 0, 9, "A title") for s in subjects
        ]
        self.chunks = {chunk.id: chunk for chunk in made}
        self._next = iter(made * 99)

    identity = "shelf"

    @property
    def embedder(self) -> "Shelf":
        return self

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """A direction of its own for every text."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
        return np.array([np.random.default_rng(s).normal(size=64) for s in seeds], np.float32)

    def context(
        self, k: int, seed: int, within: Collection[str], start: str | None, walk: bool
    ) -> list[Chunk]:
        return [next(self._next)]

    def ranked(self, text: str, k: int, within: Collection[str]) -> list[tuple[Chunk, float]]:
        return [(chunk, 0.5) for chunk in self.search(text, k, within)]

    def search(self, text: str, k: int, within: Collection[str]) -> list[Chunk]:
        return list(self.chunks.values())[::-1][:k]


def scripted_settings(**changes: Any) -> PairSettings:
    """Eight draws, two categories, and the limits that tell the stages apart."""
    limits = {
        kind: Sampling(max_new_tokens=limit, temperature=FIRST) for kind, limit in LIMITS.items()
    }
    categories = {"Steps": "the steps", "Concepts": "the concepts"}
    thinking = ThinkingSettings(categories, limits["thinking"], changes.pop("min_tokens", 1))
    values = {
        "topics": 8,
        "questions_per_topic": 1,
        "chunks_per_context": 1,
        "enrich_chunks": 0,
        "rejected": "policy",
        "rejected_trigger": False,
        "reflection": False,
        "rejected_sampling": limits["rejected"],
        "system_prompt": "Be brief.",
        "teacher": TeacherSettings(
            "Teach.", limits["question"], limits["answer"], limits["reflection"]
        ),
        "thinking": thinking,
    }
    return PairSettings(**values | changes)


def scripted_maker(
    teacher: Generator | Reply | None = None,
    policy: Generator | Reply | None = None,
    library: Any = None,
    special_tokens: Collection[str] = (),
    problem: Callable[[Any], str] = lambda pair: "",
    likelihood: Callable[[Any], list[float]] = lambda pairs: [0.0] * len(pairs),
    examiner: CorrectnessJudge | None = None,
    **changes: Any,
) -> PairMaker:
    """A maker whose texts count as many tokens as they have words."""
    speakers = [
        given if hasattr(given, "complete") else Scripted(name, *([given] if given else []))
        for name, given in (("teacher", teacher), ("policy", policy))
    ]
    return PairMaker(
        scripted_settings(**changes),
        library or Shelf(),
        EmbeddingCache((library or Shelf()).embedder.encode),
        Writers(*speakers, judge=examiner or WordOverlapJudge(), special_tokens=special_tokens),
        Measures(lambda text: len(text.split()), problem, likelihood),
        seed=5,
    )


def write_corpus(folder: Path, count: int) -> None:
    """So many documents there, a subject each."""
    folder.mkdir()
    for name in SUBJECTS[:count]:
        text = (
            f"This document has the subject: {name}. It is a tough material of animals and plants. "
            f"Its layers share the load, so that {name} bends for a long while before it breaks."
        )
        (folder / f"{name}.md").write_text(text)


def make_round(
    maker: PairMaker,
    folder: Path,
    wanted: int = 2,
    index: int = 2,
    asked: Sequence[str] = (),
    policy_step: int = 0,
) -> list[PreferencePair]:
    """A round over the whole library."""
    within, past = list(maker.library.chunks), EarlierRounds(tuple(asked))
    return maker.make(folder, Order(index, wanted, within, lambda: past, policy_step))
