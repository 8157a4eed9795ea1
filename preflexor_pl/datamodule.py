"""The LightningDataModule: holds a round of pairs and makes the next one from the current policy.

    round = epoch // epochs_per_round

``on_train_epoch_end`` makes the next round where one is due, never after the last epoch; the
checkpoint has been saved by then. ``train_dataloader`` makes a round itself only for round 0 and
for recovery.
"""

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import Any

from lightning.pytorch import LightningDataModule

from preflexor_pl.batches.steps import StepLoader
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.chat_date import pin_date
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line
from preflexor_pl.evaluation.held_out import AnsweredPrompt, answer_questions
from preflexor_pl.evaluation.item_answers import ItemAnswer, answer_items
from preflexor_pl.pairs.item_choice import choose_items
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.policy.layout_check import choose_batching
from preflexor_pl.policy.policy import Policy
from preflexor_pl.rounds import schedule
from preflexor_pl.rounds.build import RunData
from preflexor_pl.rounds.prefetch import RoundPrefetcher
from preflexor_pl.rounds.rounds import Rounds


class PreferenceDataModule(RunData, LightningDataModule):
    """Preference pairs over a corpus, made anew every round.

    ``DataSettings`` and ``PairSettings`` describe its arguments, the ``data.*`` keys of a config.
    """

    _rounds: Rounds | None = None
    _prefetcher: RoundPrefetcher | None = None

    # What the run's other parts ask for

    @property
    def policy(self) -> Policy:
        """The model in training."""
        if self.trainer is None:
            raise RuntimeError("the data need a Trainer: rejected answers come from its model")
        return self._module.policy

    @property
    def round(self) -> int:
        """The round that the current epoch belongs to."""
        assert self.trainer is not None
        return schedule.round_of(self.trainer.current_epoch, self.epochs_per_round)

    @property
    def rounds(self) -> Rounds:
        """The rounds of this run, made by the model in training."""
        if self._rounds is None or self._rounds.policy is not self.policy:
            self._rounds = self.rounds_of(self.policy)
            collator = self._rounds.collator
            collator.batching = choose_batching(self.policy, collator)
            if collator.max_length < self.max_length:
                log_line(
                    f"data.max_length: {collator.max_length} is used, as {self.policy.source.name} "
                    "takes no longer texts in a batch"
                )
        return self._rounds

    def answer(self, prompts: Sequence[str]) -> list[AnsweredPrompt]:
        """The policy's greedy responses to ``prompts``, asked as in training."""
        return answer_questions(
            self.policy,
            prompts,
            self.pair_settings.system_prompt,
            self.longest_response,
            self.generation_batch_size,
        )

    def answer_items(self) -> list[ItemAnswer]:
        """The policy's greedy answers to the task's held-out items, checked."""
        task, settings = self.task_object, self.pair_settings
        assert task is not None
        return answer_items(
            self.policy,
            task,
            choose_items(task, "held_out", self.held_out),
            settings.system_prompt,
            settings.untriggered_share < 1,
            self.longest_response,
            self.generation_batch_size,
        )

    def held_out_pairs(self) -> list[PreferencePair]:
        """Questions about the held-out documents; their rejected answers are fixed at round 0."""
        return self.rounds.held_out(self.held_out_questions)

    def tokenized_held_out(self) -> list[TokenizedPair]:
        """The held-out pairs as ids, with the reference's log-probs where the loss needs them."""
        folder = self.run / "held_out"
        reference = self._module.loss.needs_reference
        return self.rounds.tokenizer.tokenized(self.held_out_pairs(), folder, reference)

    # Lightning's hooks

    def setup(self, stage: str) -> None:
        """Read and embed the corpus, split it, and keep it for the rounds."""
        if self.trainer and self.trainer.world_size > 1:
            raise ConfigError("trainer.devices: one process makes the pairs as yet; set it to 1")
        pin_date(self.run, begins=True)
        if self.trainer:
            self._set_up_trainer()
        self.sources.require_ready()
        teacher = self.sources.server_teacher
        can_prefetch = self.pair_settings.ask_about != "uncertain" and self.task is None
        if teacher and self.prefetch and can_prefetch:
            self._prefetcher = RoundPrefetcher(
                lambda index: self.rounds.prepare(index, self.pairs_per_round), teacher
            )
        for line in self.description():
            log_line(line)

    def _set_up_trainer(self) -> None:
        trainer: Any = self.trainer
        self.policy_settings = getattr(self._module, "settings", None)
        # Who monitors held-out metrics is called when a round is evaluated, not each epoch.
        trainer.check_val_every_n_epoch = None
        # With max_steps Lightning, resumed at an epoch's end, would train it once more; it has no
        # public switch.
        trainer.fit_loop._iteration_based_training = lambda: False

    def train_dataloader(self) -> StepLoader:
        """Steps of the current epoch. Makes its round where it is missing."""
        assert self.trainer is not None
        if self.pair_settings.reflection and not self._module.reflection:
            raise ConfigError(
                "data.reflection is true and the module trains no rows for its markers: build "
                "PreferenceModule with reflection=True"
            )
        if self.round == 0:
            self.held_out_pairs()  # before the first step, so that they are the untrained model's
        rounds, epoch = self.rounds, self.trainer.current_epoch
        reference = self._module.loss.needs_reference
        pairs = rounds.tokenizer.tokenized(
            self._round_pairs(self.round), rounds.folder(self.round), reference
        )
        older = rounds.older(self.round, self._replayed, reference)
        return StepLoader(
            [*pairs, *older],
            partial(rounds.collator, draw=(self.round, epoch)),
            self.pairs_per_step,
            self.tokens_per_micro_batch,
            self.seed,
            epoch,
            rounds.collator.packed,
        )

    def planned_steps(self) -> int:
        """Optimiser steps of the whole run, if no round comes out short.

        Its end must be known, by epochs or by steps.
        """
        trainer: Any = self.trainer
        each = self.pairs_per_round
        if self.is_own_alone and self.own_set:
            each = min(each, len(self.own_set.train))
        epochs = range(trainer.max_epochs or -1)
        rounds = [schedule.round_of(epoch, self.epochs_per_round) for epoch in epochs]
        pairs = [each + min(self._replayed, index * each) for index in rounds]
        return schedule.planned_steps(pairs, self.pairs_per_step, trainer.max_steps)

    def on_train_batch_start(self) -> None:
        """Begin the next round ahead, if there will be one; RegenerateRounds calls this.

        At a step, not at the round's start: the evaluation that comes before it asks the embedder,
        and there is one.
        """
        trainer: Any = self.trainer
        following = (self.round + 1) * self.epochs_per_round
        if self._prefetcher and self._position.reaches(following, trainer.num_training_batches):
            self._prefetcher.begin(self.round + 1)

    def on_train_epoch_end(self) -> None:
        """Make the next round where the next epoch begins one; RegenerateRounds calls this."""
        trainer: Any = self.trainer
        following = trainer.current_epoch + 1
        if trainer.should_stop or not self._position.reaches(following):
            self._abandon()
        elif schedule.begins_round(following, self.epochs_per_round):
            if self._prefetcher:
                self._prefetcher.finish()
            self._round_pairs(schedule.round_of(following, self.epochs_per_round))

    def on_exception(self, exception: BaseException) -> None:
        """End what is being made ahead."""
        self._abandon()

    def _abandon(self) -> None:
        if self._prefetcher:
            self._prefetcher.abandon()

    @property
    def _module(self) -> Any:
        assert self.trainer is not None
        return self.trainer.lightning_module

    @property
    def _position(self) -> schedule.Position:
        trainer: Any = self.trainer
        return schedule.Position(
            trainer.current_epoch, trainer.global_step, trainer.max_epochs, trainer.max_steps
        )

    @property
    def _replayed(self) -> int:
        return ceil(self.replay * self.pairs_per_round)

    def _round_pairs(self, index: int) -> list[PreferencePair]:
        assert self.trainer is not None
        return self.rounds.make(index, self.pairs_per_round, self.trainer.global_step)
