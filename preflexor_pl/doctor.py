"""Check what a run needs: ``python -m preflexor_pl.doctor --config configs/orpo.yaml``.

Each thing is ok, worth a note, or BAD, with what to do; nothing is changed, and what fails stops no
other check. Without a config it is about the machine alone. ``--run RUN`` looks at a run's folder
with its own config. A teacher behind a server is asked for one short answer, which costs one call.
The exit code is that of the first BAD thing.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

from preflexor_pl.checkup.machine import check_devices, check_disk
from preflexor_pl.checkup.report import Finding, Report
from preflexor_pl.cli.entry import Parser, command_line, guarded, quiet_libraries
from preflexor_pl.cli.fit_options import config_files, default_run
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line

RUNS = Path("runs")  # where they go by default


def main(args: Sequence[str]) -> int:
    """Check, print what was found, and return the exit code."""
    own, rest = _parsed(args)
    quiet_libraries()
    if own.json:
        report = Report(lambda findings: None, own.debug)
        with redirect_stdout(sys.stderr):  # whatever a library prints: stdout is JSON
            _examine(report, own, rest)
        found = [asdict(finding) for finding in report.findings]
        log_line(json.dumps({"exit_code": report.exit_code, "findings": found}, indent=1))
        return report.exit_code
    report = Report(_print_last, own.debug)
    _examine(report, own, rest)
    states = [finding.state for finding in report.findings]
    log_line(f"{states.count('BAD')} BAD, {states.count('note')} to note")
    if not rest:
        log_line("--config FILE checks what a run with it needs, --run RUN a run that is there")
    return report.exit_code


def _parsed(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and what is left for fit's parser."""
    parser = Parser(
        "doctor",
        "Check what a run needs, and say what to do.",
        usage="[--config FILE ...] [--run RUN] [--KEY VALUE ...] [options below]",
        epilog=f"All other keys: {command_line('fit')} --help",
    )
    add = parser.add_argument
    add("--run", help="folder of a run; without --config, with the config that it keeps")
    add("--no_teacher_call", action="store_true", help="do not ask the server that teaches")
    add("--json", action="store_true", help="print one JSON object")
    add("--debug", action="store_true", help="show the traceback of what breaks a check off")
    own, rest = parser.parse_known_args(args)
    configs = config_files(rest)
    if rest and not configs and not own.run:
        parser.error(f"{rest[0]} needs --config FILE or --run RUN beside it")
    own.kept = Path(own.run, "config.yaml") if own.run and not configs else None
    kept = ["--config", str(own.kept)] if own.kept else []
    return own, [*kept, *rest, *(["--run", own.run] if own.run else [])]


def _examine(report: Report, own: argparse.Namespace, args: list[str]) -> None:
    with report.check("packages"):
        from preflexor_pl.checkup.packages import check_packages

        check_packages(report)
    with report.check("devices"):
        check_devices(report)
    run = _examine_run(report, own, args) if args else RUNS
    with report.check("disk"):
        check_disk(report, run)


def _examine_run(report: Report, own: argparse.Namespace, args: list[str]) -> Path:
    """Config, folder and teacher; returns the folder."""
    run, cli = Path(own.run).expanduser() if own.run else RUNS, None
    with report.check("config"):
        from preflexor_pl.checkup.config import check_config
        from preflexor_pl.checkup.run import check_run
        from preflexor_pl.checkup.teacher import check_teacher

        run = run if own.run else Path(default_run(args))
        if own.kept and not own.kept.is_file():
            raise ConfigError(f"{run} holds no config.yaml: give the folder of a run, or --config")
        cli = check_config(report, args)
    with report.check("run"):
        run = Path(cli.config["run"]) if cli else run
        check_run(report, run, cli)
    with report.check("teacher"):
        if cli:
            policy = cli.model.settings.model_name
            check_teacher(report, cli.datamodule, policy, call=not own.no_teacher_call)
    return run


def _print_last(findings: list[Finding]) -> None:
    """Print the last finding, below its group where that is a new one."""
    last = findings[-1]
    if [finding.group for finding in findings[-2:-1]] != [last.group]:
        log_line(last.group)
    log_line(f"  {last.state:<4}  {last.fact}")
    if last.advice:
        log_line(f"        {last.advice}")


if __name__ == "__main__":
    sys.exit(guarded(main))
