"""What a run has shown, in words: `summary.md`, and a few lines for the terminal.

What got worse comes first, and the summary of a small model says that it shows form and not truth.
The page is a template, `templates/summary.md.j2`; its table is made in `metrics_table.py`, its
pictures in `plots.py`.

The facts of a run are all optional; what is not given, or None, is not claimed:
    model, weights (their dtype, and the device), start (what the phase started from), task,
    teacher, loss (str); parameters, rounds, pairs, held_out_questions, seed, epochs (int); minutes
    (float); drops (reason -> count); rejected_thinking, pairs_by_topic, answers, tries, chosen (see
    `pairs/round_facts.py`: name -> number); versions (package -> version); config (path of the YAML
    file; without one no command is shown); artifact (the folder that the run left); sample (dict of
    question, before, after: three texts).
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from preflexor_pl.core.csv_rows import Row, read_rows
from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.tables import as_code
from preflexor_pl.evaluation.changes import CEILING, Change, what_got_worse
from preflexor_pl.evaluation.metrics_table import (
    METRICS,
    changes,
    metrics_of,
    questions_of,
    results_table,
)
from preflexor_pl.evaluation.question_values import values_after

SMALL_MODEL = 1_000_000_000  # parameters; below it an answer's truth is luck

_NONE: Mapping[str, Change] = MappingProxyType({})


def write_summary(
    run_folder: Path, facts: Mapping[str, Any], changed: Mapping[str, Change] | None = None
) -> str:
    """Write `summary.md` of a run from its `metrics.csv` and the facts, and return its text.

    Args:
        run_folder: of the run; `plots/overview.png` is embedded where it exists.
        facts: see the head of this file.
        changed: the result of `run_changes`; None computes it.
    """
    facts = _known(facts)
    first, last = before_and_after(read_rows(run_folder / "metrics.csv"))
    changed = run_changes(run_folder) if changed is None else changed
    text = _template("summary.md.j2").render(
        run=run_folder,
        facts=dict.fromkeys(("held_out_questions", "sample", "config")) | facts,
        got_worse=what_got_worse(list(changed.values()), "From round 0 to the last one"),
        table=results_table(first, last, facts.get("held_out_questions"), changed),
        has_plot=(run_folder / "plots" / "overview.png").exists(),
        is_checked="task" in facts,
        is_small=facts.get("parameters", SMALL_MODEL) < SMALL_MODEL,
        amounts=_amounts(facts),
        artifact=facts.get("artifact", "adapter"),
    )
    write_atomically(run_folder / "summary.md", text)
    return text


def run_changes(run_folder: Path) -> dict[str, Change]:
    """The paired changes of a run from round 0 to its last evaluation, by metric."""
    _, last = before_and_after(read_rows(run_folder / "metrics.csv"))
    if not last:
        return {}
    return changes(values_after(run_folder, 0), values_after(run_folder, int(last["round"])))


def summary_lines(
    facts: Mapping[str, Any], rows: Sequence[Row], changed: Mapping[str, Change] = _NONE
) -> list[str]:
    """The run in at most 9 plain ASCII lines for a terminal, what got worse before the numbers.

    Args:
        facts: see the head of this file.
        rows: the rows of `metrics.csv`.
        changed: the result of `run_changes`.
    """
    facts = _known(facts)
    first, last = before_and_after(rows)
    n = facts.get("held_out_questions")
    named = [f"{name} {facts[name]}" for name in ("model", "teacher", "loss") if name in facts]
    lines = [", ".join(named), _amounts(facts)]
    worse = [change.label for change in changed.values() if change.got_worse]
    lines.append(f"got worse: {', '.join(worse)}" if worse else "")
    told = [m for m in metrics_of({*first, *last}) if m.of_items or m in METRICS[:5]][:5]
    full = [m for m in told if m.at_ceiling(first) and m.label not in worse]
    for metric in told:
        over = questions_of(metric, changed.get(metric.column), n)
        before, after = metric.cell(first, over), metric.cell(last, over)
        if metric not in full and (before or after):
            lines.append(f"{metric.label}: {before or '?'} -> {after or '?'}")
    if full:
        cells = (f"{m.label} {m.cell(last, None if m.of_items else n) or '?'}" for m in full)
        lines.append(f"{CEILING}: {', '.join(cells)}")
    if "task" not in facts and facts.get("parameters", SMALL_MODEL) < SMALL_MODEL:
        lines.append("A model of this size shows form, not truth: check what it says.")
    return [line for line in lines if line]


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}


def before_and_after(rows: Iterable[Row]) -> tuple[Row, Row]:
    """Round 0 and the last round after it; an empty row for one that has not been evaluated."""
    by_round = {int(row["round"]): row for row in rows if row.get("round", "").isdecimal()}
    last = max(by_round, default=0)
    return by_round.get(0, {}), by_round[last] if last > 0 else {}


def _amounts(facts: Mapping[str, Any]) -> str:
    drops = sum(facts.get("drops", {}).values())
    parts = [f"{facts[name]} {name}" for name in ("rounds", "pairs") if name in facts]
    parts += [f"{drops} dropped"] if "drops" in facts else []
    parts += [f"{facts['minutes']:.1f} minutes"] if "minutes" in facts else []
    parts += [f"seed {facts['seed']}"] if "seed" in facts else []
    return ", ".join(parts)


def _template(name: str) -> Any:
    """A template of this folder, with the filters that its pages use."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": as_code,
        "fenced": _fenced,
        "listed": _listed,
        "shell_quoted": lambda value: shlex.quote(str(value)),
    }
    return environment.get_template(name)


def _listed(items: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(items.items()))


def _fenced(text: str) -> str:
    # Longer than any run of backticks inside: what a model wrote cannot close the block.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.strip()}\n{fence}"
