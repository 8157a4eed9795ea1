"""What training and recursion changed: ``python -m preflexor_pl.evaluate runs/orpo runs/exo``.

Every model answers the same held-out questions, with and without refinements, and the questions of
``facts/items.jsonl``, whose answers can be checked; a judge, whose reliability is measured too,
compares answers. The base of the first model is always measured for comparison. ``MODEL@N`` gives
one model its own number of refinements. Results are kept in ``--out`` and not measured again.

Models that were trained on a task are measured on its held-out items instead, also with their
thinking removed or another item's in its place.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line

FACTS = Path("facts/items.jsonl")
_MINIMUM = {
    "iterations": 0,
    "seed": 0,
    "questions": 0,
    "items": 0,
    "held_out": 1,
    "tries": 0,
    "batch_size": 1,
    "max_new_tokens": 1,
    "critic_max_new_tokens": 1,
}


def main(args: Sequence[str]) -> int:
    """Measure, judge, write, and return the exit code."""
    options = _parsed(args)
    quiet_libraries()
    from preflexor_pl.evaluation.measure_model import measure
    from preflexor_pl.evaluation.read_evaluation_set import read_evaluation_set
    from preflexor_pl.evaluation.results import write_results
    from preflexor_pl.evaluation.task_results import asks_task, evaluate_task

    is_task = asks_task(options)
    if not (is_task or options.no_facts or options.facts.is_file()):
        raise ConfigError(f"--facts: {options.facts} does not exist: give a file, or --no_facts")
    if is_task:
        log_line(f"\n{evaluate_task(options)}\nSee {options.out / 'table.md'}")
        return 0
    asked, specs = read_evaluation_set(options)
    options.out.mkdir(parents=True, exist_ok=True)
    measured = []
    for spec in specs:
        log_line(f"{spec.label}: {spec.name}, {spec.iterations} refinements")
        measured.append(measure(asked, spec.label, spec.name, spec.iterations, options.out))
    text = write_results(options, asked, measured)
    log_line(f"\n{text}\nSee {options.out / 'table.md'}")
    return 0


def _parser() -> Parser:
    parser = Parser("evaluate", "Measure models side by side, with 0 to N refinements.")
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL[@N]", help="a run, a folder or a hub id; base")
    add("--iterations", type=int, default=0, help="refinements, for every model without an @N")
    add(
        "--variants",
        nargs="+",
        choices=["thinking", "reflection"],
        help="of the recursion; default: what each model was trained for",
    )
    add("--pairs", type=Path, metavar="FILE", help="held-out pairs; default: the first run's")
    add("--questions", type=int, default=0, help="number of held-out questions; 0: all")
    add("--task", metavar="FILE", help="measure on a bank's items; default: the first run's task")
    add("--held_out", type=int, default=200, help="how many of its items, of all levels alike")
    add("--tries", type=int, default=0, help="sampled answers to each item, for pass@k; 0: none")
    add("--facts", type=Path, default=FACTS, help="items with known answers")
    add("--no_facts", action="store_true", help="measure no facts")
    add("--items", type=int, default=0, help="facts a stratum also answered in writing; 0: all")
    add("--judge", metavar="MODEL", help="compares answers; default: the base of the first model")
    add(
        "--key_env",
        metavar="NAME",
        help="variable that holds the judge's key, where it is MODEL@http://HOST/v1",
    )
    add("--no_judge", action="store_true", help="compare no answers")
    add("--embedder", help="a sentence-transformers model; default: the first run's")
    add("--max_new_tokens", type=int, default=320, help="of a response")
    add("--critic_max_new_tokens", type=int, default=160, help="of a critic's text")
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the weights")
    add("--batch_size", type=int, default=48, help="texts generated together")
    add("--seed", type=int, default=0, help="of samples and bootstraps")
    add("--out", type=Path, default=Path("evaluations/latest"), help="folder of the results")
    return parser


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(args)
    for name, minimum in _MINIMUM.items():
        if getattr(options, name) < minimum:
            parser.error(f"--{name}: got {getattr(options, name)}, must be >= {minimum}")
    if options.questions == 1:
        parser.error("--questions: got 1, must be 0 (all) or >= 2: answers are compared")
    if options.pairs and not options.pairs.is_file():
        parser.error(f"--pairs: {options.pairs} does not exist")
    return options


if __name__ == "__main__":
    sys.exit(guarded(main))
