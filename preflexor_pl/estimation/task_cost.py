"""The expected calls and tokens of a run with a task: the policy's tries, the teacher's solutions.

Prompts are those of the items that a round would ask. Without a journal every item becomes a pair:
no try at it is right, and every solution is, so that the teacher is never told an answer.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.settings import Sampling
from preflexor_pl.estimation.journal_means import JournalMeans, StageMeans
from preflexor_pl.estimation.round_cost import ASSUMED, POLICY, TEACHER, Cost, RoundCost
from preflexor_pl.pairs.call_key import HINTED, SOLUTION, TRY
from preflexor_pl.pairs.item_choice import choose_items
from preflexor_pl.pairs.journaled_client import PairDraft
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.pairs.rejection import has_trigger
from preflexor_pl.pairs.round_folders import round_folder
from preflexor_pl.pairs.round_order import held_out_settings
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.solutions import solution_prompt
from preflexor_pl.rounds.history import tries_before
from preflexor_pl.tasks import Item, Task

if TYPE_CHECKING:
    from preflexor_pl.datamodule import PreferenceDataModule


def task_costs(
    data: "PreferenceDataModule", task: Task, known: Any, means: JournalMeans, rounds: int
) -> list[RoundCost]:
    """The costs of a run's held-out pairs and, after them, of its rounds.

    Args:
        data: of the run.
        task: of the run.
        known: the policy without its weights, for its tokenizer and markers.
        means: over the journals of complete rounds.
        rounds: of the run.
    """
    settings = replace(data.pair_settings, markers=known.strings)
    model = TaskCostModel(settings, task, means, known.tokenizer)
    wanted = data.held_out_questions
    items = choose_items(task, "held_out", held_out_settings(settings, wanted).draws)
    costs = [model.cost("held_out", wanted, items)]
    by_rates = settings.ask_about == "frontier"
    for index in range(rounds):
        history = tries_before(data.run, index)
        items = choose_items(task, "train", settings.draws, history, by_rates)
        name = round_folder(data.run, index).name
        costs.append(model.cost(name, data.pairs_per_round, items))
    return costs


class TaskCostModel:
    """Costs of rounds, from a run's settings and the means over journals."""

    def __init__(
        self, settings: PairSettings, task: Task, means: JournalMeans, tokenizer: Any
    ) -> None:
        self.settings = settings
        self.task = task
        self.means = means
        self.tokenizer = tokenizer

    def cost(self, name: str, wanted: int, items: Sequence[Item]) -> RoundCost:
        """The cost of a round, from its name, the pairs that it is to have, and its items."""
        pairs = min(wanted, math.floor(round(len(items) * self.means.usable, 6)))
        tried = items[: max(1, round(pairs * self._mean(TRY, 0).repeats))]
        costs = {}
        for model, stage, each, sampling in self._stages():
            mean, limit = self._mean(stage, sampling.max_new_tokens), sampling.max_new_tokens
            calls = pairs * each * mean.repeats
            if calls:
                tokens, prompt = min(mean.tokens, limit), self._prompt_tokens(stage, tried)
                costs[model, stage] = Cost(calls, calls * prompt, calls * tokens, calls * limit)
        return RoundCost(name, wanted, pairs, costs)

    def _stages(self) -> Iterator[tuple[str, str, int, Sampling]]:
        """Who is asked, the stage, calls an item, and how they are sampled."""
        settings, teacher = self.settings, self.settings.teacher
        yield POLICY, TRY, settings.rejected_candidates, settings.rejected_sampling
        for stage in (SOLUTION, HINTED):
            yield TEACHER, stage, teacher.candidates, teacher.answer

    def _mean(self, stage: str, limit: int) -> StageMeans:
        tokens = ASSUMED * limit
        needed = 0 if self.means.stages or stage == HINTED else 1
        return self.means.stages.get(stage) or StageMeans(needed, tokens, tokens)

    def _prompt_tokens(self, stage: str, items: Sequence[Item]) -> float:
        """The mean over items."""
        teacher = self.settings.teacher.system_prompt
        system = self.settings.system_prompt if stage == TRY else teacher
        prompts = [self._prompt(stage, place, item) for place, item in enumerate(items)]
        counts = [len(chat_ids(self.tokenizer, p.text, system, p.examples)) for p in prompts]
        return sum(counts) / max(1, len(counts))

    def _prompt(self, stage: str, place: int, item: Item) -> Prompt:
        if stage != TRY:
            return solution_prompt(self.settings.prompts, self.task, item, stage)
        draft = PairDraft(f"-{place}", "", [], item.prompt)
        trigger = has_trigger(draft, self.settings.untriggered_share)
        return Prompt(item.prompt + self.settings.markers.suffix * trigger)
