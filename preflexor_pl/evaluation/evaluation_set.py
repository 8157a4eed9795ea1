"""What every model of an evaluation is measured on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.responses import answer_of
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.evaluation.comparison import ANSWERED, WRITTEN
from preflexor_pl.evaluation.facts import Item, key_positions
from preflexor_pl.evaluation.question_values import document_of
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.reasoning import ReasoningSettings

Variant = Literal["thinking", "reflection"]
VERSION = 3  # of the measures; results of another version are measured again


@dataclass(frozen=True)
class EvaluationSet:
    """What every model is measured on.

    Attributes:
        pairs: held-out pairs, whose questions are asked.
        items: facts by stratum, measured by likelihood.
        written: those of them that are also answered in writing, which takes longer.
        embedder: name of the embedding model.
        settings: of the recursion; iterations and variant are set for each model.
        variants: of the recursion; None for the one that each model was trained for.
        system_prompt: for a model that has none of its own.
        dtype: of the weights.
        batch_size: texts generated together.
        seed: of partners, key positions and bootstraps.
        markers: of the pairs.
    """

    pairs: Sequence[PreferencePair]
    items: dict[str, list[Item]]
    written: dict[str, list[Item]]
    embedder: str
    settings: ReasoningSettings
    variants: list[Variant] | None
    system_prompt: str | None
    dtype: str
    batch_size: int
    seed: int
    markers: MarkerStrings = DEFAULT

    @cached_property
    def questions(self) -> list[str]:
        """Questions of the held-out pairs, without their trigger."""
        return [self.markers.question(pair.prompt) for pair in self.pairs]

    @cached_property
    def embed(self) -> Any:
        """Texts -> [N, D] vectors."""
        return Embedder(self.embedder).encode

    @cached_property
    def asked_items(self) -> list[tuple[str, Item, int]]:
        """Stratum, item and position of the right option, balanced over the choice items."""
        asked = []
        for stratum, items in self.written.items():
            choices = sum(item.kind == "choice" for item in items)
            positions = iter(key_positions(choices, self.seed))
            asked += [(stratum, i, next(positions) if i.kind == "choice" else 0) for i in items]
        return asked

    @property
    def documents(self) -> dict[str, list[str]]:
        """The document of each question of a measure, for differences by document."""
        documents = {ANSWERED: list(map(document_of, self.pairs))}
        for stratum, items in self.items.items():
            documents[f"facts/{stratum}/likelihood"] = [item.document for item in items]
        for stratum, item, _ in self.asked_items:
            for name in (f"facts/{stratum}/{item.kind}", WRITTEN):
                documents.setdefault(name, []).append(item.document)
        return documents

    def fingerprint(self, model: str, iterations: int) -> str:
        """SHA-256 of everything that decides the results of a model."""
        parts = [VERSION, [asdict(p) for p in self.pairs], model, iterations, self.variants]
        for items in (self.items, self.written):
            parts += [{k: [asdict(i) for i in v] for k, v in items.items()}]
        parts += [repr(self.settings)]
        parts += [self.embedder, self.system_prompt, self.dtype, self.batch_size, self.seed]
        parts += [self.markers.record] if self.markers.record else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def taught_answers(pairs: Sequence[PreferencePair], markers: MarkerStrings = DEFAULT) -> list[str]:
    """The teacher's answers, without thinking."""
    return [answer_of(pair.chosen, markers) for pair in pairs]
