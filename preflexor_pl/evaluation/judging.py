"""Who answers better, by a judge; and how far that judge can be relied on.

A judge is believed as far as its controls go: a corrupted answer must lose, and a verdict must not
hang on which answer stands first.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from preflexor_pl.evaluation.estimates import Estimate, mean, rate
from preflexor_pl.evaluation.text_metrics import mismatched_partners
from preflexor_pl.pairs.judge import Contest, Judge, Verdict


def shuffled(answer: str, seed: int) -> str:
    """The answer with its words in another order: the same words, no sense."""
    words = answer.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


def control(
    judge: Judge, questions: Sequence[str], answers: Sequence[str], seed: int
) -> tuple[dict[str, Estimate], list[dict[str, Any]]]:
    """How often the judge lets a corrupted answer lose, and how often its two orders agree.

    Args:
        judge: under control.
        questions: N, at least two.
        answers: N good answers: the teacher's.
        seed: of the corruptions.

    Returns:
        (``corrupted loses: words shuffled``, ``corrupted loses: answer of another question``,
        ``orders agree``, ``readable`` with their intervals; a record of each contest).
    """
    partners = mismatched_partners(len(questions), seed)
    corruptions: dict[str, Callable[[int], str]] = {
        "words shuffled": lambda i: shuffled(answers[i], seed + i),
        "answer of another question": lambda i: answers[partners[i]],
    }
    found: dict[str, Estimate] = {}
    all_verdicts: list[Verdict] = []
    records: list[dict[str, Any]] = []
    for name, corrupt in corruptions.items():
        contests = [Contest(q, answers[i], corrupt(i)) for i, q in enumerate(questions)]
        verdicts = judge.compare(contests)
        found[f"corrupted loses: {name}"] = rate([v.score == 1 for v in verdicts])
        all_verdicts += verdicts
        records += recorded(f"control: {name}", contests, verdicts)
    found["orders agree"] = rate([verdict.agrees for verdict in all_verdicts])
    found["readable"] = rate([verdict.is_readable for verdict in all_verdicts])
    return found, records


def win_rate(
    judge: Judge, questions: Sequence[str], ours: Sequence[str], theirs: Sequence[str], seed: int
) -> tuple[Estimate, list[Verdict], list[Contest]]:
    """Mean score of ``ours`` against ``theirs``; a tie counts one half.

    Two equal texts are a tie without asking.
    """
    contests = [Contest(*three) for three in zip(questions, ours, theirs, strict=True)]
    differing = [c for c in contests if c.first.split() != c.second.split()]
    verdicts = judge.compare(differing) if differing else []
    scores = [verdict.score for verdict in verdicts] + [0.5] * (len(contests) - len(differing))
    return mean(scores, seed), verdicts, differing


def recorded(
    name: str, contests: Sequence[Contest], verdicts: Sequence[Verdict]
) -> list[dict[str, Any]]:
    """One record a contest, with the judge's replies."""
    return [
        {"contest": name, **asdict(contest), "score": verdict.score, **asdict(verdict)}
        for contest, verdict in zip(contests, verdicts, strict=True)
    ]
