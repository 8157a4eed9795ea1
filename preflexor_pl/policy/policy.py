"""The model in training, with the two that it is compared with: its base and its reference."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from losses import PairLogps
from preflexor_pl.batches.collate import PairBatch
from preflexor_pl.batches.packing import FlatBatch
from preflexor_pl.core.files import writing
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy.artifact import write_newest
from preflexor_pl.policy.forward import batch_logps, contexts_of
from preflexor_pl.policy.kernels.recompute import save_fewer_activations
from preflexor_pl.policy.language_model import LanguageModel, Role
from preflexor_pl.policy.load import load_base
from preflexor_pl.policy.model_errors import in_one_line
from preflexor_pl.policy.model_source import ModelSource, find_model
from preflexor_pl.policy.previous_phase import (
    KEY,
    PreviousPhase,
    check_base,
    markers_of,
    read_previous_phase,
)
from preflexor_pl.policy.weights import weights_of


class Policy(LanguageModel):
    """The language model that trains.

    Args:
        settings: which model, where it starts from, and how its weights are held.
        seed: of the adapters' first values.
        reflection: whether this phase trains the rows of the reflection markers too.
        reference: whether log-probs of the reference will be needed.

    Attributes:
        model: the peft model, or the transformers model where every weight trains.
        weights: how they are held, ``AdapterWeights`` or ``FullWeights``.
        start: what the phases before left; None in a first phase.
        trained_rows: ids of the markers whose rows train. Markers that an earlier phase trained, or
            that the model's own chat template has, are not among them.
        identity: what checkpoints and rounds belong to: the base, and what the phase started from.

    Raises:
        ConfigError: the model cannot be loaded, or does not fit what the phase starts from.
    """

    def __init__(
        self,
        settings: PolicySettings,
        seed: int = 0,
        reflection: bool = False,
        reference: bool = False,
    ) -> None:
        source = find_model(settings.model_name)
        start = read_previous_phase(settings.start_from) if settings.start_from else None
        if start:
            check_base(start, source.name, source.sha256)
        weights = weights_of(settings, seed, reference, start)
        base, tokenizer = _load(source, settings, start, weights.dtype)
        super().__init__(
            source,
            base,
            tokenizer,
            settings.add_tokens,
            settings.end_of_turn or (start.known.get("end_of_turn") if start else None),
            trains=True,
            strings=markers_of(settings, start),
        )
        self.settings = settings
        self.start: PreviousPhase | None = start
        self.trained_rows = self._new_rows(self.marker_ids[: 4 if reflection else 2])
        self.identity = {
            "model_name": settings.model_name,
            "sha256": source.sha256,
            "start": start.fingerprint if start else "",  # now: the files may change during the run
            **self.strings.record,
        }
        self.model = weights.prepare(source.name, base, self.trained_rows)
        self.weights = weights
        if settings.gradient_checkpointing:
            self._checkpoint_activations()
        else:
            save_fewer_activations(self.inner)

    def _new_rows(self, ids: list[int]) -> list[int]:
        known = self.start.trained_markers if self.start else []
        new = [i for i in ids if i not in self.native_ids]
        return [i for i in new if self.tokenizer.convert_ids_to_tokens(i) not in known]

    def _checkpoint_activations(self) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        options = {"use_reentrant": False, "context_fn": lambda: contexts_of(self.inner)}
        with in_one_line("model.policy.gradient_checkpointing"):
            self.inner.gradient_checkpointing_enable(options)
        for module in self.inner.modules():
            # A layer checkpoints only in training mode; its parts stay in eval mode: no dropout.
            if isinstance(module, GradientCheckpointingLayer):
                module.training = True
                for name in [name for name in vars(module) if "dropout" in name]:
                    setattr(module, name, 0.0)  # rates that the layer itself applies

    @property
    def inner(self) -> Any:
        """The transformers model itself, with the adapters' layers in place."""
        return self.weights.inner(self.model)

    @property
    def artifact(self) -> str:
        """The folder that a run leaves: ``adapter``, or ``model`` where every weight trains."""
        return self.weights.artifact

    def active_weights(self, role: Role) -> AbstractContextManager[Any]:
        """The transformers model to draw text from: the policy as it is now, or its base."""
        return {"policy": self.weights.policy, "base": self.weights.base}[role](self)

    def logps(self, batch: PairBatch | FlatBatch) -> PairLogps:
        """Summed log-probs of the supervised tokens of each side of each pair.

        Args:
            batch: B pairs on the policy's device.

        Returns:
            PairLogps [B] in nats, float32, differentiable in the trained weights.
        """
        return batch.sums(self.token_logps(batch))

    def token_logps(self, batch: PairBatch | FlatBatch) -> Tensor:
        """Log-prob of each supervised token in nats, in the shape that ``batch.sums`` takes."""
        return batch_logps(self.inner, batch)

    @torch.no_grad()
    def reference_logps(self, batch: PairBatch | FlatBatch) -> Tensor:
        """Log-prob of each supervised token under the reference, in nats.

        Args:
            batch: B pairs on the policy's device.

        Returns:
            In the shape of ``token_logps``.

        Raises:
            RuntimeError: every weight trains, and the policy was built without ``reference``.
        """
        with self.weights.reference(self) as model:
            return batch_logps(model, batch)

    def save(self, folder: Path) -> None:
        """Save what trained, with tokenizer and card; plain peft and transformers can load it.

        Raises:
            ResourceError: the disk is full.
        """
        with writing(folder, self._trained_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            self.weights.save(self, self.trained_rows, folder)

    def save_adapter(self, folder: Path) -> None:
        """Save this phase's adapter and marker rows alone; raises ResourceError as ``save``."""
        with writing(folder, self._trained_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            write_newest(self, folder)

    @property
    def _trained_bytes(self) -> int:
        return sum(p.nbytes for p in self.parameters() if p.requires_grad)


def _load(
    source: ModelSource, settings: PolicySettings, start: PreviousPhase | None, dtype: torch.dtype
) -> tuple[Any, Any]:
    """The weights below the adapters, which are those of the previous phase if it trained all."""
    location = start.base_weights if start else ""
    return load_base(
        replace(source, location=location or source.location),
        dtype,
        settings.attn_implementation,
        settings.quantization,
        KEY if location else "model.policy.model_name",
    )
