"""The folder of a run: whether fit may write there, and whether what is there is whole."""

import os
from pathlib import Path

from preflexor_pl.callbacks.trainer_state import limits_of
from preflexor_pl.checkup.report import Report
from preflexor_pl.cli.checkpoint_order import readable
from preflexor_pl.cli.parser import PreferenceCLI
from preflexor_pl.cli.run_folder import RunFolder
from preflexor_pl.core.errors import ResourceError
from preflexor_pl.core.files import nearest_existing
from preflexor_pl.core.packaged_models import is_package_name
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.corpus.index_meta import META, GraphRefused
from preflexor_pl.corpus.saved_index import read_saved
from preflexor_pl.pairs.prompt_files import files_of
from preflexor_pl.pairs.round_folders import is_complete, round_folders, vouched_pairs

GROUP = "run"
QUERIES = 8  # chunks that have to find themselves


def check_run(report: Report, path: Path, cli: PreferenceCLI | None) -> None:
    """Everything about a run's folder, which need not be there.

    Args:
        report: takes what is found.
        path: of the folder.
        cli: the command it is for, if that could be parsed.
    """
    folder = RunFolder(path)
    with report.check(GROUP):
        _check_place(report, folder)
    with report.check(GROUP):
        _check_state(report, folder, cli)
    with report.check(GROUP):
        if cli:
            folder.require_same(cli.kept)
            folder.require_same_prompts(files_of(cli.datamodule.pair_settings.prompts))
    with report.check(GROUP):
        if cli is None or cli.datamodule.needs_corpus:
            _check_graph(report, path / "graph", cli.config["data.embedder"] if cli else "")
    for rounds in [path / "held_out", *round_folders(path)]:
        with report.check(GROUP):
            _check_round(report, rounds)
    with report.check(GROUP):
        _check_checkpoints(report, folder)


def _check_place(report: Report, folder: RunFolder) -> None:
    if folder.path.exists() and not folder.path.is_dir():
        raise ResourceError(f"{folder.path} is no folder: use --run OTHER")
    there = nearest_existing(folder.path.absolute())
    if not os.access(there, os.W_OK):
        raise ResourceError(f"{there} cannot be written: use --run OTHER")
    if folder.is_taken:
        raise ResourceError(f"{folder.path} is in use by a run: wait for it, or use --run OTHER")
    report.ok(f"{folder.path} can be written and is in use by nobody")


def _check_state(report: Report, folder: RunFolder, cli: PreferenceCLI | None) -> None:
    if not folder.has_begun:
        report.ok("not begun")
    elif not folder.ended:
        report.ok("begun and not finished: the same fit command goes on with it")
    else:
        more = cli and not folder.is_finished(limits_of(cli.trainer))
        goes_on = ": this command goes on with it" if more else ""
        report.ok(f"finished after {folder.ended['epochs']} epochs{goes_on}")


def _check_graph(report: Report, folder: Path, embedder: str) -> None:
    if not (folder / META).exists():
        report.ok("no graph yet: fit or index makes it")
        return
    try:
        graph, chunks = read_saved(folder)
    except GraphRefused as error:
        report.bad(error, "fit builds it again by itself, and so does index")
        return
    ids = graph.ids
    if lost := graph.lost(ids[:: max(1, len(ids) // QUERIES)]):
        report.bad(GraphRefused(f"{folder}: {lost[0]} does not find itself: delete {folder}"))
        return
    report.ok(f"graph of {len(chunks)} chunks is whole and finds them")
    made_with = graph.extra.get("embedder")
    here = is_package_name(embedder) or (embedder and Path(embedder).expanduser().exists())
    if here and Embedder(embedder).identity != made_with:  # told without a download
        report.note(
            f"the graph was made with {made_with}, not with data.embedder",
            "fit builds it again with that",
        )


def _check_round(report: Report, folder: Path) -> None:
    if is_complete(folder):
        report.ok(f"{folder.name} is whole (pairs: {vouched_pairs(folder)})")
    elif folder.exists():
        calls = folder / "calls.jsonl"
        made = calls.read_bytes().count(b"\n") if calls.exists() else 0
        report.note(
            f"{folder.name} is not complete: {made} responses are on disk",
            "the same fit command makes those that are missing",
        )


def _check_checkpoints(report: Report, folder: RunFolder) -> None:
    found = folder.checkpoints()
    good = next((path for path in found if readable(path)), None)
    if not found:
        report.ok("no checkpoint yet")
    elif good == found[0]:
        report.ok(f"{good.name} can be read ({good.stat().st_size / 1e6:.0f} MB)")
    elif good:
        report.note(f"{found[0]} is damaged", f"fit goes on from {good.name}")
    else:
        report.bad(
            ResourceError(f"{found[0]} is damaged, and there is no other that can be read"),
            "without it fit trains from the beginning, with the rounds that are there: delete it",
        )
