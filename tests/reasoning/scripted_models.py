"""A model, a critic and a judge that answer by rules, with the requests that they had.

The model's first thinking is ``Version 0.``, the critic rewrites version k as version k + 1, and
the model answers ``Answer k.`` where version k is forced upon it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.markers import MARKERS
from preflexor_pl.pairs.judge import PairwiseJudge
from preflexor_pl.reasoning import Reasoner, ReasoningSettings

O, C, R, E = MARKERS  # noqa: E741  open and close thinking, open and close reflection
QUESTION = "Why is silk tough?"
ASKED = {
    "Criticise this": "feedback",
    "Write the reasoning again": "rewrite",
    "Combine what is right": "integrate",
    "Which answer is better": "compare",
}


@dataclass
class ScriptedModel:
    """Says what ``reply`` makes of a request; batches are as the local model's, longest first."""

    name: str
    reply: Callable[[Request], str]
    batch_size: int = 3
    special_strings: tuple[str, ...] = ()
    requests: list[Request] = field(default_factory=list)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), i))
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def complete(self, requests: Sequence[Request], watch: Any = None) -> list[Completion]:
        self.requests += requests
        texts = [self.reply(request) for request in requests]
        for place, text in enumerate(texts if watch else ()):
            for word in filter(None, re.findall(r"\S*\s*", text)):
                watch(place, word)
        return [Completion(text, "stop", len(text.split())) for text in texts]

    @property
    def kinds(self) -> list[str]:
        return [kind_of(request) for request in self.requests]


def kind_of(request: Request) -> str:
    last = request.prompt.rsplit("\n\n", 1)[-1]
    return next((kind for words, kind in ASKED.items() if last.startswith(words)), "answer")


def good_model(reflects: bool = False) -> ScriptedModel:
    def reply(request: Request) -> str:
        forced = re.search(r"Version (\d+)", request.prefill)
        version = forced[1] if forced else "0"
        own = f"{R}\nIt lacks part {version}.\n{E}\n" if reflects else ""
        opening = "" if request.prefill else f"{O}\n"
        begun = "" if forced else f"{opening}Version 0.\n{C}\n"
        return f"{begun}{own}Answer {version}."

    return ScriptedModel("model", reply)


def good_critic() -> ScriptedModel:
    def reply(request: Request) -> str:
        kind, found = kind_of(request), re.search(r"Version (\d+)", request.prompt)
        version = int(found[1]) if found else 0
        return {
            "feedback": f"The reasoning leaves out part {version}.",
            "rewrite": f"Version {version + 1}.",
            "integrate": "All.",
        }[kind]

    return ScriptedModel("critic", reply)


def always(text: str, name: str = "model") -> ScriptedModel:
    return ScriptedModel(name, lambda request: text)


def judge_by(worth: Callable[[str], float]) -> PairwiseJudge:
    """A judge that names the place of the text of more worth, or a tie."""

    def reply(request: Request) -> str:
        first, second = re.search(
            r"\n\nAnswer A: (.*)\n\nAnswer B: (.*)\n", request.prompt
        ).groups()
        a, b = worth(first), worth(second)
        return "tie" if a == b else f"{'A' if a > b else 'B'}, because."

    return PairwiseJudge(ScriptedModel("judge", reply))


def reasoner(model: Any = None, critic: Any = None, **options: Any) -> Reasoner:
    """Settings and the Reasoner's own options, by name; ``drawn``: samplings of the settings."""
    own = {name: options.pop(name) for name in ("judge", "library") if name in options}
    settings = ReasoningSettings(**options.pop("drawn", {}), **options)
    model = model or good_model(settings.variant == "reflection")
    return Reasoner(model, critic or good_critic(), settings, **own)


def without_times(trace: Any) -> dict[str, Any]:
    """All of a trace but how long it took."""
    record = trace.to_dict()
    for step in record["steps"]:
        step.pop("seconds")
    return record
