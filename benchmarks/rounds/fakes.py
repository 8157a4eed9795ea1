"""Rounds with a real teacher's client, but without a model's rejected answers or an embedder."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preflexor_pl.core.generator import Completion, Generator, Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import TeacherSettings, ThinkingSettings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.pairs.correctness import WordOverlapJudge
from preflexor_pl.pairs.maker import Order, PairMaker
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.questions import EmbeddingCache
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.writers import Measures, Writers

BATCH = 2  # rejected answers


class InstantPolicy:
    """Stands for the policy: every rejected answer is the same text, at once."""

    name = "policy"

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Neighbours, ``BATCH`` at a time."""
        numbers = list(range(len(requests)))
        return [numbers[start : start + BATCH] for start in numbers[::BATCH]]

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """The same text for each request."""
        text = "I think that specimen is simply strong."
        return [Completion(text, "stop", len(text.split())) for _ in requests]


class HashEmbedder:
    """Stands for the embedder: a random vector [64] for each text, fixed by the text's digest."""

    identity = "hash"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [N, 64]."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
        return np.array([np.random.default_rng(s).normal(size=64) for s in seeds], np.float32)


def pair_maker(teacher: Generator, policy: Generator, corpus: CorpusIndex, pairs: int) -> PairMaker:
    """Makes rounds of about ``pairs`` pairs; a text counts as many tokens as it has words."""
    categories = {"Steps": "the steps", "Concepts": "the concepts"}
    settings = PairSettings(
        topics=3 * pairs,
        questions_per_topic=1,
        chunks_per_context=1,
        enrich_chunks=1,
        rejected="policy",
        rejected_trigger=False,
        rejected_sampling=_sampling(44),
        reflection=False,
        system_prompt="Be brief.",
        teacher=TeacherSettings("Teach.", _sampling(41), _sampling(43), _sampling(45)),
        thinking=ThinkingSettings(categories, _sampling(42), min_tokens=1),
    )
    return PairMaker(
        settings,
        corpus,
        EmbeddingCache(corpus.embedder.encode),
        Writers(teacher, policy, WordOverlapJudge()),
        Measures(lambda text: len(text.split()), lambda pair: "", lambda pairs: [0.0] * len(pairs)),
        seed=5,
    )


def _sampling(tokens: int) -> Sampling:
    return Sampling(max_new_tokens=tokens, temperature=0.25)


def make_round(maker: PairMaker, folder: Path, pairs: int) -> list[PreferencePair]:
    """The first round, over the whole corpus."""
    return maker.make(folder, Order(0, pairs, list(maker.library.chunks)))
