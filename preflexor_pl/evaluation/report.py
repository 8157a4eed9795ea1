"""The run's numbers on disk and in words: rows of a CSV, `summary.md`, the lines for the terminal.

What a run has shown and what it has not is said here, once: rates carry their 95 % interval, and a
small model's summary says that it shows form and not truth. The pictures are made in `plots.py`.

The facts of a run, all of them optional; what is not given, or None, is not claimed:
    model, weights (their dtype, and the device), start (what the phase started from), teacher, loss
    (str); parameters, rounds, pairs, held_out_questions, seed, epochs (int); minutes (float); drops
    (reason -> count); versions (package -> version); config (path of the YAML file); artifact (the
    folder that the run left); sample (dict of question, before, after: three texts).
"""

import csv
import io
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.files import write_atomically
from preflexor_pl.evaluation.text_metrics import wilson_interval

SMALL_MODEL = 1_000_000_000  # parameters; below it an answer's truth is luck

Row = dict[str, str]


@dataclass(frozen=True)
class _Metric:
    column: str
    label: str
    kind: Literal["rate", "share", "number"]  # a rate is hits of n questions, so it has an interval


_METRICS = (
    _Metric("val/format_rate", "answers in the trained form", "rate"),
    _Metric("val/distinct", "distinct answers", "share"),
    _Metric("val/on_topic", "answers on topic (chance: 50 %)", "rate"),
    _Metric("val/repetition", "repeated word 4-grams (less is better)", "share"),
    _Metric("val/rewards/accuracies", "chosen preferred to rejected", "rate"),
    _Metric("val/accuracy_mismatched", "chosen preferred to a mismatched answer", "rate"),
    _Metric("val/rewards/margins", "reward margin", "number"),
    _Metric("val/log_odds_ratio", "log odds ratio", "number"),
    _Metric("val/loss", "loss (less is better)", "number"),
    _Metric("val/nll", "NLL of chosen, nats per token (less is better)", "number"),
)


