"""The values of an evaluation for each question, written beside the answers.

A line of ``samples/held-out-0000.jsonl``: the pair's ``id``, the ``document`` of its question,
its ``prompt``, the policy's response, and ``values`` by measure.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.generator import Completion
from preflexor_pl.evaluation.significance import Difference, paired_difference
from preflexor_pl.pairs.pair import PreferencePair


@dataclass(frozen=True)
class QuestionValues:
    """Values of an evaluation, one a question and measure.

    Attributes:
        prompts: [N] the questions, with their trigger.
        documents: [N] the document of each question.
        values: measure -> [N]; nan where a question has no value.
    """

    prompts: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """The mean of each measure over the questions with a value; nan without any."""
        finite = {n: [v for v in row if math.isfinite(v)] for n, row in self.values.items()}
        return {name: sum(row) / len(row) if row else math.nan for name, row in finite.items()}

    def change_to(self, later: "QuestionValues", measure: str) -> Difference | None:
        """The paired difference of a measure over the shared questions; None without any."""
        index = {prompt: i for i, prompt in enumerate(later.prompts)}
        shared = [(i, index[p]) for i, p in enumerate(self.prompts) if p in index]
        before, after = self.values.get(measure), later.values.get(measure)
        if not shared or before is None or after is None:
            return None
        documents = [self.documents[i] for i, _ in shared]
        return paired_difference(
            [before[i] for i, _ in shared], [after[j] for _, j in shared], documents
        )


def values_path(run: Path, index: int) -> Path:
    """The file of the values after ``index`` rounds."""
    return run / "samples" / f"held-out-{index:04d}.jsonl"


def document_of(pair: PreferencePair) -> str:
    """The document of a pair's question; "" where it is about none."""
    return pair.chunk_ids[0].rpartition("#")[0] if pair.chunk_ids else ""


def write_values(
    path: Path,
    pairs: Sequence[PreferencePair],
    completions: Sequence[Completion],
    values: QuestionValues,
) -> None:
    """Write a line for each question."""
    lines = []
    for i, (pair, completion) in enumerate(zip(pairs, completions, strict=True)):
        finite = {name: row[i] for name, row in values.values.items() if math.isfinite(row[i])}
        record = {"id": pair.id, "document": values.documents[i], "prompt": pair.prompt}
        lines.append(record | asdict(completion) | {"values": finite})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(path, text)


def read_values(path: Path) -> QuestionValues:
    """Read what ``write_values`` wrote; empty for a missing file, or one without values."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return values_from_rows(
            [line["prompt"] for line in lines],
            [line["document"] for line in lines],
            [line["values"] for line in lines],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return QuestionValues()


def values_from_rows(
    prompts: Sequence[str], documents: Sequence[str], rows: Sequence[Mapping[str, float]]
) -> QuestionValues:
    """Values from one mapping of measure to value a question."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [float(row.get(name, math.nan)) for row in rows] for name in names}
    return QuestionValues(list(prompts), list(documents), values)
