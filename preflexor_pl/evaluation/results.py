"""The files of an evaluation: ``table.md``, its plots, ``results.json``, ``judgements.jsonl``."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preflexor_pl.core.files import write_atomically
from preflexor_pl.evaluation.comparison import Measured, tables
from preflexor_pl.evaluation.comparison_plots import plot_comparison
from preflexor_pl.evaluation.evaluation_set import EvaluationSet, taught_answers
from preflexor_pl.evaluation.judging import judge_models
from preflexor_pl.evaluation.model_specs import BASE
from preflexor_pl.pairs.judge import PairwiseJudge
from preflexor_pl.reasoning.models import load_reader


def write_results(
    options: argparse.Namespace, asked: EvaluationSet, measured: list[Measured]
) -> str:
    """Have a judge compare the answers where one is wanted, and write all files of ``--out``.

    Returns:
        The text of ``table.md``.
    """
    control: dict[str, Any] = {}
    records: list[dict[str, Any]] = []
    if not options.no_judge:
        control, records = _judge(options, asked, measured)
    rows = [row for one in measured for row in one.rows]
    plots = plot_comparison(rows, options.out / "plots")
    pictures = "".join(f"\n![{path.stem}](plots/{path.name})\n" for path in plots)
    body = tables(rows, control, len(asked.pairs), asked.documents)
    text = f"# Models side by side\n\n{body}{pictures}"
    result = {
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "questions": len(asked.pairs),
        "items": {name: len(items) for name, items in asked.items.items()},
        "items in writing": {name: len(items) for name, items in asked.written.items()},
        "documents": asked.documents,
        "rows": [row.to_dict() for row in rows],
        "judge": {name: asdict(value) for name, value in control.items()},
    }
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    write_atomically(options.out / "judgements.jsonl", "".join(lines))
    record = json.dumps(result, indent=1, ensure_ascii=False)
    write_atomically(options.out / "results.json", f"{record}\n")
    write_atomically(options.out / "table.md", text)
    return text


def _judge(
    options: argparse.Namespace, asked: EvaluationSet, measured: list[Measured]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Put win rates into the rows; the judge's controls, and a record of every contest."""
    name = measured[0].name if options.judge in (None, BASE) else options.judge
    reader = load_reader(name, options.batch_size, options.dtype, "--judge", options.key_env)
    judge = PairwiseJudge(reader, options.seed)
    taught = taught_answers(asked.pairs, asked.markers)
    wrong = [(i.question, i.answer, i.distractors[0]) for i in asked.items.get("control", ())]
    return judge_models(judge, asked.questions, taught, wrong, measured, options.seed)
