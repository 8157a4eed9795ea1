"""Answers of the policy to a few prompts of the user, a file each round."""

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Callback

from preflexor_pl.core.files import write_atomically
from preflexor_pl.evaluation.held_out import Answered


class SampleAnswers(Callback):
    """Writes the policy's greedy answers to a few prompts to ``samples/``, a file each round.

    EvaluateRounds answers them with its own questions.

    Args:
        prompts: questions as a user would ask them, with the trigger where thinking is wanted.
    """

    def __init__(self, prompts: list[str]) -> None:
        self.prompts = prompts

    def write(self, run: Path, index: int, answered: Sequence[Answered]) -> None:
        """Write the answers of round ``index``."""
        path = run / "samples" / f"round-{index:04d}.md"
        write_atomically(path, "\n".join(map(_sample, answered)))


def _sample(answered: Answered) -> str:
    cut = (
        ""
        if answered.completion.finish_reason == "stop"
        else "\n\n*(cut: it did not end by itself)*"
    )
    return f"## {answered.question}\n\n```\n{answered.completion.text}\n```{cut}\n"
