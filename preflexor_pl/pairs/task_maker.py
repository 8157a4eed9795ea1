"""Makes the pairs of a round from a task's items: both sides of a pair are checked.

Items are asked in waves until the round is full; what came of each is kept in ``tries.jsonl``, from
which the next round chooses.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.files import RESTORE, write_atomically
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.pairs.drop_reasons import advice, by_reason
from preflexor_pl.pairs.item_choice import ItemTries, choose_items
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.journaled_client import JournaledClient, PairDraft, RoundLabel
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.round_facts import facts_of, lines_of
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.task_round import TaskRound
from preflexor_pl.pairs.writers import Measures, Writers
from preflexor_pl.tasks.task import Item, Task

TRIES = "tries.jsonl"  # in a round's folder: what came of each item


class TaskPairMaker:
    """Makes rounds of pairs from a task.

    Args:
        task: that has the items.
        settings: how the policy is asked, and what is taken.
        writers: the teacher and the policy.
        measures: by the policy and its tokenizer.
        history: gives what came of the items of the rounds before one, by its index.
        seed: of the run.
        identity: of the weights that policy and teacher begin with; a plan belongs to them.
    """

    def __init__(
        self,
        task: Task,
        settings: PairSettings,
        writers: Writers,
        measures: Measures,
        history: Callable[[int], list[ItemTries]],
        seed: int,
        identity: str = "",
    ) -> None:
        self.task = task
        self.settings = settings
        self.writers = writers
        self.measures = measures
        self.history = history
        self.seed = seed
        self.identity = identity

    def make(self, folder: Path, order: Order) -> list[PreferencePair]:
        """Make a round, or what is missing of it, and return its pairs.

        Raises:
            ConfigError: it was begun or made under other settings.
            CorpusError: not one pair came out; says why.
        """
        journal = Journal(folder)
        if journal.is_complete:
            journal.require(self._fingerprint(order))
            return journal.pairs()
        return self._fill(journal, order)

    def prepare(self, folder: Path, order: Order) -> None:
        """Make nothing ahead: what the teacher is asked follows from the policy's tries."""

    def _fill(self, journal: Journal, order: Order) -> list[PreferencePair]:
        items = self._planned(journal, order)
        client = JournaledClient(
            journal,
            self.writers.teacher,
            self.settings.teacher.system_prompt,
            self.writers.special_tokens,
            RoundLabel(order.index, self.seed, order.title),
        )
        made = TaskRound(self.task, self.settings, client, self.writers, self.measures, order)
        kept, tried = 1, 1
        while items and len(made.pairs) < order.wanted:
            missing = order.wanted - len(made.pairs)
            count = min(-(-missing * tried // kept), 2 * missing)  # as many as it probably takes
            wave, items = items[:count], items[count:]
            made.add(wave)
            kept, tried = max(1, len(made.pairs)), len(made.tries)
        pairs = made.pairs[: order.wanted]
        if not pairs:
            journal.keep_drops(client.drops)
            reasons = [drop["reason"] for drop in client.drops]
            told = f"{by_reason(reasons)}{advice(reasons)}"
            raise CorpusError(
                f"{journal.folder}: no pair came out of {len(made.tries)} items: {told}"
            )
        lines = "".join(json.dumps(asdict(one)) + "\n" for one in made.tries)
        write_atomically(journal.folder / TRIES, lines)
        facts = {
            "round": order.index,
            "wanted": order.wanted,
            "policy_step": order.policy_step,
            "verified": made.facts(pairs),
            **facts_of(pairs, [], self.settings.markers),
        }
        for line in (told_of(facts["verified"]), *lines_of({"pairs": len(pairs), **facts})):
            log_line(f"  {order.title}: {line}")
        journal.finish(pairs, client.drops, facts)
        return pairs

    def _planned(self, journal: Journal, order: Order) -> list[tuple[PairDraft, Item]]:
        """The items of a round, with a draft of the pair that each may become."""
        items = choose_items(
            self.task,
            "train" if order.index >= 0 else "held_out",
            self.settings.draws,
            self.history(order.index) if order.index > 0 else (),
            self.settings.ask_about == "frontier",
        )
        prefix = f"{order.index:04d}" if order.index >= 0 else "held"
        drafts = {
            item.id: PairDraft(f"{prefix}-{place:04d}", f"level {item.level}", [], item.prompt)
            for place, item in enumerate(items)
        }
        plan = [{"id": draft.id, "item": name} for name, draft in drafts.items()]
        if journal.plan(self._fingerprint(order), lambda: plan) != plan:
            raise CorpusError(
                f"{journal.folder / 'plan.json'} has other items than {TRIES} of the rounds before "
                f"lead to: one of these files was changed or is missing: {RESTORE}"
            )
        return [(drafts[item.id], item) for item in items]

    def _fingerprint(self, order: Order) -> str:
        """Of all that a plan follows from."""
        solution = repr(self.settings.prompts.solution)
        parts = (repr(self.settings), self.identity, str(order.wanted), self.task.identity)
        return str(derive_seed(*parts, solution))


def told_of(verified: dict[str, Any]) -> str:
    """What came of a round's items, in one line."""
    tries, chosen = verified["tries"], verified["chosen"]
    rates = ", ".join(f"level {level} {rate:.0%}" for level, rate in verified["pass_rate"].items())
    by = ", ".join(f"{count} by {name}" for name, count in chosen.items())
    return (
        f"{verified['items']} items tried {sum(tries.values())} times: {tries['right']} right "
        f"({rates}), {tries['lucky']} right without right thinking, {tries['wrong']} wrong, "
        f"{tries['unreadable']} unreadable; chosen: {by}; left: {verified['all_right']} always "
        f"right, {verified['unsolved']} never"
    )


def read_tries(path: Path) -> list[ItemTries]:
    """What came of a round's items; none where the file is not there.

    Raises:
        CorpusError: it is damaged.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [ItemTries(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise CorpusError(f"{path} is damaged ({error})") from error
