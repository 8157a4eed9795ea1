"""The run's numbers on disk and in words: rows of a CSV, `summary.md`, the lines for the terminal.

What a run has shown and what it has not is said here, once: what got worse comes first, and a small
model's summary says that it shows form and not truth. The numbers are set in `metrics_table.py`,
the pictures in `plots.py`.

The facts of a run, all of them optional; what is not given, or None, is not claimed:
    model, weights (their dtype, and the device), start (what the phase started from), teacher, loss
    (str); parameters, rounds, pairs, held_out_questions, seed, epochs (int); minutes (float); drops
    (reason -> count); rejected_thinking, pairs_by_topic, answers (see `pairs/round_facts.py`: name
    -> number); versions (package -> version); config (path of the YAML file); artifact (the
    folder that the run left); sample (dict of question, before, after: three texts).
"""

import csv
import io
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.files import write_atomically
from preflexor_pl.evaluation.metrics_table import METRICS, changes, results_table
from preflexor_pl.evaluation.question_values import read_values, values_path
from preflexor_pl.evaluation.worse import CEILING, Change, what_got_worse

SMALL_MODEL = 1_000_000_000  # parameters; below it an answer's truth is luck

Row = dict[str, str]

_NONE: Mapping[str, Change] = MappingProxyType({})


def read_rows(csv_path: Path, key: str = "round") -> list[Row]:
    """The rows of a CSV file with a header; no file, no rows.

    A cell that is missing is "", one beyond the header is left out, and a last line without its
    newline is dropped: it was cut off, and its last number may be half a number. What a spreadsheet
    saved is read too: a byte order mark, semicolons or tabs, and with them decimal commas.

    Raises:
        CorpusError: there is a header, and it has no column ``key``.
    """
    try:
        with open(csv_path, encoding="utf-8-sig", errors="replace", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    complete = text[: text.rfind("\n") + 1]
    header = complete.partition("\n")[0]
    mark = max(",;\t", key=header.count)  # the first of them where there is none
    rows = csv.DictReader(io.StringIO(complete, newline=""), restval="", delimiter=mark)
    if key not in (rows.fieldnames or [key]):
        raise CorpusError(
            f"{csv_path} is damaged: its header has no column {key!r}: restore it from a copy, or "
            "delete it, and its rows to come are written anew"
        )
    found = [{name: cell for name, cell in row.items() if name is not None} for row in rows]
    if mark == ",":
        return found
    return [{name: cell.replace(",", ".") for name, cell in row.items()} for row in found]


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
    changed = run_changes(run_folder)
    plot = "![Overview of the run](plots/overview.png)"
    parts = [
        f"# Run {run_folder.name}",
        what_got_worse(list(changed.values()), "From round 0 to the last one"),
        _results(rows, facts.get("held_out_questions"), changed),
        plot if (run_folder / "plots" / "overview.png").exists() else "",
        "## What this shows, and what it does not\n\n" + _honesty(facts),
        "## What was trained\n\n" + _trained(facts),
        _sample(facts.get("sample")),
        "## What to do next\n\n" + _next_steps(run_folder, facts),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_atomically(run_folder / "summary.md", text)
    return text


def run_changes(run_folder: Path) -> dict[str, Change]:
    """The paired changes of a run from round 0 to its last evaluation, by metric."""
    _, last = before_and_after(read_rows(run_folder / "metrics.csv"))
    if not last:
        return {}
    begun, ended = (values_path(run_folder, index) for index in (0, int(last["round"])))
    return changes(read_values(begun), read_values(ended))


def summary_lines(
    facts: Mapping[str, Any], rows: Sequence[Row], changed: Mapping[str, Change] = _NONE
) -> list[str]:
    """The run in at most 9 plain ASCII lines for a terminal, what got worse before the numbers.

    Args:
        facts: See the head of this file.
        rows: The rows of `metrics.csv`.
        changed: What `run_changes` gives.
    """
    facts = _known(facts)
    first, last = before_and_after(rows)
    n = facts.get("held_out_questions")
    named = [f"{name} {facts[name]}" for name in ("model", "teacher", "loss") if name in facts]
    lines = [", ".join(named), _amounts(facts)]
    worse = [change.label for change in changed.values() if change.got_worse]
    lines.append(f"got worse: {', '.join(worse)}" if worse else "")
    full = [m for m in METRICS[:5] if m.at_ceiling(first) and m.label not in worse]
    for metric in METRICS[:5]:
        before, after = metric.shown(first, n), metric.shown(last, n)
        if metric not in full and (before or after):
            lines.append(f"{metric.label}: {before or '?'} -> {after or '?'}")
    if full:
        told = (f"{m.label} {m.shown(last, n) or '?'}" for m in full)
        lines.append(f"{CEILING}: {', '.join(told)}")
    if facts.get("parameters", SMALL_MODEL) < SMALL_MODEL:
        lines.append("A model of this size shows form, not truth: check what it says.")
    return [line for line in lines if line]


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}


def before_and_after(rows: Iterable[Row]) -> tuple[Row, Row]:
    """Round 0 and the last round after it; an empty row for one that has not been evaluated."""
    by_round = {int(row["round"]): row for row in rows if row.get("round", "").isdecimal()}
    last = max(by_round, default=0)
    return by_round.get(0, {}), by_round[last] if last > 0 else {}


def _results(rows: Sequence[Row], n: int | None, changed: Mapping[str, Change]) -> str:
    table = results_table(*before_and_after(rows), n, changed)
    if not table:
        return "This run has not been evaluated yet."
    if not n:
        return table
    return (
        f"{table}\n\nIn brackets: 95 % intervals over the {n} held-out questions, Wilson's for "
        "rates; of a change, over the same questions, by a bootstrap of whole documents, with "
        f"McNemar's p for rates. On topic by chance: {100 / n:.0f} %. All metrics: `metrics.csv`; "
        "values of each question: `samples/held-out-*.jsonl`."
    )


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
    for name in ("drops", "rejected_thinking", "pairs_by_topic", "answers", "versions"):
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