def read_rows(csv_path: Path) -> list[Row]:
    """The rows of a CSV file with a header; no file, no rows.

    A cell that is missing is "", one beyond the header is left out, and a last line without its
    newline is dropped: it was cut off, and its last number may be half a number.
    """
    try:
        with open(csv_path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    complete = text[: text.rfind("\n") + 1]
    rows = csv.DictReader(io.StringIO(complete, newline=""), restval="")
    return [{name: cell for name, cell in row.items() if name is not None} for row in rows]


def write_row(csv_path: Path, row: Mapping[str, object], key: str = "round") -> None:
    """Put a row in a CSV file: in the place of the row with the same key, else at the end.

    The file is replaced as a whole, so a reader sees the old one or the new one. New columns go to
    the end of the header; None becomes an empty cell. One process writes a file, not two.

    Raises:
        ValueError: If the row has no value under ``key``.
    """
    cells = {name: "" if value is None else str(value) for name, value in row.items()}
    if not cells.get(key):
        raise ValueError(f"a row of {csv_path} needs a value under {key!r}, got {dict(row)}")
    rows = read_rows(csv_path)
    names = dict.fromkeys([*(rows[0] if rows else ()), *cells])
    place = next((i for i, old in enumerate(rows) if old.get(key) == cells[key]), len(rows))
    rows[place : place + 1] = [cells]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(csv_path, text.getvalue())


def write_summary(run_folder: Path, facts: Mapping[str, Any]) -> str:
    """Write `summary.md` of a run from its `metrics.csv` and the facts, and return its text.

    Args:
        run_folder: The folder of the run; `plots/overview.png` is embedded where it exists.
        facts: See the head of this file.
    """
    facts = _known(facts)
    rows = read_rows(run_folder / "metrics.csv")
    plot = "![Overview of the run](plots/overview.png)"
    parts = [
        f"# Run {run_folder.name}",
        _results(rows, facts.get("held_out_questions")),
        plot if (run_folder / "plots" / "overview.png").exists() else "",
        "## What this shows, and what it does not\n\n" + _honesty(facts),
        "## What was trained\n\n" + _trained(facts),
        _sample(facts.get("sample")),
        "## What to do next\n\n" + _next_steps(run_folder, facts),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_atomically(run_folder / "summary.md", text)
    return text


def summary_lines(facts: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """The run in at most 8 plain ASCII lines for a terminal.

    Args:
        facts: See the head of this file.
        rows: The rows of `metrics.csv`.
    """
    facts = _known(facts)
    first, last = _before_and_after(rows)
    n = facts.get("held_out_questions")
    named = [f"{name} {facts[name]}" for name in ("model", "teacher", "loss") if name in facts]
    lines = [", ".join(named), _amounts(facts)]
    for metric in _METRICS[:4]:
        before, after = _shown(metric, first, n), _shown(metric, last, n)
        if before or after:
            lines.append(f"{metric.label}: {before or '?'} -> {after or '?'}")
    if facts.get("parameters", SMALL_MODEL) < SMALL_MODEL:
        lines.append("A model of this size shows form, not truth: check what it says.")
    return [line for line in lines if line]


def phases_table(runs: Sequence[tuple[Path, float, int]]) -> str:
    """A Markdown table: what each run ended with, and first of all what the first one began with.

    Args:
        runs: folder, minutes and number of held-out questions of each.
    """
    metrics = _METRICS[:7]
    lines = [
        "| | " + " | ".join(metric.label for metric in metrics) + " | minutes |",
        "|" + "---|" * (len(metrics) + 2),
    ]
    for place, (run, minutes, n) in enumerate(runs):
        before, after = _before_and_after(read_rows(run / "metrics.csv"))
        rows = [(f"after {run.name}", after, f"{minutes:.1f}")]
        if place == 0:
            rows.insert(0, (f"before {run.name}", before, ""))
        for name, row, time in rows:
            cells = [_shown(metric, row, n) or "-" for metric in metrics]
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {time} |")
    n = runs[0][2]
    lines.append(
        f"\nOver {n} held-out questions, in brackets 95 % Wilson intervals. Topic, variety and "
        "repetition compare across phases. The form is each phase's own, and so are the rejected "
        "answers and the reward."
    )
    return "\n".join(lines)


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}


def _before_and_after(rows: Iterable[Row]) -> tuple[Row, Row]:
    """Round 0 and the last round after it; an empty row for one that has not been evaluated."""
    by_round = {int(row["round"]): row for row in rows if row.get("round", "").isdecimal()}
    last = max(by_round, default=0)
    return by_round.get(0, {}), by_round[last] if last > 0 else {}


def _shown(metric: _Metric, row: Row, n: int | None) -> str:
    """A value with its unit and, for a rate, its interval over n questions; "" without a value."""
    try:
        value = float(row.get(metric.column, ""))
    except ValueError:
        return ""
    if not math.isfinite(value):
        return ""
    if metric.kind == "number":
        return f"{value:.3f}"
    shown = f"{100 * value:.1f} %"
    if metric.kind == "rate" and n:
        low, high = wilson_interval(n * min(1.0, max(0.0, value)), n)
        shown += f" [{100 * low:.0f}, {100 * high:.0f}]"
    return shown


def _results(rows: Sequence[Row], n: int | None) -> str:
    first, last = _before_and_after(rows)
    lines = [
        f"| held out | metric | before (round 0) | after (round {last.get('round', '?')}) |",
        "|---|---|---|---|",
    ]
    for metric in _METRICS:
        before, after = _shown(metric, first, n), _shown(metric, last, n)
        if before or after:
            lines.append(
                f"| {metric.label} | `{metric.column}` | {before or '-'} | {after or '-'} |"
            )
    if len(lines) == 2:
        return "This run has not been evaluated yet."
    if n:
        lines.append(
            f"\nIn brackets: 95 % Wilson interval over the {n} held-out questions. A difference "
            "that fits inside the intervals is not a finding. All metrics: `metrics.csv`."
        )
    return "\n".join(lines)


def _honesty(facts: Mapping[str, Any]) -> str:
    parameters = facts.get("parameters")
    if parameters is not None and parameters < SMALL_MODEL:
        return (
            f"The model has {parameters / 1e6:.0f} million parameters. This run shows **form, not "
            "truth**: whether the model learned to think before it answers, and stays varied and "
            "on topic while it does. A model of this size does not know the subject, its answers "
            "read better than they are, and nothing above checks a fact. For answers worth "
            "reading, run the same command with a larger model and a stronger teacher."
        )
    return (
        "The numbers above measure form, variety, topic and preference on held-out questions. "
        "None of them checks a fact: read the samples against the sources before you trust an "
        "answer."
    )


def _amounts(facts: Mapping[str, Any]) -> str:
    drops = sum(facts.get("drops", {}).values())
    shown = [f"{facts[name]} {name}" for name in ("rounds", "pairs") if name in facts]
    shown += [f"{drops} dropped"] if "drops" in facts else []
    shown += [f"{facts['minutes']:.1f} minutes"] if "minutes" in facts else []
    shown += [f"seed {facts['seed']}"] if "seed" in facts else []
    return ", ".join(shown)


def _trained(facts: Mapping[str, Any]) -> str:
    lines = [
        f"- {name}: {_inline(facts[name])}"
        for name in ("model", "weights", "start", "teacher", "loss")
        if name in facts
    ]
    if amounts := _amounts(facts):
        lines.append(f"- amounts: {amounts}")
    for name in ("drops", "versions"):
        if items := facts.get(name):
            listed = ", ".join(f"{key} {value}" for key, value in sorted(items.items()))
            lines.append(f"- {name}: {_inline(listed)}")
    return "\n".join(lines) or "Nothing is recorded."


def _inline(value: object) -> str:
    return "`" + " ".join(str(value).replace("`", "'").split()) + "`"


def _sample(sample: Mapping[str, str] | None) -> str:
    if not sample:
        return ""
    names = [name for name in ("question", "before", "after") if name in sample]
    blocks = [f"{name.capitalize()}:\n\n{_fenced(sample[name])}" for name in names]
    return "\n\n".join(["## One held-out question, before and after", *blocks])


def _fenced(text: str) -> str:
    # Longer than any run of backticks inside: what a model wrote cannot close the block.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.strip()}\n{fence}"


def _next_steps(run_folder: Path, facts: Mapping[str, Any]) -> str:
    config = shlex.quote(str(facts.get("config", "configs/orpo.yaml")))
    fit = f"python -m preflexor_pl.fit --config {config}"
    more = 2 * facts["epochs"] if "epochs" in facts else "MORE"
    left = facts.get("artifact", "adapter")
    return (
        "```bash\n"
        "# go on from here with more epochs\n"
        f"{fit} --run {shlex.quote(str(run_folder))} --trainer.max_epochs {more}\n"
        "# the same on another corpus: a folder of .md, .txt or .html files\n"
        f"{fit} --data.corpus FOLDER --run runs/other\n"
        "```\n\n"
        f"`{left}/` loads with plain transformers and peft; "
        f"[its model card]({left}/README.md) has the lines to copy."
    )
