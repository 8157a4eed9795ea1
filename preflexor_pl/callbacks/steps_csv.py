"""One row an optimiser step in `steps.csv`."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.callbacks.protocols import check_data, data_of
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.core.device import AsyncHostCopy
from preflexor_pl.core.files import writing


class StepsCSV(Callback):
    """Appends one row an optimiser step to ``steps.csv``; a resumed run appends to its rows."""

    def __init__(self) -> None:
        self._waiting: tuple[dict[str, Any], list[str], AsyncHostCopy] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse other data than ours."""
        check_data(trainer, self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop the rows after the checkpoint that training resumes from."""
        data = data_of(trainer)
        self._path: Path = data.run / "steps.csv"
        kept = [r for r in read_rows(self._path, "step") if int(r["step"]) <= trainer.global_step]
        self._names = list(kept[0]) if kept else []
        if self._path.exists():
            self._path.unlink()
        for row in kept:
            self._append(row)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Write the step before this one, whose values have reached the host by now."""
        self._flush()
        logged: dict[str, Any] = dict(trainer.logged_metrics)
        names = [name for name in logged if name.startswith("train/")]
        data = data_of(trainer)
        row = {"step": trainer.global_step, "epoch": trainer.current_epoch, "round": data.round}
        if names:
            values = torch.stack([logged[name].float() for name in names])
            self._waiting = row, names, AsyncHostCopy(values)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's last step."""
        self._flush()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, _: BaseException) -> None:
        """Write the last finished step."""
        self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting:
            row, names, values = waiting
            cells = (f"{value:.6g}" for value in values.get().tolist())
            self._append(row | dict(zip(names, cells, strict=True)))

    def _append(self, row: dict[str, Any]) -> None:
        new = not self._path.exists()
        self._names = self._names or list(row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._names, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)
        data = text.getvalue().encode()
        with writing(self._path, len(data)), self._path.open("ab") as file:
            file.write(data)
