"""What a config asks for: its keys and values as fit checks them, models, corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from preflexor_pl.checkup.report import Report
from preflexor_pl.cli.fit_options import cli_of, config_files
from preflexor_pl.cli.parser import PreferenceCLI
from preflexor_pl.cli.preflight import corpus_of, requirements
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.corpus.reader import read_folder
from preflexor_pl.pairs.item_choice import choose_items
from preflexor_pl.tasks import Split, Task


def check_config(report: Report, args: Sequence[str]) -> PreferenceCLI | None:
    """Every key and value of fit's ``args``, then each thing that they ask for.

    Returns:
        The parsed command, None where it is BAD.
    """
    cli = None
    with report.check("config"):
        cli = cli_of(args)
        names = " + ".join(map(str, config_files(args)))
        report.ok(f"{names}: every key and value can be used")
        for asked, check_value in requirements(cli.config):
            with report.check("config"):
                check_value()
                report.ok(asked)
        with report.check("config"):
            data, corpus = cli.datamodule, corpus_of(cli.config)
            _check_documents(report, corpus or "", data.held_out, data.text_column)
        with report.check("config"):
            if data.task_object:
                _check_task(report, data.task_object, data.held_out)
    if cli is None:
        report.note("corpus, models and teacher were not looked at", "correct the config first")
    return cli


def _check_task(report: Report, task: Task, held_out: int) -> None:
    """Whether a task has items of both splits, and as many held-out ones as are to be measured."""
    for split in get_args(Split):
        if not choose_items(task, split, 1):
            raise ConfigError(f"data.task: it has no items of the split {split}")
    found = len(choose_items(task, "held_out", held_out))
    levels = ", ".join(map(str, task.levels))
    if found < held_out:
        report.note(
            f"data.task: {found} held-out items of levels {levels}, fewer than data.held_out",
            f"they are all measured: lower data.held_out to {found}, or hold out more",
        )
    else:
        report.ok(f"data.task: items of levels {levels}; {found} held-out ones are measured")


def _check_documents(report: Report, corpus: str, held_out: int, column: str | None) -> None:
    """Whether a corpus on this machine has as many documents as a run needs; reads no more."""
    if not corpus or not Path(corpus).expanduser().exists():
        return
    found = len(read_folder(corpus, enough=held_out + 1, column=column).documents)
    if found <= held_out:
        raise ConfigError(
            f"data.held_out: {held_out} documents cannot be held out of {found}: lower it"
        )
    report.ok(f"{corpus} has more documents than the {held_out} that are held out")
