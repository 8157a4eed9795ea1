"""How a model answers a task's items under several conditions: does the answer need its thinking?

``own``       greedy, as in the evaluation of a round
``removed``   its thinking section is empty before it answers
``shuffled``  its thinking section is the one that it wrote for another item of the level
``examples``  a model that is not asked to think, shown the task's worked examples
``best of K`` K sampled responses: an item counts where one of them is right (pass@K)
``refined N`` its last answer after N refinements by a critic
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from preflexor_pl.core.generator import Completion, Request, by_batch
from preflexor_pl.core.progress import stage
from preflexor_pl.core.responses import parse_response
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import Sampling
from preflexor_pl.evaluation.item_answers import ItemAnswer, checked_answer, item_prompt
from preflexor_pl.evaluation.stages import answer_after, tokens_until
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.pairs.solutions import read_solution
from preflexor_pl.reasoning import Reasoner, ReasoningSettings
from preflexor_pl.reasoning.models import LoadedModel
from preflexor_pl.tasks.task import Item, Task, worked_of

OWN, REMOVED, SHUFFLED, EXAMPLES = "own", "removed", "shuffled", "examples"


@dataclass(frozen=True)
class TaskMeasurement:
    """Measures one model on the items of a task.

    Attributes:
        task: of the items.
        items: to be answered.
        loaded: the model.
        settings: of the recursion: samplings of the model and of a critic, seed.
        system_prompt: the model's system turn.
        has_trigger: whether it is asked to think.
        batch_size: texts generated together.
    """

    task: Task
    items: Sequence[Item]
    loaded: LoadedModel
    settings: ReasoningSettings
    system_prompt: str | None
    has_trigger: bool
    batch_size: int

    def conditions(self, tries: int, iterations: int) -> dict[str, list[ItemAnswer]]:
        """Answers by condition.

        Args:
            tries: sampled responses to each item; 0 for none.
            iterations: refinements; 0 for none.
        """
        own = self._answers(OWN, [self._request(item) for item in self.items])
        found = {OWN: own}
        if self.has_trigger:
            found[REMOVED] = self._with_thinking(REMOVED, ["" for _ in own])
            found[SHUFFLED] = self._with_thinking(SHUFFLED, self._others_thinking(own))
        elif self.task.worked:
            found[EXAMPLES] = self._shown_examples()
        if tries:
            found[f"best of {tries}"] = self._best_of(tries)
        if iterations:
            found[f"refined {iterations}"] = self._refined(iterations)
        return found

    def _request(self, item: Item, prefill: str = "") -> Request:
        prompt = item_prompt(self.loaded.model, item, self.has_trigger)
        return Request(prompt, self.system_prompt, self.settings.model, prefill=prefill)

    def _answers(self, name: str, requests: Sequence[Request]) -> list[ItemAnswer]:
        made = self._complete(name, requests)
        texts = [r.prefill + c.text for r, c in zip(requests, made, strict=True)]
        return [
            self._checked(item, text, completion.tokens)
            for item, text, completion in zip(self.items, texts, made, strict=True)
        ]

    def _checked(self, item: Item, text: str, tokens: int) -> ItemAnswer:
        thinks, markers = self.has_trigger, self.loaded.model.strings
        return checked_answer(self.task, item, text, tokens, thinks, markers)

    def _complete(self, name: str, requests: Sequence[Request]) -> list[Completion]:
        generator = self.loaded.generator(self.batch_size)
        made: dict[int, Completion] = {}
        with stage(f"{self.loaded.info.name} · {name}", len(requests)) as progress:
            for done in by_batch(generator, requests):
                made |= done
                progress.advance(len(done))
        return [made[place] for place in range(len(requests))]

    def _with_thinking(self, name: str, thoughts: Sequence[str]) -> list[ItemAnswer]:
        """Answers after a thinking section that is given."""
        markers = self.loaded.model.strings
        requests = [
            self._request(item, f"{markers.think_start}\n{thought}\n{markers.think_end}\n")
            for item, thought in zip(self.items, thoughts, strict=True)
        ]
        return self._answers(name, requests)

    def _others_thinking(self, own: Sequence[ItemAnswer]) -> list[str]:
        """For each item the thinking about the next one of its level."""
        markers = self.loaded.model.strings
        thoughts = [parse_response(one.text, markers).thinking or "" for one in own]
        others = [""] * len(own)
        for level in {one.level for one in own}:
            places = [place for place, one in enumerate(own) if one.level == level]
            if len(places) > 1:  # an only item has no other: its thinking stays empty
                for place, other in zip(places, [*places[1:], places[0]], strict=True):
                    others[place] = thoughts[other]
        return others

    def _shown_examples(self) -> list[ItemAnswer]:
        """Answers of a model that is shown worked items, in the form that these have."""
        requests = []
        for item in self.items:
            turns = [(one.item.prompt, one.reply) for one in worked_of(self.task, item.level)]
            shown = Prompt("", tuple(turns)).inert(self.loaded.model.special_strings)
            requests.append(replace(self._request(item), examples=shown.examples))
        answers = self._complete(EXAMPLES, requests)
        return [
            self._checked(item, _answer_line(made.text), made.tokens)
            for item, made in zip(self.items, answers, strict=True)
        ]

    def _best_of(self, tries: int) -> list[ItemAnswer]:
        """For each item its first right response of several, or its first."""
        sampling = Sampling(self.settings.model.max_new_tokens, temperature=1.0)
        requests = [
            replace(
                self._request(item),
                sampling=sampling,
                seed=derive_seed(self.settings.seed, item.id, number),
            )
            for item in self.items
            for number in range(tries)
        ]
        made = self._complete(f"best of {tries}", requests)
        best = []
        for place, item in enumerate(self.items):
            own = made[place * tries : (place + 1) * tries]
            checked = [self._checked(item, one.text, one.tokens) for one in own]
            best.append(next((one for one in checked if one.is_right), checked[0]))
        return best

    def _refined(self, iterations: int) -> list[ItemAnswer]:
        """Answers after refinements; their last thinking is not checked."""
        settings = replace(
            self.settings,
            iterations=iterations,
            variant="reflection" if self.loaded.info.reflects else "thinking",
            integrate=False,
            system_prompt=self.system_prompt,
            trigger=self.has_trigger,
            markers=self.loaded.model.strings,
        )
        critic = self.loaded.base(self.batch_size)
        reasoner = Reasoner(self.loaded.generator(self.batch_size), critic, settings)
        traces = reasoner.reason([item.prompt for item in self.items])
        markers = self.loaded.model.strings
        return [
            checked_answer(
                self.task,
                item,
                answer_after(trace, iterations),
                tokens_until(trace, str(iterations)),
                False,
                markers,
            )
            for item, trace in zip(self.items, traces, strict=True)
        ]


def _answer_line(text: str) -> str:
    """The answer of a text in the form of the worked examples, the whole text without one."""
    solution = read_solution(text)
    return solution.answer.split("\n")[0] if solution else text
