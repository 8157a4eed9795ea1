"""Train: ``python -m preflexor_pl.fit --config configs/orpo.yaml``.

Any key can be overridden (``--trainer.max_epochs 2 --data.corpus notes/ --run runs/mine``), a
second ``--config`` lies over the first, ``--print_config`` shows the whole of it, ``--help_all``
every key. The same command goes on with a run that was stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch import Trainer

from preflexor_pl.callbacks.protocols import FinishesRun
from preflexor_pl.callbacks.trainer_state import limits_of
from preflexor_pl.cli.entry import guarded, quiet_libraries
from preflexor_pl.cli.fit_options import cli_of
from preflexor_pl.cli.parser import PreferenceCLI
from preflexor_pl.cli.preflight import preflight
from preflexor_pl.cli.run_folder import RunFolder
from preflexor_pl.core.limits import EARLY
from preflexor_pl.core.progress import log_line
from preflexor_pl.pairs.prompt_files import files_of


def main(args: Sequence[str]) -> int:
    """Run to the end, or go on to it, and return the exit code."""
    quiet_libraries()
    cli = cli_of(args, check=preflight)
    if cli.trainer.fast_dev_run:  # type: ignore[attr-defined]
        return _try_out(cli)
    with RunFolder(Path(cli.config["run"])).taken(cli.config["fresh"]) as folder:
        return _train(cli, folder)


def _try_out(cli: PreferenceCLI) -> int:
    """Lightning's trial of a few steps; it leaves nothing that looks like a run."""
    with TemporaryDirectory(prefix="preflexor-") as name:
        cli.datamodule.run = Path(name)
        cli.trainer.fit(cli.model, cli.datamodule)
    log_line(
        f"fast_dev_run: {cli.trainer.global_step} steps were made, and nothing of them is kept"
    )
    return 0


def _train(cli: PreferenceCLI, folder: RunFolder) -> int:
    folder.keep_config(cli.kept)
    folder.keep_prompts(files_of(cli.datamodule.pair_settings.prompts))
    trainer, limits = cli.trainer, limits_of(cli.trainer)
    if folder.is_finished(limits):
        log_line(
            f"{folder.path} is finished ({_told(folder.ended)}): see {folder.path / 'summary.md'}"
        )
        return 0
    checkpoint = cli.config["ckpt_path"] or folder.checkpoint()
    if checkpoint:
        log_line(f"Going on from {checkpoint}")
        folder.go_back_to(Path(checkpoint))
    trainer.fit(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    if not folder.is_finished(limits):
        _finish(trainer)
    return 0


def _told(ended: dict[str, Any]) -> str:
    """How far a run came; one that ended early goes on where a limit is raised."""
    far = f"{ended['epochs']} epochs, {ended.get('steps', '?')} steps"
    return f"{far}, {EARLY}: raise a limit to go on" if ended.get("by") == EARLY else far


def _finish(trainer: Trainer) -> None:
    """End a run that was stopped between its last step and its summary."""
    module = trainer.lightning_module
    module.to(trainer.strategy.root_device)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, FinishesRun):
            callback.finish(trainer, module)


if __name__ == "__main__":
    sys.exit(guarded(main))
