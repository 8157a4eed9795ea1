"""The values of an evaluation for each question, written beside the answers.

A line of ``samples/held-out-0000.jsonl``: the pair's ``id``, the ``document`` of its question,
its ``prompt``, the policy's response, and ``values`` by measure. Answers to a task's items are in
``samples/items-0000.jsonl`` (see ``item_answers.py``).
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.generator import Completion
from preflexor_pl.evaluation.significance import Difference, paired_difference
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.verification import is_right_answer, is_verified

PASS, VERIFIED, BY_LEVEL = "pass_at_1", "verified", "pass_at_1/level_"  # of a task's items


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

    def count(self, measure: str) -> int:
        """How many questions have a value of a measure."""
        return sum(map(math.isfinite, self.values.get(measure, [])))

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


def values_after(run: Path, index: int) -> QuestionValues:
    """All values after ``index`` rounds: of the held-out questions, and of a task's items."""
    both = read_values(values_path(run, index)), _read_items(items_path(run, index))
    names = dict.fromkeys(name for one in both for name in one.values)
    return QuestionValues(
        [prompt for one in both for prompt in one.prompts],
        [document for one in both for document in one.documents],
        {n: [v for one in both for v in one.values.get(n, _missing(one))] for n in names},
    )


def _missing(values: QuestionValues) -> list[float]:
    return [math.nan] * len(values.prompts)


def values_path(run: Path, index: int) -> Path:
    """The file of the values after ``index`` rounds."""
    return run / "samples" / f"held-out-{index:04d}.jsonl"


def items_path(run: Path, index: int) -> Path:
    """The file of the checked answers to a task's items after ``index`` rounds."""
    return run / "samples" / f"items-{index:04d}.jsonl"


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
    return _read(path, lambda line: (line["prompt"], line["document"], line["values"]))


def _read_items(path: Path) -> QuestionValues:
    """What came of a task's items; their groups stand for documents."""
    return _read(path, _values_of_item)


def _values_of_item(line: Any) -> tuple[str, str, dict[str, float]]:
    right = is_right_answer(line["outcome"])
    values: dict[str, float] = {PASS: right, VERIFIED: is_verified(line["outcome"], line["thinks"])}
    return f"item {line['id']}", line["group"], values | {f"{BY_LEVEL}{line['level']}": right}


def _read(path: Path, parts: Callable[[Any], tuple[str, str, Any]]) -> QuestionValues:
    try:
        text = path.read_text(encoding="utf-8")
        lines = [parts(json.loads(line)) for line in text.split("\n") if line]
        return values_from_rows(*map(list, zip(*lines, strict=True))) if lines else QuestionValues()
    except (OSError, ValueError, KeyError, TypeError):
        return QuestionValues()


def values_from_rows(
    prompts: Sequence[str], documents: Sequence[str], rows: Sequence[Mapping[str, float]]
) -> QuestionValues:
    """Values from one mapping of measure to value a question."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [float(row.get(name, math.nan)) for row in rows] for name in names}
    return QuestionValues(list(prompts), list(documents), values)
