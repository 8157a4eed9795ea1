"""Summary of a run's pairs, and their export: ``python -m preflexor_pl.dataset runs/orpo``.

With ``--out`` they go to a file or a folder that other preference trainers read. Texts are as in
the run: nothing is cut, masked or put into a chat template. Only the run's files are read.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.config_files import read_config
from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.tables import shown
from preflexor_pl.pairs.export import check_out, rows_of, write_rows
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.pairs.round_folders import (
    MANIFEST,
    complete_rounds,
    is_complete,
    read_manifest,
    round_folder,
)
from preflexor_pl.pairs.summary import Part, summary

MAX_PATH = 80  # letters


def main(args: Sequence[str]) -> int:
    """Print the summary or write the export, and return the exit code."""
    options = _parsed(args)
    files = _files(options)
    if options.out:
        check_out(options.out, list(files.values()), options.overwrite)
    system = _system_prompt(options.run) if options.conversational else None
    parts = [_part(name, path) for name, path in files.items()]
    pairs = [pair for part in parts for pair in part.pairs]
    what = f"{len(pairs)} pairs of {_source(options, files)}"
    if options.out:
        quiet_libraries()
        write_rows(rows_of(pairs, options.all_columns, options.conversational, system), options.out)
        turn = "with" if system else "without"
        form = f", as messages {turn} a system turn" if options.conversational else ""
        log_line(f"{options.out}: {what}{form}")
    else:
        log_line(f"{options.run}: {what}" if options.run else what)
        for name, path in files.items() if options.pairs else ():
            log_line(f"  file {name}: {shown(str(path), MAX_PATH)}")
        log_line("\n" + summary(parts, "file" if options.pairs else "round"))
    return 0


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = Parser("dataset", "Say what a run's pairs are, or export them with --out.")
    add = parser.add_argument
    add("run", nargs="?", type=Path, metavar="RUN", help="the folder of a run")
    add("--pairs", nargs="+", type=Path, metavar="FILE", help="these files in place of a run's")
    add("--rounds", nargs="+", type=int, metavar="N", help="default: all that are complete")
    add("--held_out", action="store_true", help="the held-out pairs in place of the rounds'")
    add(
        "--out", type=Path, help="FILE.jsonl, FILE.parquet, or a folder for datasets.load_from_disk"
    )
    add("--all_columns", action="store_true", help="with id, round, topic, chunk_ids, ...")
    add("--conversational", action="store_true", help="as lists of messages with role and content")
    add("--overwrite", action="store_true", help="replace an older export")
    options = parser.parse_args(args)
    if bool(options.run) == bool(options.pairs):
        parser.error("give either RUN or --pairs FILE")
    if bool(options.rounds) + options.held_out + bool(options.pairs) > 1:
        parser.error("give one of --pairs, --rounds and --held_out")
    for name in ("all_columns", "conversational", "overwrite"):
        if getattr(options, name) and not options.out:
            parser.error(f"--{name} is of no use without --out")
    return options


def _files(options: argparse.Namespace) -> dict[str, Path]:
    """Names of parts and the files that hold their pairs."""
    run = options.run
    if options.pairs:
        for path in options.pairs:
            if not path.is_file():
                raise ConfigError(f"--pairs: {path} is no file")
        return {str(number): path for number, path in enumerate(options.pairs, 1)}
    if not run.is_dir():
        raise ConfigError(f"{run} is no folder: give the folder of a run, or --pairs FILE")
    if options.held_out:
        if not is_complete(run / "held_out"):
            raise ConfigError(f"{run} has no held-out pairs yet: run fit first")
        return {"held out": run / "held_out/pairs.jsonl"}
    indices = complete_rounds(run, options.rounds)
    return {str(index): round_folder(run, index) / "pairs.jsonl" for index in indices}


def _part(name: str, path: Path) -> Part:
    """The pairs of a file, with what the manifest beside it says where it is a round's.

    Raises:
        CorpusError: file or manifest are damaged, or there is no pair.
    """
    pairs = read_pairs(path)
    if not pairs:
        raise CorpusError(f"{path} holds no pairs")
    if path.name != "pairs.jsonl" or not is_complete(path.parent):
        return Part(name, pairs, None, Counter())
    manifest = read_manifest(path.parent)
    try:
        drops = {str(reason): int(count) for reason, count in manifest["drops"].items()}
        markers = MarkerStrings.of_record(manifest)
        return Part(name, pairs, int(manifest["wanted"]), Counter(drops), markers)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        beside = path.with_name(MANIFEST)
        raise CorpusError(f"{beside} is no manifest of a round ({error!r})") from error


def _system_prompt(run: Path | None) -> str | None:
    """The system turn of a run's training; None is none, as for pairs without a run."""
    if run is None:
        return None
    path = run / "config.yaml"
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist, so its system turn is not known: give the files themselves, "
            "with --pairs, for messages without one"
        )
    data = read_config(path).get("data")
    system = data.get("system_prompt") if isinstance(data, dict) else None
    if not isinstance(system, str | None):
        raise ConfigError(f"{path}: data.system_prompt is {system!r}, must be a text or null")
    return system


def _source(options: argparse.Namespace, files: dict[str, Path]) -> str:
    if options.held_out:
        return "the held-out set"
    if options.pairs:
        return f"{len(files)} file{'s' * (len(files) > 1)}"
    return f"round{'s' * (len(files) > 1)} {', '.join(files)}"


if __name__ == "__main__":
    sys.exit(guarded(main))
