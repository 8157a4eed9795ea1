"""Answers of the policy to a few prompts of the user, a file each round."""

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.callbacks.protocols import answers_extra_prompts, check_data, data_of
from preflexor_pl.callbacks.trainer_state import (
    begun_epochs,
    ends_a_round,
    round_after,
    starts_a_round,
)
from preflexor_pl.core.files import write_atomically
from preflexor_pl.evaluation.held_out import AnsweredPrompt


class SampleAnswers(Callback):
    """Writes the policy's greedy answers to a few prompts to ``samples/``, a file each round.

    Where the trainer has EvaluateRounds too, that answers them together with its own questions.

    Args:
        prompts: questions as a user would ask them, with the trigger where thinking is wanted.
    """

    def __init__(self, prompts: list[str]) -> None:
        self.prompts = prompts
        self._written: tuple[int, int] | None = None  # round and step of the newest file

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse other data than ours."""
        check_data(trainer, self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Answer before training, or again what a run that was stopped has answered last."""
        if starts_a_round(trainer):
            self._answer(trainer, trainer.current_epoch)

    def on_epoch_saved(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Answer after a round; RegenerateRounds calls this at the end of each epoch."""
        if ends_a_round(trainer):
            self._answer(trainer, trainer.current_epoch + 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Answer after a last round that was cut short."""
        self.finish(trainer, pl_module)

    def finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Answer after the last step."""
        self._answer(trainer, begun_epochs(trainer))

    def _answer(self, trainer: Trainer, epochs: int) -> None:
        data, index = data_of(trainer), round_after(trainer, epochs)
        if answers_extra_prompts(trainer) or self._written == (index, trainer.global_step):
            return
        self.write(data.run, index, data.answer(self.prompts))
        self._written = index, trainer.global_step

    def write(self, run: Path, index: int, answers: Sequence[AnsweredPrompt]) -> None:
        """Write the answers of the policy after ``index`` rounds."""
        path = run / "samples" / f"round-{index:04d}.md"
        write_atomically(path, "\n".join(map(_section, answers)))


def _section(answer: AnsweredPrompt) -> str:
    is_whole = answer.completion.finish_reason == "stop"
    cut = "" if is_whole else "\n\n*(cut: it did not end by itself)*"
    return f"## {answer.question}\n\n```\n{answer.completion.text}\n```{cut}\n"
