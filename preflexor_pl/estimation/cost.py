"""The expected calls and tokens of a run, by stage: pairs x calls a pair x mean lengths.

Prompts are filled with text of the corpus, as long as chunks and earlier replies are on average.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import BACKGROUND
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.estimation.journal_means import JournalMeans, StageMeans, items_needed
from preflexor_pl.estimation.round_cost import ASSUMED, JUDGE, POLICY, TEACHER, Cost, RoundCost
from preflexor_pl.estimation.task_cost import task_costs
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.planning import EarlierRounds
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.pairs.reply_parsing import thinking_text
from preflexor_pl.pairs.round_folders import round_folder
from preflexor_pl.pairs.round_order import held_out_order, held_out_settings, round_order
from preflexor_pl.pairs.settings import PairSettings

if TYPE_CHECKING:
    from preflexor_pl.datamodule import PreferenceDataModule

SAMPLED_CHUNKS = 256


def run_costs(
    data: "PreferenceDataModule", known: Any, means: JournalMeans, rounds: int
) -> list[RoundCost]:
    """The costs of a run's held-out pairs and, after them, of its rounds.

    Args:
        data: of the run.
        known: the policy without its weights, for its tokenizer and markers.
        means: over the journals of complete rounds.
        rounds: of the run.
    """
    if data.task_object:
        return task_costs(data, data.task_object, known, means, rounds)
    settings, (train, held) = replace(data.pair_settings, markers=known.strings), data.split
    own, wanted = data.own_set, data.pairs_per_round
    order = held_out_order(data.held_out_questions, held, own)
    parts = [("held_out", held_out_settings(settings, order.wanted), order)]
    for index in range(rounds):
        order = round_order(index, wanted, train, EarlierRounds, 0, own)
        parts.append((round_folder(data.run, index).name, settings, order))
    model = CostModel(settings, means, data.library, known.tokenizer)
    return [model.cost(*part) for part in parts]


class CostModel:
    """Costs of rounds, from a run's settings and the means over journals."""

    def __init__(
        self, settings: PairSettings, means: JournalMeans, library: CorpusIndex, tokenizer: Any
    ) -> None:
        self.usable = means.usable
        self.reflection = settings.reflection
        samplings = _samplings(settings)
        self.means = {
            name: means.stages.get(name) or StageMeans(1, *2 * [ASSUMED * one.max_new_tokens])
            for name, one in samplings.items()
        }
        chunks = list(library.chunks.values())
        chunks = chunks[:: 1 + len(chunks) // SAMPLED_CHUNKS]
        ids = encode(tokenizer, "\n\n".join(f"{chunk.title}\n{chunk.text}" for chunk in chunks))

        def text(tokens: float) -> str:
            count = round(tokens)
            return tokenizer.decode((ids * (1 + count // max(1, len(ids))))[:count])

        texts = {name: text(mean.text_tokens) for name, mean in self.means.items()}
        chunk = text(len(ids) / max(1, len(chunks)))
        self.calls = {}
        for name, (model, system, prompts) in _prompts(settings, chunk, texts).items():
            counts = [len(chat_ids(tokenizer, p.text, system, p.examples)) for p in prompts]
            mean, limit = self.means[name], samplings[name].max_new_tokens
            prompt, tokens = sum(counts) / len(counts), min(mean.tokens, limit)
            self.calls[model, name] = len(prompts) * mean.repeats, prompt, tokens, limit

    def cost(self, name: str, settings: PairSettings, order: Order) -> RoundCost:
        """The cost of a round, from its name, its settings, and the pairs that it is to have."""
        topics = settings.topics if isinstance(settings.topics, int) else len(settings.topics)
        candidates = topics * settings.questions_per_topic * (not order.alone)
        own, missing = len(order.own), sum(pair.rejected is None for pair in order.own)
        pairs = min(order.wanted - own, math.floor(round(candidates * self.usable, 6)))
        costs = {}
        for (model, stage), (repeats, prompt, tokens, limit) in self.calls.items():
            calls = items_needed(stage, pairs, self.reflection) * repeats
            if stage == "rejected":
                calls += missing * self.means[stage].repeats
            if calls:
                costs[model, stage] = Cost(calls, calls * prompt, calls * tokens, calls * limit)
        return RoundCost(name, order.wanted, own + pairs, costs)


def _samplings(settings: PairSettings) -> dict[str, Sampling]:
    samplings = {
        "question": settings.teacher.question,
        "thinking": settings.thinking.sampling,
        "reflection": settings.teacher.critique,
        "answer": settings.teacher.answer,
        "rejected": settings.rejected_sampling,
    }
    return samplings | ({"judging": settings.judge.sampling} if settings.judge else {})


def _prompts(
    settings: PairSettings, chunk: str, texts: Mapping[str, str]
) -> dict[str, tuple[str, str | None, list[Prompt]]]:
    """By stage: the model that is asked, its system turn, and the prompts about one item.

    Args:
        settings: of the round.
        chunk: stands for each.
        texts: by stage, stands for its reply.
    """
    teacher, prompts, question = settings.teacher, settings.prompts, texts["question"]
    categories, judge = settings.thinking.categories, settings.judge
    first, retrieved = [chunk] * settings.chunks_per_context, [chunk] * settings.enrich_chunks
    facts = first + retrieved
    thinking = thinking_text(dict.fromkeys(categories, texts["thinking"]))
    topic = "" if isinstance(settings.topics, int) else settings.topics[0]
    asked = {
        "question": [prompts.ask_question(first, topic)],
        "thinking": [
            prompts.ask_category(retrieved if name == BACKGROUND else facts, question, wanted)
            for name, wanted in categories.items()
        ],
    }
    if settings.reflection:
        asked["reflection"] = [prompts.ask_critique(facts, question, thinking)]
        thinking = f"{thinking}\n\n{texts['reflection']}"
    if settings.answers == "written":
        asked["answer"] = [prompts.ask_answer(facts, question, thinking)] * teacher.candidates
    system: str | None = teacher.system_prompt
    stages = {name: (TEACHER, system, some) for name, some in asked.items()}
    writer, drawn = TEACHER, prompts.ask_wrong_answer(facts, question)
    if settings.rejected == "policy":
        writer, system = POLICY, settings.system_prompt
        drawn = Prompt(question + settings.markers.suffix * settings.rejected_trigger)
    stages["rejected"] = writer, system, [drawn] * settings.rejected_candidates
    if judge:
        ruling = prompts.ask_ruling(facts, question, texts["answer"], texts["rejected"])
        model = JUDGE if judge.server else TEACHER
        stages["judging"] = model, judge.system_prompt, [ruling] * settings.rejected_candidates
    return stages
