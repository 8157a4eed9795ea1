"""What training and recursion changed: ``python -m preflexor_pl.evaluate runs/orpo runs/exo``.

Every model answers the same held-out questions, with and without refinements, and the questions of
``facts/items.jsonl``, whose answers can be checked; a judge compares answers, under control. The
base of the first model is always there to compare with. ``MODEL@N`` gives one model N refinements
of its own. What is measured of a model is kept in ``--out``, and not measured again.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.progress import log_line

if TYPE_CHECKING:
    from preflexor_pl.evaluation.comparison import Measured
    from preflexor_pl.evaluation.measure_model import Task
    from preflexor_pl.pairs.pair import PreferencePair
    from preflexor_pl.reasoning.models import ModelInfo

BASE = "base"
FACTS = Path("facts/items.jsonl")
_LEAST = {
    "iterations": 0,
    "seed": 0,
    "questions": 0,
    "items": 0,
    "batch_size": 1,
    "max_new_tokens": 1,
    "critic_max_new_tokens": 1,
}


@dataclass(frozen=True)
class Spec:
    """A model to measure.

    Attributes:
        label: in the tables.
        name: a run, an adapter's folder, an exported folder, or a hub id.
        iterations: refinements after its first answer.
    """

    label: str
    name: str
    iterations: int


def main(args: Sequence[str]) -> int:
    """Measure, judge, write, and return the exit code."""
    options = _parsed(args)
    quiet_libraries()
    from preflexor_pl.evaluation.measure_model import measure

    task, specs = _task(options)
    options.out.mkdir(parents=True, exist_ok=True)
    measured = []
    for spec in specs:
        log_line(f"{spec.label}: {spec.name}, {spec.iterations} refinements")
        measured.append(measure(task, spec.label, spec.name, spec.iterations, options.out))
    _judged_and_written(options, task, measured)
    return 0


def _parsed(args: Sequence[str]) -> argparse.Namespace:
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
    add("--questions", type=int, default=0, help="how many of them; 0: all")
    add("--facts", type=Path, default=FACTS, help="items with known answers")
    add("--no_facts", action="store_true", help="leave them out")
    add("--items", type=int, default=0, help="asked in writing of each stratum of facts; 0: all")
    add("--judge", metavar="MODEL", help="who judges; default: the base of the first model")
    add(
        "--key_env",
        metavar="NAME",
        help="variable that holds the judge's key, where it is MODEL@http://HOST/v1",
    )
    add("--no_judge", action="store_true", help="leave the judge out")
    add("--embedder", help="a sentence-transformers model; default: the first run's")
    add("--max_new_tokens", type=int, default=320, help="of a response")
    add("--critic_max_new_tokens", type=int, default=160, help="of a critic's text")
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the weights")
    add("--batch_size", type=int, default=48, help="texts made together")
    add("--seed", type=int, default=0, help="of samples, partners and bootstraps")
    add("--out", type=Path, default=Path("evaluations/latest"), help="folder of the results")
    options = parser.parse_args(args)
    for name, least in _LEAST.items():
        if getattr(options, name) < least:
            parser.error(f"--{name}: got {getattr(options, name)}, must be >= {least}")
    if options.questions == 1:
        parser.error("--questions: got 1, must be 0 (all) or >= 2: answers are set against others")
    if not options.no_facts and not options.facts.is_file():
        parser.error(f"--facts: {options.facts} does not exist: give a file, or --no_facts")
    if options.pairs and not options.pairs.is_file():
        parser.error(f"--pairs: {options.pairs} does not exist")
    return options


def _counted(text: str, otherwise: int) -> tuple[str, int]:
    """``MODEL@N`` as both, ``MODEL`` with what holds for every model."""
    name, at, count = text.rpartition("@")
    return (name, int(count)) if at and count.isdecimal() else (text, otherwise)


def _specs(options: argparse.Namespace, base: str) -> list[Spec]:
    """The models by their labels, each once, the base first."""
    specs: list[Spec] = []
    for text in options.models:
        name, count = _counted(text, options.iterations)
        short = name if name != BASE and Path(name).name == BASE else Path(name).name or name
        name = base if name == BASE else name
        known = [spec.iterations for spec in specs if spec.name == name]
        labels = [short, f"{short}@{count}" if known else name, f"{name}@{count}"]
        free = [label for label in labels if label not in [spec.label for spec in specs]]
        if count not in known:
            specs.append(Spec(free[0], name, count))
    if base not in [spec.name for spec in specs]:
        specs.insert(0, Spec(BASE, base, 0))
    return sorted(specs, key=lambda spec: spec.name != base)


def _require(known: "ModelInfo") -> None:
    """Refuse a model that cannot be had, before any is measured."""
    from preflexor_pl.reasoning.models import NAMED

    try:
        _ = known.identity
    except ConfigError as error:  # the option is another command's
        raise ConfigError(str(error).removeprefix(f"{NAMED}: ")) from error


def _task(options: argparse.Namespace) -> "tuple[Task, list[Spec]]":
    """What all models are measured on, read from the first run where no option says otherwise."""
    from preflexor_pl.core.hub import require_model
    from preflexor_pl.core.settings import Sampling
    from preflexor_pl.evaluation.facts import by_stratum, read_items
    from preflexor_pl.evaluation.measure_model import Task
    from preflexor_pl.pairs.journal import markers_of
    from preflexor_pl.pairs.pair import read_pairs
    from preflexor_pl.reasoning.models import model_info
    from preflexor_pl.reasoning.settings import ReasoningSettings
    from preflexor_pl.server.generator import named_server

    named = dict.fromkeys(_counted(text, 0)[0] for text in options.models)
    models = [model_info(name) for name in named if name != BASE]
    if not models:
        raise ConfigError("give one model besides base: its base is measured with it")
    first = models[0]
    behind = named_server(options.judge or "", "--judge", options.key_env)
    others = (BASE if behind else options.judge or BASE, first.base)
    for known in (*models, *(model_info(name) for name in others if name != BASE)):
        _require(known)
    pairs_file = options.pairs or (first.run / "held_out/pairs.jsonl" if first.run else None)
    if pairs_file is None or not pairs_file.is_file():
        raise ConfigError(f"{first.name} is no run with held-out pairs: give --pairs FILE")
    pairs = read_pairs(pairs_file)[: options.questions or None]
    if len(pairs) < 2:
        raise ConfigError(f"{pairs_file} holds {len(pairs)} pairs: at least two are needed")
    embedder = options.embedder or first.embedder
    if not embedder:
        raise ConfigError(f"{first.name} is no run: give --embedder")
    require_model(embedder, "--embedder")
    items, written = {}, {}
    if not options.no_facts:
        if first.run is None:
            raise ConfigError(f"{first.name} is no run, whose split the facts need: --no_facts")
        found = read_items(options.facts)
        items = by_stratum(found, *first.documents, 0, options.seed)
        written = by_stratum(found, *first.documents, options.items, options.seed)
        lost = len(found) - sum(map(len, items.values()))
        if lost:
            log_line(
                f"{lost} items of {options.facts} are on no document of {first.name}: left out"
            )
    _require_unseen(models, pairs, pairs_file)
    penalty = ReasoningSettings().critic.repetition_penalty
    settings = ReasoningSettings(
        model=Sampling(options.max_new_tokens, 0.0),  # as in training's own evaluation
        critic=Sampling(options.critic_max_new_tokens, 0.0, repetition_penalty=penalty),
        seed=options.seed,
        stop_when_unchanged=False,
    )
    task = Task(
        pairs,
        items,
        written,
        embedder,
        settings,
        options.variants,
        first.system_prompt,
        options.dtype,
        options.batch_size,
        options.seed,
        markers_of(pairs_file) or first.markers,
    )
    return task, _specs(options, first.base)


def _require_unseen(
    models: "Sequence[ModelInfo]", pairs: "Sequence[PreferencePair]", pairs_file: Path
) -> None:
    """Refuse models of which one, in any of its phases, trained on what the questions are about.

    Raises:
        ConfigError: names the model and the documents.
    """
    from preflexor_pl.corpus.lineage import names_of

    first = models[0]
    if first.run is None or not (first.run / "graph").is_dir():
        log_line(f"{first.name} is no run: whether models trained on {pairs_file} is not known")
        return
    library = first.library()
    ids = {id for pair in pairs for id in pair.chunk_ids}
    asked = {library.chunks[id].document for id in ids & library.chunks.keys()}
    if not ids or ids - library.chunks.keys():
        log_line(
            f"{pairs_file} is not all about the documents of {first.name}: whether models trained "
            "on the others is not known"
        )
    for known in models:
        seen = asked.intersection(names_of(library.hashes, known.lineage.trained))
        if seen:
            raise ConfigError(
                f"{known.name} trained, in this phase or in one before it, on what the questions "
                f"of {pairs_file} are about ({', '.join(sorted(seen))[:200]}): evaluate runs that "
                "held the same documents out together, or give --pairs on other documents"
            )
        if not known.lineage.complete:
            log_line(
                f"{known.name}: it is not known what all of its phases trained on, perhaps on the "
                "documents of the questions"
            )


def _judged_and_written(
    options: argparse.Namespace, task: "Task", measured: "list[Measured]"
) -> None:
    from preflexor_pl.evaluation.comparison import tables
    from preflexor_pl.evaluation.comparison_plots import plot_comparison

    control: dict[str, Any] = {}
    records: list[dict[str, Any]] = []
    if not options.no_judge:
        control, records = _judge(options, task, measured)
    rows = [row for one in measured for row in one.rows]
    made = plot_comparison(rows, options.out / "plots")
    pictures = "".join(f"\n![{path.stem}](plots/{path.name})\n" for path in made)
    told = tables(rows, control, len(task.pairs), task.documents)
    text = f"# Models side by side\n\n{told}{pictures}"
    result = {
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "questions": len(task.pairs),
        "items": {name: len(items) for name, items in task.items.items()},
        "items in writing": {name: len(items) for name, items in task.written.items()},
        "documents": task.documents,
        "rows": [row.to_dict() for row in rows],
        "judge": {name: asdict(value) for name, value in control.items()},
    }
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    write_atomically(options.out / "judgements.jsonl", "".join(lines))
    record = json.dumps(result, indent=1, ensure_ascii=False)
    write_atomically(options.out / "results.json", f"{record}\n")
    write_atomically(options.out / "table.md", text)
    log_line(f"\n{text}\nSee {options.out / 'table.md'}")


def _judge(
    options: argparse.Namespace, task: "Task", measured: "list[Measured]"
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Have the rows judged; the judge's controls, and a record of every contest."""
    from preflexor_pl.evaluation.judging import judged
    from preflexor_pl.evaluation.measure_model import taught_answers
    from preflexor_pl.pairs.judge import PairwiseJudge
    from preflexor_pl.reasoning.models import load_reader

    name = measured[0].name if options.judge in (None, BASE) else options.judge
    reader = load_reader(name, options.batch_size, options.dtype, "--judge", options.key_env)
    judge = PairwiseJudge(reader, options.seed)
    taught = taught_answers(task.pairs, task.markers)
    wrong = [(i.question, i.answer, i.distractors[0]) for i in task.items.get("control", ())]
    return judged(judge, task.questions, taught, wrong, measured, options.seed)


if __name__ == "__main__":
    sys.exit(guarded(main))
