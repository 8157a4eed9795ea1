"""Train: ``python -m preflexor_pl.fit --config configs/orpo.yaml``.

Any key can be overridden (``--trainer.max_epochs 2 --data.corpus notes/ --run runs/mine``), a
second ``--config`` lies over the first, ``--print_config`` shows the whole of it, ``--help_all``
every key. The same command goes on with a run that was stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Trainer

from preflexor_pl.callbacks import EvaluateRounds, FinishRun
from preflexor_pl.cli import PreferenceCLI, default_run
from preflexor_pl.core.progress import say
from preflexor_pl.entry import guarded, quiet_libraries
from preflexor_pl.pairs.prompt_files import files_of
from preflexor_pl.preflight import preflight
from preflexor_pl.publish import PushToHub
from preflexor_pl.run_folder import RunFolder


def main(args: Sequence[str]) -> int:
    """Run to the end, or go on to it, and return the exit code."""
    quiet_libraries()
    cli = PreferenceCLI(args, default_run(args), before=lambda cli: preflight(cli.config))
    folder = RunFolder(Path(cli.config["run"]))
    folder.take(cli.config["fresh"])
    try:
        return _train(cli, folder)
    finally:
        folder.release()


def _train(cli: PreferenceCLI, folder: RunFolder) -> int:
    folder.keep_config(cli.kept)
    folder.keep_prompts(files_of(cli.datamodule.pair_settings.prompts))
    trainer, epochs = cli.trainer, cli.trainer.max_epochs or 0
    if folder.finished_epochs >= epochs:
        say(f"{folder.path} is finished: see {folder.path / 'summary.md'}")
        return 0
    checkpoint = cli.config["ckpt_path"] or folder.checkpoint()
    if checkpoint:
        say(f"Going on from {checkpoint}")
    trainer.fit(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    if folder.finished_epochs < epochs:
        _finish(trainer)
    return 0


def _finish(trainer: Trainer) -> None:
    """End a run that was stopped between its last step and its summary."""
    module = trainer.lightning_module
    module.to(trainer.strategy.root_device)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EvaluateRounds | FinishRun | PushToHub):
            callback.on_train_end(trainer, module)


if __name__ == "__main__":
    sys.exit(guarded(main))
