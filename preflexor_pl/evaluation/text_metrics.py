"""What can be measured on generated text without a judge: form, variety, repetition, topic.

Every share is in [0, 1]; the share of nothing is nan, so that an empty evaluation cannot look like
a result. None of these says whether an answer is true.
"""

import math
import random
from collections.abc import Sequence

import numpy as np

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.responses import parse_response

MIN_THINKING_TOKENS = 20  # less is a marker pair with a phrase in it, not thinking


def has_form(
    text: str,
    thinking_tokens: int,
    finished: bool,
    reflection: bool = False,
    markers: MarkerStrings = DEFAULT,
) -> bool:
    """Whether a response has the form that training asks for.

    It begins with exactly one closed thinking section that is long enough, goes on with a non-empty
    answer, and ended by itself. Between the two stands one closed reflection section in a phase
    that trains it, and none in any other.

    Args:
        text: The response, decoded with its markers.
        thinking_tokens: Tokens inside the thinking section, markers not counted.
        finished: Whether generation ended by eos, not by the length limit.
        reflection: Whether the form has a reflection section.
        markers: That it was written with.
    """
    parsed = parse_response(text, markers)
    formed = not parsed.problems and (parsed.reflection is not None) == reflection
    return formed and finished and thinking_tokens >= MIN_THINKING_TOKENS


def distinct(answers: Sequence[str | None]) -> float:
    """Share of answers that are distinct, case and white space aside.

    All empty and missing (None) answers count as one and the same, so 1/N is the floor; a model
    that gives one stock answer to every question scores 1/N too.
    """
    if not answers:
        return math.nan
    return len({" ".join((answer or "").casefold().split()) for answer in answers}) / len(answers)


def repeated_ngrams(text: str, n: int = 4) -> float:
    """Share of the word n-grams of a text that occurred in it before; 0 below n words.

    Raises:
        ValueError: If n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 word, got {n}")
    words = text.casefold().split()
    ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def nearest_is_own(
    answer_vectors: np.ndarray,
    question_vectors: np.ndarray,
    answered: Sequence[bool] | np.ndarray | None = None,
) -> list[bool]:
    """Whether each answer is nearer to its own question than to every other one.

    Chance is 1/N. Near is cosine similarity; a tie, a zero or a non-finite vector is a miss.

    Args:
        answer_vectors: [N, D] embeddings of the answers, of any length.
        question_vectors: [N, D] embeddings of the questions, row by row.
        answered: [N] False where an answer is empty, which is a miss whatever its vector; None
            where there is no empty answer.

    Returns:
        [N]; empty for N < 2, where there is no other question.

    Raises:
        ValueError: If the shapes do not agree.
    """
    answers = np.asarray(answer_vectors, dtype=np.float64)
    questions = np.asarray(question_vectors, dtype=np.float64)
    if answers.ndim != 2 or answers.shape != questions.shape:
        raise ValueError(
            f"answer and question vectors must both be [N, D], got {answers.shape} and "
            f"{questions.shape}"
        )
    n = len(answers)
    mask = np.ones(n, dtype=bool) if answered is None else np.asarray(answered, dtype=bool)
    if mask.shape != (n,):
        raise ValueError(f"answered must be [N] = [{n}], got {list(mask.shape)}")
    if n < 2:
        return []
    similar = _unit(answers) @ _unit(questions).T  # [N, N]
    own = np.diag(similar).copy()
    np.fill_diagonal(similar, -np.inf)
    near = (own[:, None] > similar).all(1)  # nan compares as False
    return [bool(hit) for hit in mask & near]


def wilson_interval(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a rate; honest at 0, at 1 and at small n, as the normal one is not.

    Args:
        hits: Successes, 0 to n; may be fractional where a rate times n is.
        n: Trials.
        z: Normal quantile, 1.96 for 95 %.

    Returns:
        (low, high) within [0, 1]; (0, 1) for n = 0, where nothing is known.

    Raises:
        ValueError: If n < 0 or hits is not within 0 to n.
    """
    if n < 0 or not 0 <= hits <= n:
        raise ValueError(f"need 0 <= hits <= n, got hits={hits}, n={n}")
    if n == 0:
        return 0.0, 1.0
    rate = hits / n
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def mismatched_partners(n: int, seed: int) -> list[int]:
    """A seeded permutation of range(n) without fixed points: row i is paired with another row.

    Raises:
        ValueError: If n < 2: a single row has no other one.
    """
    if n < 2:
        raise ValueError(f"mismatched partners need at least 2 rows, got {n}")
    rng = random.Random(seed)
    partners = list(range(n))
    for i in range(n - 1, 0, -1):
        j = rng.randrange(i)  # Sattolo: j < i, never j == i, leaves one cycle and so no fixed point
        partners[i], partners[j] = partners[j], partners[i]
    return partners


def partners_of(n: int, seed: int, count: int) -> list[list[int]]:
    """Up to ``count`` permutations as ``mismatched_partners``; a row has no partner twice.

    They are the powers of one cycle over all rows, so there are at most n - 1.
    """
    cycle = mismatched_partners(n, seed)
    found = [cycle]
    while len(found) < min(count, n - 1):
        found.append([cycle[partner] for partner in found[-1]])
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    """[N, D] rows of length 1; nan for a zero row."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
