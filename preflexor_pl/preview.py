"""See what pairs come out, before training: ``python -m preflexor_pl.preview --config FILE``.

``--count`` pairs in full, with their sources and who wrote what, then what was dropped on the way.
They are the first of round 0, made as fit makes them, in the run's ``preview/``. What was said for
them is kept there, so nothing is asked twice, also after settings have changed. Training does not
see them: a later fit begins as if there were none.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from preflexor_pl.batches.show import escape_controls, plain_text_console
from preflexor_pl.cli.entry import guarded, quiet_libraries
from preflexor_pl.cli.fit_options import OwnFlags, at_least_one, cli_of, policy_at_start
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.responses import parse_response
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.pair import PreferencePair

if TYPE_CHECKING:
    from preflexor_pl.cli.parser import PreferenceCLI
    from preflexor_pl.corpus.corpus_index import CorpusIndex

EXCERPT = 240  # letters of a source


def main(args: Sequence[str]) -> int:
    """Make the pairs, show them, and return the exit code."""
    quiet_libraries()
    own, rest = _own_flags().split(args)
    from preflexor_pl.cli.preflight import preflight
    from preflexor_pl.cli.run_folder import RunFolder

    cli = cli_of(rest, refused=["fresh", "ckpt_path"], check=preflight)
    with RunFolder(Path(cli.config["run"])).taken():
        _preview(cli, own.count)
    return 0


def _own_flags() -> OwnFlags:
    flags = OwnFlags("preview", "Show the first pairs that a run would make; train nothing.")
    flags.add_argument(
        "--count", type=at_least_one, default=3, metavar="N", help="how many pairs (%(default)s)"
    )
    return flags


def _preview(cli: "PreferenceCLI", count: int) -> None:
    from preflexor_pl.rounds.rounds import PREVIEW

    data = cli.datamodule
    data.setup("fit")
    rounds = data.rounds_of(policy_at_start(cli))
    journal = Journal(data.run / PREVIEW)
    if journal.responses:
        log_line(
            f"{journal.responses} responses are there from before: they are used where they fit"
        )
    console, pairs = plain_text_console(), []
    try:
        pairs = rounds.preview(count)
    finally:  # where no pair came out, its drops say why
        for pair in pairs:
            show(console, data.library, pair, rounds.settings.markers)
        show_drops(console, journal.drops())
    short = f" of {count}: data.topics allows no more tries" * (len(pairs) < count)
    log_line(f"{len(pairs)} pairs{short}, in {journal.folder}; fit does not use them")


def show(
    console: Console, library: "CorpusIndex", pair: PreferencePair, markers: MarkerStrings = DEFAULT
) -> None:
    """Print a pair: sources, question, both sides, and who wrote each."""
    console.rule(escape_controls(pair.id), style="none")
    for chunk_id in pair.chunk_ids:
        chunk = library.chunks[chunk_id]
        text = " ".join(chunk.text.split())
        text = text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"
        where = f"{chunk_id} ({chunk.document}, {chunk.title})" if chunk.title else chunk_id
        _part(console, f"source {where}", text)
    chosen, teacher = parse_response(pair.chosen, markers), f"by {pair.teacher}"
    source = f"item {pair.item}, {pair.topic}" if pair.item else teacher
    _part(console, f"question, {source}", markers.question(pair.prompt))
    _part(console, f"thinking, {teacher}", chosen.thinking)
    _part(console, f"reflection, {teacher}", chosen.reflection)
    _part(console, f"answer, {teacher}", chosen.answer)
    cut = ", cut" * (pair.finish_reason == "length")
    _part(console, f"rejected answer, by {pair.rejected_source}{cut}", pair.rejected)


def show_drops(console: Console, drops: Sequence[dict[str, str]]) -> None:
    """Print what was dropped, and why."""
    for drop in drops:
        console.rule(escape_controls(f"dropped {drop['id']}: {drop['reason']}"), style="none")
        _part(console, "question", drop["question"] or None)
        _part(console, "text", drop["text"])


def _part(console: Console, title: str, text: str | None) -> None:
    if text is not None:
        console.print(escape_controls(" ".join(title.split())), style="bold")
        console.print(f"{escape_controls(text.strip())}\n")


if __name__ == "__main__":
    sys.exit(guarded(main))
