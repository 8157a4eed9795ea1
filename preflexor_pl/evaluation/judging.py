"""Win rates by a judge, and how reliable that judge is.

The judge is tested first: a corrupted answer must lose, and a verdict must not depend on the order
of the two answers.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from preflexor_pl.core.progress import stage
from preflexor_pl.evaluation.comparison import ENDS, Measured, Row
from preflexor_pl.evaluation.intervals import Estimate, mean, rate
from preflexor_pl.evaluation.text_metrics import mismatched_partners
from preflexor_pl.pairs.judge import AnswerPair, PairwiseJudge, PairwiseVerdict

Outcome = tuple[Estimate, list[PairwiseVerdict], list[AnswerPair]]  # a win rate, and of what


def judge_models(
    judge: PairwiseJudge,
    questions: Sequence[str],
    taught: Sequence[str],
    wrong: Sequence[tuple[str, str, str]],
    measured: Sequence[Measured],
    seed: int,
) -> tuple[dict[str, Estimate], list[dict[str, Any]]]:
    """Put win rates into the rows: over the first model, and over each model's first answers.

    Args:
        judge: compares the answers; it is tested first.
        questions: N held-out questions.
        taught: N answers of the teacher, for the control.
        wrong: question, right answer and wrong answer, for the control.
        measured: the models, the baseline first; their rows get ``wins_over_base`` and
            ``wins_over_first``.
        seed: of corruptions and bootstraps.

    Returns:
        The result of ``control``, with how often the orders agreed, ties occurred and replies were
        readable in the contests themselves; a record of every contest.
    """
    contests = list(_contests(measured))
    with stage(f"judging, by {judge.generator.name}", len(contests) + 1) as progress:
        reliability, records = control(judge, questions, taught, wrong, seed)
        progress.advance()
        every: list[PairwiseVerdict] = []
        outcomes: dict[tuple[str, ...], Outcome] = {}  # two variants share their first answers
        for row, ours, measure, theirs in contests:
            texts = *ours, *theirs
            if texts not in outcomes:
                outcomes[texts] = win_rate(judge, questions, ours, theirs, seed)
            row.measures[measure], verdicts, judged = outcomes[texts]
            records += contest_records(f"{row.label} {measure}", judged, verdicts)
            every += verdicts
            progress.advance()
    reliability["in the contests: orders agree"] = rate([verdict.agrees for verdict in every])
    reliability["in the contests: ties"] = rate([verdict.score == 0.5 for verdict in every])
    reliability["in the contests: readable"] = rate([verdict.is_readable for verdict in every])
    return reliability, records


def _contests(measured: Sequence[Measured]) -> Iterator[tuple[Row, list[str], str, list[str]]]:
    """A row, its answers, the measure that a contest gives it, and the answers to beat."""
    base = measured[0].answers[0].stages["0"]
    for one in measured:
        for answers in one.answers:
            for row in (row for row in one.rows if row.variant == answers.variant):
                ours = answers.stages[row.stage]
                if one is not measured[0] and row.stage in ENDS:
                    yield row, ours, "wins_over_base", base
                if row.stage != "0":
                    yield row, ours, "wins_over_first", answers.stages["0"]


def shuffled(answer: str, seed: int) -> str:
    """The answer with its words in random order."""
    words = answer.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


def control(
    judge: PairwiseJudge,
    questions: Sequence[str],
    answers: Sequence[str],
    wrong: Sequence[tuple[str, str, str]],
    seed: int,
) -> tuple[dict[str, Estimate], list[dict[str, Any]]]:
    """How often a corrupted answer loses, and how often the verdicts of both orders agree.

    Args:
        judge: that is tested.
        questions: N, at least two.
        answers: N good answers: the teacher's.
        wrong: question, right answer, wrong answer; may be empty.
        seed: of the corruptions.

    Returns:
        (``corrupted loses: words shuffled``, ``corrupted loses: answer of another question``,
        ``corrupted loses: wrong fact`` where there are any, ``orders agree``, ``readable`` with
        their intervals; a record of each contest).
    """
    partners = mismatched_partners(len(questions), seed)
    good = list(zip(questions, answers, strict=True))
    corruptions = {
        "words shuffled": [
            AnswerPair(q, a, shuffled(a, seed + i)) for i, (q, a) in enumerate(good)
        ],
        "answer of another question": [
            AnswerPair(q, a, answers[partner])
            for (q, a), partner in zip(good, partners, strict=True)
        ],
        "wrong fact": [AnswerPair(*three) for three in wrong],
    }
    reliability: dict[str, Estimate] = {}
    all_verdicts: list[PairwiseVerdict] = []
    records: list[dict[str, Any]] = []
    for name, contests in corruptions.items():
        if not contests:
            continue
        verdicts = judge.compare(contests)
        reliability[f"corrupted loses: {name}"] = rate([v.score == 1 for v in verdicts])
        all_verdicts += verdicts
        records += contest_records(f"control: {name}", contests, verdicts)
    reliability["orders agree"] = rate([verdict.agrees for verdict in all_verdicts])
    reliability["readable"] = rate([verdict.is_readable for verdict in all_verdicts])
    return reliability, records


def win_rate(
    judge: PairwiseJudge,
    questions: Sequence[str],
    ours: Sequence[str],
    theirs: Sequence[str],
    seed: int,
) -> Outcome:
    """Mean score of ``ours`` against ``theirs``; a tie counts one half.

    Two equal texts are a tie, and the judge is not asked.
    """
    contests = [AnswerPair(*three) for three in zip(questions, ours, theirs, strict=True)]
    differing = [c for c in contests if c.first.split() != c.second.split()]
    verdicts = judge.compare(differing) if differing else []
    scores = [verdict.score for verdict in verdicts] + [0.5] * (len(contests) - len(differing))
    return mean(scores, seed), verdicts, differing


def contest_records(
    name: str, contests: Sequence[AnswerPair], verdicts: Sequence[PairwiseVerdict]
) -> list[dict[str, Any]]:
    """One record a contest, with the judge's replies."""
    return [
        {"contest": name, **asdict(contest), "score": verdict.score, **asdict(verdict)}
        for contest, verdict in zip(contests, verdicts, strict=True)
    ]
