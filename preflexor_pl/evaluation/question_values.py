"""The values of an evaluation question by question, as they stand beside the answers.

A line of ``samples/held-out-0000.jsonl``: the pair's ``id``, the ``document`` that it is about,
its ``prompt``, the policy's response, and ``values`` by measure.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.generator import Completion
from preflexor_pl.evaluation.paired_tests import Difference, paired_difference
from preflexor_pl.pairs.pair import PreferencePair


@dataclass(frozen=True)
class QuestionValues:
    """Values of an evaluation.

    Attributes:
        prompts: [N] what was asked.
        documents: [N] what each question is about.
        values: [N] by measure; nan where a question has none.
    """

    prompts: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """The mean of each measure over the questions that have it; nan for none."""
        finite = {n: [v for v in row if math.isfinite(v)] for n, row in self.values.items()}
        return {name: sum(row) / len(row) if row else math.nan for name, row in finite.items()}

    def change_to(self, later: "QuestionValues", measure: str) -> Difference | None:
        """The paired difference of a measure over the questions of both; None without any."""
        places = {prompt: place for place, prompt in enumerate(later.prompts)}
        both = [(i, places[p]) for i, p in enumerate(self.prompts) if p in places]
        mine, theirs = self.values.get(measure), later.values.get(measure)
        if not both or mine is None or theirs is None:
            return None
        documents = [self.documents[i] for i, _ in both]
        return paired_difference(
            [mine[i] for i, _ in both], [theirs[j] for _, j in both], documents
        )


def values_path(run: Path, index: int) -> Path:
    """Where the values of the evaluation after ``index`` rounds are."""
    return run / "samples" / f"held-out-{index:04d}.jsonl"


def document_of(pair: PreferencePair) -> str:
    """The document that a pair's question is about."""
    return pair.chunk_ids[0].rpartition("#")[0] if pair.chunk_ids else ""


def write_values(
    path: Path,
    pairs: Sequence[PreferencePair],
    completions: Sequence[Completion],
    values: QuestionValues,
) -> None:
    """Write a line for each question."""
    lines = []
    for i, (pair, made) in enumerate(zip(pairs, completions, strict=True)):
        known = {name: row[i] for name, row in values.values.items() if math.isfinite(row[i])}
        record = {"id": pair.id, "document": values.documents[i], "prompt": pair.prompt}
        lines.append(record | asdict(made) | {"values": known})
    told = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(path, told)


def read_values(path: Path) -> QuestionValues:
    """What ``write_values`` wrote; without values where there is no such file, or it is older."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return gathered(
            [line["prompt"] for line in lines],
            [line["document"] for line in lines],
            [line["values"] for line in lines],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return QuestionValues()


def gathered(
    prompts: Sequence[str], documents: Sequence[str], rows: Sequence[Mapping[str, float]]
) -> QuestionValues:
    """Values from one mapping a question, measure to value."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [float(row.get(name, math.nan)) for row in rows] for name in names}
    return QuestionValues(list(prompts), list(documents), values)
