"""Pushes a run to the Hugging Face hub: its model with the log history, and its pairs as a dataset.

A push that fails costs a line on the screen, not the run.
"""

import inspect
import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from preflexor_pl.callbacks.protocols import check_data, data_of
from preflexor_pl.callbacks.trainer_state import begun_epochs, ends_a_round, round_after
from preflexor_pl.core.errors import PreflexorError
from preflexor_pl.core.hub import HUB_ID
from preflexor_pl.core.hub_upload import PublishError, publish
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.settings import check_value
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.pairs.round_folders import round_folders

LOG_HISTORY = "metrics.csv", "steps.csv", "config.yaml"

_DATA_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: {paths}
tags: [preflexor_pl, preference-optimisation, reasoning]
---
# Preference pairs of {model}

Made by preflexor_pl, a file each round of training; `datasets.load_dataset` reads them all. A model
wrote every response. {checked} A line has:

{fields}
"""
_CHECKED = {
    False: "Nothing checked what it says.",
    True: "The answer of every chosen response was checked, and is right.",
}


class PushToHub(Checkpoint):
    """Pushes model, tokenizer and log history to ``repo_id``, and all pairs to ``repo_id``_data.

    It pushes after each round, and once more at the end of training, when the log has the last
    evaluation; the commits are called ``round_0``, ``round_1`` and so on. A push that fails prints
    one line.

    It is a ``Checkpoint`` so that Lightning runs it after ModelCheckpoint: the checkpoint is on
    disk before the push begins. (A Trainer of your own then adds no ModelCheckpoint by
    itself: name one.)

    Args:
        repo_id: ``owner/name``, or ``name`` for a repository of the token's owner.
        private: make the repositories private, and refuse public ones.
        every_n_rounds: push only after each n-th round, and at the end.
        endpoint: URL of another hub.
    """

    def __init__(
        self,
        repo_id: str,
        private: bool = True,
        every_n_rounds: int = 1,
        endpoint: str | None = None,
    ) -> None:
        from huggingface_hub.utils import validate_repo_id

        for name in (repo_id, f"{repo_id}_data"):
            try:
                validate_repo_id(name)
            except ValueError as error:
                raise ValueError(f"PushToHub.repo_id: give owner/name or name: {error}") from error
        check_value(every_n_rounds >= 1, "PushToHub.every_n_rounds", every_n_rounds, ">= 1")
        self.repo_id = repo_id
        self.private = private
        self.every_n_rounds = every_n_rounds
        self.endpoint = endpoint

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse other data than ours."""
        check_data(trainer, self)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Push after a round."""
        data = data_of(trainer)
        if ends_a_round(trainer) and (data.round + 1) % self.every_n_rounds == 0:
            self._push(trainer, data.round)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Push what the end of training added."""
        self.finish(trainer, pl_module)

    def finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Push what is new since the last push; where that is nothing, no commit is made."""
        if epochs := begun_epochs(trainer):
            self._push(trainer, round_after(trainer, epochs) - 1)

    def _push(self, trainer: Trainer, index: int) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # a trial leaves nothing behind
            return
        data, message = data_of(trainer), f"round_{index}"
        try:
            with TemporaryDirectory() as folder:
                pairs, model = Path(folder, "pairs"), Path(folder, "model")
                _write_pairs(data.run, pairs, self.repo_id)
                url = self._publish(pairs, f"{self.repo_id}_data", message, "dataset")
                owner = url.split("/")[-2]  # repo_id need not name it
                data.policy.save(model)
                _adapt_card(model, f"{owner}/{self.repo_id.split('/')[-1]}")
                _copy(model, {name: data.run / name for name in LOG_HISTORY})
                log_line(
                    f"Pushed {message} to {self._publish(model, self.repo_id, message, 'model')}"
                )
        except (PreflexorError, OSError) as error:
            log_line(f"{message} is not on the hub: {' '.join(str(error).split())}")

    def _publish(
        self, folder: Path, repo_id: str, message: str, kind: Literal["model", "dataset"]
    ) -> str:
        return publish(folder, repo_id, message, self.private, kind, self.endpoint)


def _copy(folder: Path, sources: dict[str, Path]) -> None:
    """Copy those of the files that exist; keys are their paths in ``folder``."""
    for name, source in sources.items():
        if source.exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)


def _write_pairs(run: Path, folder: Path, model: str) -> None:
    """Write the pairs of all rounds so far, and a card that names each file.

    It names them because an earlier run's rounds may still be in the repository.
    """
    files = [folder / "pairs.jsonl" for folder in round_folders(run)]
    sources = {f"data/{path.parent.name}.jsonl": path for path in files if path.is_file()}
    _copy(folder, sources)
    attributes = (inspect.getdoc(PreferencePair) or "").partition("Attributes:\n")[2]
    fields = re.sub(r"^(\w+):", r"- `\1`:", dedent(attributes), flags=re.MULTILINE)
    is_of_task = any(pair.item for path in sources.values() for pair in read_pairs(path))
    paths, checked = json.dumps(list(sources)), _CHECKED[is_of_task]
    card = _DATA_CARD.format(paths=paths, model=model, fields=fields, checked=checked)
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _adapt_card(folder: Path, repo_id: str) -> None:
    """Rewrite a saved model's card for the hub, without this folder and local bases."""
    path = folder / "README.md"
    card = path.read_text(encoding="utf-8")
    base = re.search(r"^base_model: (.*)\n", card, re.MULTILINE)
    if base and (not HUB_ID.fullmatch(base[1]) or Path(base[1]).exists()):
        card = card.replace(base[0], "", 1)  # the hub refuses a card whose base is no hub id
    load = (
        f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{repo_id}")'
    )
    card = re.sub(r"^folder = .*$", load, card, flags=re.MULTILINE)
    path.write_text(card.replace(folder.as_posix(), repo_id), encoding="utf-8")
    record = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    if record["under"]:
        raise PublishError(f"{repo_id}: its adapters need weights of this machine: push an export")
    if Path(record["location"]).exists():
        record["location"] = record["model"]
    (folder / "base.json").write_text(json.dumps(record), encoding="utf-8")
