"""An evaluation on the items of a task: measures each model, and writes tables and answers.

``table.md``, ``results.json``, and every checked response in ``items/MODEL-CONDITION.jsonl``.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.progress import log_line
from preflexor_pl.evaluation.changes import format_difference, format_p
from preflexor_pl.evaluation.intervals import rate
from preflexor_pl.evaluation.item_answers import ItemAnswer, item_metrics, write_item_answers
from preflexor_pl.evaluation.model_specs import Spec, model_specs
from preflexor_pl.evaluation.read_evaluation_set import named_models, recursion
from preflexor_pl.evaluation.significance import Difference, paired_difference
from preflexor_pl.evaluation.task_conditions import OWN, TaskMeasurement
from preflexor_pl.pairs.item_choice import choose_items
from preflexor_pl.policy.run_record import at
from preflexor_pl.reasoning.model_info import ModelInfo
from preflexor_pl.reasoning.models import load_model
from preflexor_pl.tasks import Item, Task, task_of
from preflexor_pl.tasks.bank import KEY

Answers = dict[str, dict[str, list[ItemAnswer]]]  # by model's label and condition


def asks_task(options: argparse.Namespace) -> bool:
    """Whether a task is to be measured: one is named, or the first run was made with one."""
    return options.task is not None or _task_of_run(options) is not None


def evaluate_task(options: argparse.Namespace) -> str:
    """Measure all models, write the files of ``--out``; the text of ``table.md``.

    Raises:
        ConfigError: a model or the task cannot be had.
    """
    key = "--task" if options.task else KEY
    task = task_of(options.task or _task_of_run(options), key)
    items = choose_items(task, "held_out", options.questions or options.held_out)
    if not items:
        raise ConfigError(f"{key}: it has no held-out items")
    options.out.mkdir(parents=True, exist_ok=True)
    first = _first(options)
    answers: Answers = {}
    for spec in model_specs(options, first.base):
        log_line(f"{spec.label}: {spec.name}, {len(items)} items")
        answers[spec.label] = _measured(options, task, items, spec, first)
    for label, conditions in answers.items():
        for name, checked in conditions.items():
            file = f"{label}-{name}.jsonl".replace("/", "-").replace(" ", "-")
            write_item_answers(options.out / "items" / file, checked)
    text = f"# Models on a task\n\n{tables(answers)}"
    record = {
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "task": task.identity,
        "items": len(items),
        "models": results(answers),
    }
    write_atomically(options.out / "results.json", json.dumps(record, indent=1) + "\n")
    write_atomically(options.out / "table.md", text)
    return text


def results(answers: Answers) -> dict[str, dict[str, Any]]:
    """The numbers by model and condition, with the difference to the first model's own answers."""
    base = next(iter(answers.values()))[OWN]
    return {
        label: {
            name: item_metrics(checked)
            | {"interval": [rate(_right(checked)).low, rate(_right(checked)).high]}
            | {"less_base": asdict(_difference(base, checked))}
            for name, checked in conditions.items()
        }
        for label, conditions in answers.items()
    }


def tables(answers: Answers) -> str:
    """A row for each model and condition, as Markdown."""
    base = next(iter(answers.values()))[OWN]
    levels = sorted({one.level for one in base})
    heads = ["model", "condition", "right", *(f"level {level}" for level in levels)]
    heads += ["right, thinking too", "thinks", "tokens", "less the base's own"]
    rows = [heads, ["---"] * len(heads)]
    for label, conditions in answers.items():
        for name, checked in conditions.items():
            difference = "" if checked is base else _told(_difference(base, checked))
            rows.append([label, name, *_cells(checked, levels), difference])
    groups = {one.group or one.id for one in base}
    note = (
        f"\n{len(base)} held-out items in {len(groups)} groups; greedy answers but for `best of`; "
        "shares with Wilson's 95 % interval; differences are paired, with an interval over groups "
        "and McNemar's p.\n"
    )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n" + note


def _cells(checked: Sequence[ItemAnswer], levels: Sequence[int]) -> list[str]:
    by_level = [[one.is_right for one in checked if one.level == level] for level in levels]
    metrics = item_metrics(checked)
    return [
        rate(_right(checked)).shown(percent=True),
        *(rate(hits).shown(percent=True) for hits in by_level),
        rate([one.is_verified for one in checked]).shown(percent=True),
        f"{metrics['thinks']:.0%}".replace("%", " %"),
        f"{metrics['response_tokens']:.0f}",
    ]


def _told(difference: Difference) -> str:
    return f"{format_difference(difference, True)}, p {format_p(difference.p)}"


def _difference(base: Sequence[ItemAnswer], checked: Sequence[ItemAnswer]) -> Difference:
    groups = [one.group for one in base]
    before, after = ([float(one.is_right) for one in some] for some in (base, checked))
    return paired_difference(before, after, groups)


def _right(checked: Sequence[ItemAnswer]) -> list[bool]:
    return [one.is_right for one in checked]


def _measured(
    options: argparse.Namespace, task: Task, items: Sequence[Item], spec: Spec, first: ModelInfo
) -> dict[str, list[ItemAnswer]]:
    loaded = load_model(spec.name, options.dtype)
    system = loaded.system_prompt(first.system_prompt)
    asks = loaded.thinks and at(loaded.info.config, "data.untriggered_share") != 1
    measurement = TaskMeasurement(
        task, items, loaded, recursion(options), system, asks, options.batch_size
    )
    return measurement.conditions(options.tries, spec.iterations)


def _first(options: argparse.Namespace) -> ModelInfo:
    return named_models(options)[0]


def _task_of_run(options: argparse.Namespace) -> Any:
    return at(_first(options).config, KEY)
