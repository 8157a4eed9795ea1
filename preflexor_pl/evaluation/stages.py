"""A trace at a stage of its reasoning: ``0``, ``1``, ... refinements, and ``integrated``."""

from preflexor_pl.evaluation.comparison import INTEGRATED
from preflexor_pl.reasoning import Step, Trace


def answer_after(trace: Trace, iterations: int) -> str:
    """The last answer that is not empty after so many refinements; "" without any."""
    return next((a for a in reversed(trace.answers[: iterations + 1]) if a), "")


def responses_at(trace: Trace, stage: str) -> list[Step]:
    """The responses of a stage: the model's, and its second one where it had no answer."""
    if stage == INTEGRATED:
        return [step for step in trace.steps if step.kind == "integrate"]
    kinds = ("answer", "finish")
    return [s for s in trace.steps if s.kind in kinds and s.iteration == int(stage)]


def tokens_until(trace: Trace, stage: str) -> int:
    """Tokens generated up to the end of a stage."""
    last = len(trace.steps) if stage == INTEGRATED else int(stage)
    kinds = () if stage == INTEGRATED else ("integrate",)
    return sum(s.tokens for s in trace.steps if s.iteration <= last and s.kind not in kinds)
