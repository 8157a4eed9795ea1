"""Make a run's pairs without training: ``python -m preflexor_pl.generate --config FILE``.

The held-out set and the first rounds (``--rounds``, 1), in the run's folder, as fit makes them with
the policy that the run begins with; the same command goes on where it was stopped. A later fit
finds them and makes what is missing. Round 0 is the one that fit itself would make. Every later
one is off-policy: fit would have taken its rejected answers from the policy that the rounds before
it have trained, and trains on these instead.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preflexor_pl.cli.entry import guarded, quiet_libraries
from preflexor_pl.cli.fit_options import OwnFlags, at_least_one, cli_of, policy_at_start
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line
from preflexor_pl.pairs.prompt_files import files_of
from preflexor_pl.pairs.round_folders import is_complete, read_manifest, round_folder

if TYPE_CHECKING:
    from preflexor_pl.cli.parser import PreferenceCLI
    from preflexor_pl.cli.run_folder import RunFolder


def main(args: Sequence[str]) -> int:
    """Make what is missing and return the exit code."""
    quiet_libraries()
    own, rest = _own_flags().split(args)
    from preflexor_pl.cli.preflight import preflight
    from preflexor_pl.cli.run_folder import RunFolder

    cli = cli_of(rest, refused=["ckpt_path"], check=preflight)
    with RunFolder(Path(cli.config["run"])).taken(cli.config["fresh"]) as folder:
        _generate(cli, folder, own.rounds)
    return 0


def _own_flags() -> OwnFlags:
    flags = OwnFlags("generate", "Make a run's pairs without training.")
    flags.add_argument(
        "--rounds",
        type=at_least_one,
        default=1,
        metavar="N",
        help="make rounds 0 to N-1 (%(default)s); all but round 0 are off-policy: fit would have "
        "taken their rejected answers from the policy that earlier rounds have trained",
    )
    return flags


def _generate(cli: "PreferenceCLI", folder: "RunFolder", count: int) -> None:
    folder.require_same(cli.kept)
    data, run = cli.datamodule, folder.path
    missing = [path for path in _folders(run, count) if not is_complete(path)]
    if not missing:
        log_line(f"{run} has its held-out pairs and rounds 0 to {count - 1}: nothing to make")
        return
    if folder.checkpoints():
        raise ConfigError(
            f"{run} is in training: {missing[0].name} is for fit to make, with the policy as it "
            "is by then; use --run OTHER for rounds without training"
        )
    folder.keep_config(cli.kept)
    folder.keep_prompts(files_of(data.pair_settings.prompts))
    data.setup("fit")
    rounds = data.rounds_of(policy_at_start(cli))
    rounds.held_out(data.held_out_questions)
    for index, path in enumerate(_folders(run, count), -1):
        if index >= 0:
            rounds.make(index, data.pairs_per_round, policy_step=0)
        log_line(_told(path) + " · off-policy: made without the training before it" * (index > 0))
    log_line(f"Pairs in {run}; fit with the same settings goes on from here")


def _folders(run: Path, count: int) -> list[Path]:
    return [run / "held_out", *(round_folder(run, index) for index in range(count))]


def _told(folder: Path) -> str:
    made = read_manifest(folder)
    drops = [f"{reason} {count}" for reason, count in sorted(made["drops"].items())]
    told = f" ({', '.join(drops)})" if drops else ""
    return f"{folder.name}: {made['pairs']} pairs, {sum(made['drops'].values())} dropped{told}"


if __name__ == "__main__":
    sys.exit(guarded(main))
