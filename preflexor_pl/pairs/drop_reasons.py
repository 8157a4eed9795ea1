"""Why things do not become pairs: counts of reasons in one line, and what to do about the usual."""

from collections import Counter
from collections.abc import Iterable

_ANSWERS = "data.teacher.answer.max_new_tokens and data.thinking.sampling.max_new_tokens"
ADVICE = {
    "prompt_too_long": "raise data.max_prompt_length",
    "chosen_too_long": f"raise data.max_length, or lower {_ANSWERS}",
    "rejected_too_long": "raise data.max_length, or lower data.rejected_sampling.max_new_tokens",
    "thinking_cut": "raise data.thinking.sampling.max_new_tokens",
    "answer_cut": "raise data.teacher.answer.max_new_tokens",
    "question_cut": "raise data.teacher.question.max_new_tokens",
}


def by_reason(reasons: Iterable[str]) -> str:
    """How often each reason occurs, the most frequent first: ``answer_cut 3, not_a_question 1``."""
    return ", ".join(f"{reason} {count}" for reason, count in Counter(reasons).most_common())


def advice(reasons: Iterable[str]) -> str:
    """What to do about the most frequent reason, after a colon; "" where nothing helps for sure."""
    [(most, _), *_] = Counter(reasons).most_common() or [("", 0)]
    return f": {ADVICE[most]}" if most in ADVICE else ""
