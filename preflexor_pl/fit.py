"""Train: ``python -m preflexor_pl.fit --config configs/orpo.yaml``.

Any key can be overridden (``--trainer.max_epochs 2 --data.corpus notes/ --run runs/mine``), a
second ``--config`` lies over the first, ``--print_config`` shows the whole of it, ``--help_all``
every key. The same command goes on with a run that was stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from lightning.pytorch import Trainer

from preflexor_pl.callbacks import EvaluateRounds, FinishRun
from preflexor_pl.cli import PreferenceCLI, default_run
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import require_model
from preflexor_pl.core.progress import say
from preflexor_pl.corpus.sources import require_corpus
from preflexor_pl.entry import guarded, quiet_libraries
from preflexor_pl.pairs.prompt_files import files_of
from preflexor_pl.policy.load import require_attention
from preflexor_pl.policy.start import read_start
from preflexor_pl.publish import PushToHub
from preflexor_pl.run_folder import RunFolder, readable

ONCE = "fresh", "ckpt_path", "debug"  # of a command, not of its run


def main(args: Sequence[str]) -> int:
    """Run to the end, or go on to it, and return the exit code."""
    quiet_libraries()
    cli = PreferenceCLI(args, default_run(args), before=preflight)
    folder = RunFolder(Path(cli.config["run"]))
    folder.take(cli.config["fresh"])
    try:
        return _train(cli, folder)
    finally:
        folder.release()


def _train(cli: PreferenceCLI, folder: RunFolder) -> int:
    kept = yaml.safe_load(cli.parser.dump(cli.config, skip_unset=False))
    for key in ONCE:
        kept.pop(key, None)
    folder.keep_config(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))
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


def preflight(cli: PreferenceCLI) -> None:
    """Refuse, before anything heavy loads, what cannot work.

    Raises:
        ConfigError: names the key and says what to do.
    """
    config = cli.config
    require_corpus(config["data.corpus"])
    for key in ("model.policy.model_name", "data.embedder", "data.teacher.model_name"):
        if config.get(key):
            require_model(config[key], key)
    if start := config["model.policy.start_from"]:
        read_start(start)
    require_attention(config["model.policy.attn_implementation"])
    for key, value, instead in (
        ("accumulate_grad_batches", 1, "data.pairs_per_step sets the pairs of a step"),
        ("gradient_clip_val", None, "model.max_grad_norm limits the gradient"),
        ("precision", None, "model.policy.dtype sets the dtype of the base weights"),
    ):
        if config[f"trainer.{key}"] not in (value, None):
            raise ConfigError(f"trainer.{key}: {instead}; leave this key out")
    for key in ("devices", "num_nodes"):
        if config[f"trainer.{key}"] not in (1, "1", "auto"):
            raise ConfigError(f"trainer.{key}: one process makes the pairs as yet; set it to 1")
    checkpoint = config["ckpt_path"]
    if checkpoint and not Path(checkpoint).is_file():
        raise ConfigError(f"ckpt_path: {checkpoint} does not exist")
    if checkpoint and not readable(Path(checkpoint)):
        raise ConfigError(f"ckpt_path: {checkpoint} is damaged: leave it out to take the newest")


def _finish(trainer: Trainer) -> None:
    """End a run that was stopped between its last step and its summary."""
    module = trainer.lightning_module
    module.to(trainer.strategy.root_device)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EvaluateRounds | FinishRun | PushToHub):
            callback.on_train_end(trainer, module)


if __name__ == "__main__":
    sys.exit(guarded(main))
