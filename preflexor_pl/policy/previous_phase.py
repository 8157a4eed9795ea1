"""Reads what the previous phase left on disk, from which a phase starts.

A run with adapters leaves ``adapter/``: its own adapter at the root, those of earlier phases in
``phase-1/``, ``phase-2/``, so that the folder is complete. Full fine-tuning leaves ``model/``, all
weights. Marker rows that earlier phases trained are written into the base's tables: peft allows
rows for one adapter at a time, and the base itself never reads a marker.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.markers import KEY as MARKERS_KEY
from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.corpus.seen_documents import UNKNOWN, Lineage, lineage_of_model, read_lineage
from preflexor_pl.policy.model_source import fingerprint_of

CARD = "base.json"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
FIELDS = {"model", "sha256", "first_rows", "trained_markers", "added_tokens", "phases"}  # of CARD
ROWS = ".token_adapter.trainable_tokens_delta"  # peft's name for the trained rows of a table
KEY = "model.policy.start_from"


@dataclass(frozen=True)
class PreviousPhase:
    """A folder that a phase left.

    Attributes:
        folder: of the adapter, or of the whole model.
        known: the content of its ``base.json``.
    """

    folder: Path
    known: dict[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether the folder has all weights, of full fine-tuning."""
        return bool(self.known.get("whole"))

    @property
    def base_weights(self) -> str:
        """The folder of the whole weights below the adapters; "" where these are the base's own."""
        return str(self.folder.resolve()) if self.is_whole else self.known.get("under", "")

    @property
    def adapters(self) -> list[Path]:
        """The folders of the adapters, the oldest phase first; none after full fine-tuning."""
        if self.is_whole:
            return []
        return [*(self.folder / name for name in self.known["phases"]), self.folder]

    @cached_property
    def markers(self) -> MarkerStrings:
        """The strings of its markers, and its trigger."""
        return MarkerStrings.of_record(self.known)

    @property
    def trained_markers(self) -> list[str]:
        """Markers whose rows a phase has trained."""
        return self.known["trained_markers"]

    @cached_property
    def base_weights_sha256(self) -> str:
        """``fingerprint_of`` the folder ``base_weights``; "" where there is none."""
        return fingerprint_of(Path(self.base_weights)) if self.base_weights else ""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of every weight and row that the phases trained."""
        rows = json.dumps(self.known["first_rows"], sort_keys=True)
        total = hashlib.sha256(f"{self.base_weights_sha256} {rows}".encode())
        for adapter in self.adapters:
            with (adapter / WEIGHTS).open("rb") as weights:
                total.update(hashlib.file_digest(weights, "sha256").digest())
        return total.hexdigest()

    @torch.no_grad()
    def put_rows(self, model: Any) -> None:
        """Write the trained marker rows into the embedding and the head of ``model``."""
        tables = {"input": model.get_input_embeddings(), "output": model.get_output_embeddings()}
        for name, rows in self.known["first_rows"].items():
            for token, row in rows.items():
                weight = tables[name].weight
                weight[int(token)] = torch.tensor(row).to(weight)
        if self.is_whole:
            return
        trained = _read_config(self.folder).get("trainable_token_indices") or {}
        modules = {name.split(".")[-1]: module for name, module in model.named_modules()}
        for key, values in _weights(self.folder).items():
            if key.endswith(ROWS):
                table = key.removesuffix(ROWS).split(".")[-1]
                weight = modules[table].weight
                weight[torch.tensor(trained[table]).to(weight.device)] = values.to(weight)


def read_previous_phase(name: str) -> PreviousPhase:
    """The previous phase that ``model.policy.start_from`` names; loads no weights.

    Args:
        name: a run, or the folder ``adapter`` or ``model`` that a run left.

    Raises:
        ConfigError: the folder does not exist, or is not what a finished run leaves.
    """
    given = Path(name).expanduser()
    if not given.is_dir():
        raise ConfigError(
            f"{KEY}: {name} does not exist: run the phase before it first, or give a run or the "
            "folder of an adapter"
        )
    for folder in (given, given / "adapter", given / "model"):
        if (folder / CARD).is_file():
            return _checked(folder)
    if (given / "config.yaml").is_file():
        raise ConfigError(f"{KEY}: {name} is a run that is not finished: run its command again")
    raise ConfigError(f"{KEY}: {name} holds no {CARD}: give a run, or an adapter that a run left")


def markers_of(settings: PolicySettings, start: PreviousPhase | None) -> MarkerStrings | None:
    """The markers of the config, or of the run that the phase starts from; None if neither has any.

    Raises:
        ConfigError: the two differ.
    """
    given = settings.markers
    if start is None:
        return given
    if given is not None and given != start.markers:
        raise ConfigError(
            f"{MARKERS_KEY}: {start.folder} was trained with {start.markers}: leave the key out, "
            "or give the same"
        )
    return start.markers


def lineage_of(settings: PolicySettings) -> Lineage:
    """The documents of all phases before this one.

    It is incomplete if a phase left no record; a base that no run left has none.
    """
    if settings.start_from:
        return read_lineage(read_previous_phase(settings.start_from).folder) or UNKNOWN
    return lineage_of_model(settings.model_name)


def _checked(folder: Path) -> PreviousPhase:
    try:
        start = PreviousPhase(folder, json.loads((folder / CARD).read_text(encoding="utf-8")))
        lacking = FIELDS - start.known.keys()
        if lacking:
            raise ConfigError(f"{KEY}: {folder / CARD} lacks {', '.join(sorted(lacking))}")
        _ = start.markers
        needed = [adapter / name for adapter in start.adapters for name in (CONFIG, WEIGHTS)]
        weights = Path(start.base_weights) if start.base_weights else None
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{KEY}: {folder / CARD} is damaged ({error})") from error
    for file in needed:
        if not file.is_file():
            raise ConfigError(f"{KEY}: {file} is missing: copy the whole folder of the adapter")
    for file in (file for file in needed if file.name == CONFIG):
        _read_config(file.parent)
    if weights and not any(weights.glob("*.safetensors")):
        raise ConfigError(f"{KEY}: {folder} needs the weights in {weights}: restore them")
    recorded = start.known.get("under_sha256")  # of files on disk: the key keeps its first name
    if weights and not start.is_whole and recorded != start.base_weights_sha256:
        raise ConfigError(f"{KEY}: the weights in {weights} are not those {folder} was trained on")
    return start


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{KEY}: {folder / CONFIG} is damaged ({error})") from error


def check_base(start: PreviousPhase, name: str, sha256: str) -> None:
    """Refuse a previous phase that was trained on another base.

    Raises:
        ConfigError: names both models.
    """
    if start.known["sha256"] != sha256 or (not sha256 and start.known["model"] != name):
        raise ConfigError(
            f"{KEY}: {start.folder} was trained on {start.known['model']}, and "
            f"model.policy.model_name is {name}: both must be the same model"
        )


def lora_weights(folder: Path) -> dict[str, Tensor]:
    """The matrices of the adapter in ``folder``, without its marker rows."""
    return {name: w for name, w in _weights(folder).items() if not name.endswith(ROWS)}


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ConfigError(f"{KEY}: {folder / WEIGHTS} is damaged ({error})") from error
