"""Build or update a corpus graph: ``python -m preflexor_pl.index --config configs/orpo.yaml``.

The graph is that of the config's run, as fit makes it, so fit then finds it ready. Files that were
embedded before are not embedded again. No policy is needed, nor Lightning; without a config, give
``--corpus``, ``--embedder`` and ``--out``. Of a config, only what concerns the graph is looked at.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.config_files import read_config
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line, stages
from preflexor_pl.core.settings import (
    DEFAULT_CHUNK_OVERLAP,
    DEFAULT_CHUNK_TOKENS,
    DEFAULT_EMBEDDER,
)
from preflexor_pl.core.tables import shown, table

if TYPE_CHECKING:
    from preflexor_pl.corpus.corpus_index import CorpusIndex


@dataclass(frozen=True)
class Task:
    """What to index.

    Attributes:
        corpus: a folder, a file or a hub id.
        embedder: a model's name.
        chunk_tokens: most tokens of a chunk.
        chunk_overlap: most tokens that neighbouring chunks share.
        text_column: of records, the one that holds the text; None where its name says so.
        seed: of the graph.
        folder: that is locked: of the run, or of the graph where there is no run.
        graph: where the graph goes.
    """

    corpus: str
    embedder: str
    chunk_tokens: int
    chunk_overlap: int
    text_column: str | None
    seed: int
    folder: Path
    graph: Path


def main(args: Sequence[str]) -> int:
    """Build or update, print the table, and return the exit code."""
    task = _task(_parsed(args))
    quiet_libraries()
    from preflexor_pl.cli.run_folder import RunFolder
    from preflexor_pl.core.hub import require_model
    from preflexor_pl.corpus.corpus_index import CorpusIndex
    from preflexor_pl.corpus.sources import require_corpus

    require_corpus(task.corpus)
    require_model(task.embedder, "data.embedder")
    with RunFolder(task.folder).taken():
        log_line(
            f"Reading {task.corpus}: chunks of {task.chunk_tokens} tokens, "
            f"{task.chunk_overlap} shared, for {task.embedder}"
        )
        with stages() as progress:
            library = CorpusIndex.open(
                task.corpus,
                task.embedder,
                task.chunk_tokens,
                task.chunk_overlap,
                task.graph,
                task.seed,
                progress,
                text_column=task.text_column,
            )
    log_line(report(library))
    log_line(f"Graph in {task.graph}")
    return 0


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    told = "Build or update the graph of a corpus, and say what was read and skipped."
    parser = Parser("index", told)
    add = parser.add_argument
    add("--config", "-c", action="append", type=Path, default=[], metavar="FILE", help="as for fit")
    add("--run", type=Path, help="folder of the run; default: runs/<first config's name>")
    add("--corpus", "--data.corpus", help="a folder, a file, or the hub id of a data set")
    add("--embedder", "--data.embedder", help="a sentence-transformers model")
    add("--chunk_tokens", "--data.chunk_tokens", type=int, help="longest chunk")
    add("--chunk_overlap", "--data.chunk_overlap", type=int, help="shared by neighbours")
    add("--text_column", "--data.text_column", help="the column of records that holds their text")
    add("--seed", "--seed_everything", type=int, help="of the graph")
    add("--out", type=Path, help="folder of the graph; default: the run's graph/")
    options = parser.parse_args(args)
    if options.out and (options.config or options.run):
        parser.error("--out is for a graph without a run: leave out --config and --run, or --out")
    if not options.config and not (options.corpus and options.out):
        parser.error("give --config FILE, or --corpus and --out")
    return options


def _task(options: argparse.Namespace) -> Task:
    """The options over the configs, the last of these first."""
    config: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for path in options.config:
        tree = _read(path)
        config |= tree
        data |= tree.get("data") or {}
        data |= {k.removeprefix("data."): v for k, v in tree.items() if k.startswith("data.")}

    def chosen(option: Any, value: Any, default: Any) -> Any:
        return option if option is not None else default if value is None else value

    corpus = chosen(options.corpus, data.get("corpus"), None)
    if not corpus and data.get("task"):
        raise ConfigError("data.task: a run with a task has no corpus, and nothing to index")
    if not corpus:
        raise ConfigError("data.corpus is missing: give it in the config, or as --corpus")
    default_run = f"runs/{options.config[0].stem}" if options.config else None
    run = chosen(options.run, config.get("run"), default_run)
    tokens = chosen(options.chunk_tokens, data.get("chunk_tokens"), DEFAULT_CHUNK_TOKENS)
    overlap = chosen(options.chunk_overlap, data.get("chunk_overlap"), DEFAULT_CHUNK_OVERLAP)
    seed = chosen(options.seed, config.get("seed_everything"), 0)
    column = chosen(options.text_column, data.get("text_column"), None)
    folder = Path(options.out or run)
    return Task(
        str(corpus),
        str(chosen(options.embedder, data.get("embedder"), DEFAULT_EMBEDDER)),
        _whole_number("data.chunk_tokens", tokens),
        _whole_number("data.chunk_overlap", overlap),
        None if column is None else str(column),
        _whole_number("seed_everything", seed),
        folder,
        folder if options.out else folder / "graph",
    )


def _whole_number(key: str, value: Any) -> int:
    if not isinstance(value, int):
        raise ConfigError(f"{key}: got {value!r}, must be a whole number")
    return value


def _read(path: Path) -> dict[str, Any]:
    tree = read_config(path)
    if not isinstance(tree.get("data") or {}, dict):
        raise ConfigError(f"{path} holds no settings: see configs/orpo.yaml")
    return tree


def report(library: "CorpusIndex") -> str:
    """What was read, of which type, and what was skipped, for which reason, as Markdown."""
    from preflexor_pl.corpus.records import suffix_of

    read = Counter(suffix_of(id) for id in library.documents)
    cut = Counter(suffix_of(chunk.document) for chunk in library.chunks.values())
    kinds = [(kind, read[kind], cut[kind]) for kind in sorted(read)]
    lines = table(("read", "documents", "chunks"), [*kinds, ("all", read.total(), cut.total())])
    if library.columns:
        columns = [
            (shown(c.name), c.documents, shown(c.first), shown(c.words, len(c.words)))
            for c in library.columns
        ]
        heads = "column read", "documents", "the first", "its first words"
        lines += ["", *table(heads, columns)]
    reasons = Counter(skipped.reason for skipped in library.skipped)
    first = {skipped.reason: skipped.path for skipped in reversed(library.skipped)}
    if reasons:
        skips = [(reason, count, shown(first[reason])) for reason, count in reasons.most_common()]
        lines += ["", *table(("skipped", "how many", "the first"), skips)]
    vectors = cut.total() + reasons["bad vector"]
    kept = vectors - library.embedded
    lines += ["", f"{library.embedded} chunks embedded now, {kept} from cache"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(guarded(main))
