"""The model in training, and the two it is measured against: its base and its reference.

With adapters one copy of the weights serves all three: all off is the base, which is the teacher;
the earlier phases' adapters alone are the reference; all on is the policy. Weights that train
themselves need real copies.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from losses import PairLogps
from losses.logps import token_logps
from preflexor_pl.batches.collate import PairBatch
from preflexor_pl.batches.layout import FlatBatch
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import writing
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy.adapters import ADAPTER, attach_lora, fold, merged, stack_earlier, using
from preflexor_pl.policy.artifact import write_adapter, write_newest, write_whole
from preflexor_pl.policy.forward import contexts_of, flat_logps
from preflexor_pl.policy.kernels.recompute import save_fewer_activations
from preflexor_pl.policy.language_model import LanguageModel, load_language_model
from preflexor_pl.policy.load import find_model, load_base, resolve_dtype
from preflexor_pl.policy.lora_targets import kind_of, kinds_of, left_out_experts, unserved
from preflexor_pl.policy.model_errors import in_one_line
from preflexor_pl.policy.previous_phase import (
    KEY,
    ROWS,
    PreviousPhase,
    check_base,
    markers_of,
    read_previous_phase,
)


class Policy(LanguageModel):
    """The language model that trains.

    Args:
        settings: which model, where it starts from, and how it is held.
        seed: of the adapters' first values.
        reflection: whether this phase trains the rows of the reflection markers too.
        reference: whether log-probs of the reference will be asked for.

    Attributes:
        model: the peft model, or the transformers model where every weight trains.
        start: what the phases before left; None in a first phase.
        trained_rows: ids of the markers whose rows train; those that an earlier phase trained, or
            that the model's own chat template has, stay as they are.
        base_copy: the base, where the weights under the adapters are not the base's own; None until
            it is asked for.
        identity: what checkpoints and rounds belong to: the base, and what the phase started from.
        reference_copy: the reference, where every weight trains.

    Raises:
        ConfigError: the model cannot be had, or does not go with what it starts from.
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
        weights = source
        if start:
            check_base(start, source.name, source.sha256)
            weights = replace(source, location=start.under or source.location)
        dtype = resolve_dtype(settings.dtype if settings.lora else "float32")
        key = KEY if start and start.under else "model.policy.model_name"
        base, tokenizer = load_base(
            weights, dtype, settings.attn_implementation, settings.quantization, key
        )
        end_of_turn = settings.end_of_turn or (start.known.get("end_of_turn") if start else None)
        super().__init__(
            source,
            base,
            tokenizer,
            settings.add_tokens,
            end_of_turn,
            trains=True,
            strings=markers_of(settings, start),
        )
        self.settings = settings
        self.start: PreviousPhase | None = start
        self.trained_rows = self._untrained(self.marker_ids[: 4 if reflection else 2])
        passed_over = self._passed_over()
        if start:
            start.put_rows(base)
            self.model = stack_earlier(base, start.adapters)
        self.identity = {  # taken now: what is in the start's folder may change
            "model_name": settings.model_name,
            "sha256": source.sha256,
            "start": start.fingerprint if start else "",
            **self.strings.record,
        }
        self.base_copy: LanguageModel | None = None
        self.reference_copy: nn.Module | None = None
        if settings.lora:
            first_values = derive_seed(seed, "lora")
            rows = self.trained_rows
            self.model = attach_lora(self.model, settings.lora, rows, first_values, passed_over)
            self._tell_of_experts()
        else:
            self._train_whole(reference)
        if settings.gradient_checkpointing:
            self._checkpoint_activations()
        else:
            save_fewer_activations(self.inner)

    def _untrained(self, ids: list[int]) -> list[int]:
        known = self.start.trained_markers if self.start else []
        new = [i for i in ids if i not in self.native_ids]
        return [i for i in new if self.tokenizer.convert_ids_to_tokens(i) not in known]

    def _passed_over(self) -> list[str]:
        """Layers of the base, still without adapters, that get none; said once."""
        lora = self.settings.lora
        if lora is None or lora.target_modules != "all-linear":
            return []
        with in_one_line(f"{self.source.name} cannot be trained"):
            names = unserved(self.model)
        if names:
            log_line(
                f"No adapters on {kinds_of(names)}: {self.source.name} reads these weights itself, "
                "or not at all"
            )
        return names

    def _tell_of_experts(self) -> None:
        experts = left_out_experts(self.model)
        if experts:
            count = sum(experts.values()) / 1e6
            log_line(f"No adapters on the experts ({', '.join(experts)}: {count:.1f} M weights)")

    def _train_whole(self, reference: bool) -> None:
        if self.start and self.start.adapters:
            self.model = fold(self.model)
        count = sum(p.numel() for p in self.model.parameters())
        log_line(
            f"{count / 1e6:.0f} M weights train: {_gigabytes(self.model)}, as much for gradients, "
            "and twice as much for the optimiser"
        )
        if reference:
            self.reference_copy = copy.deepcopy(self.model).requires_grad_(False)
            log_line(f"A copy of the start as reference: {_gigabytes(self.reference_copy)}")
        self.model.requires_grad_(True)

    def _checkpoint_activations(self) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        again = {"use_reentrant": False, "context_fn": lambda: contexts_of(self.inner)}
        with in_one_line("model.policy.gradient_checkpointing"):
            self.inner.gradient_checkpointing_enable(again)
        for module in self.inner.modules():
            # The layers ask whether they train; what is in them stays in eval mode: no dropout.
            if isinstance(module, GradientCheckpointingLayer):
                module.training = True
                for name in [name for name in vars(module) if "dropout" in name]:
                    setattr(module, name, 0.0)  # theirs that is no module

    @property
    def inner(self) -> Any:
        """The transformers model itself, with the adapters' layers in place."""
        return self.model.get_base_model() if self.settings.lora else self.model

    @property
    def artifact(self) -> str:
        """What a run leaves: ``adapter``, or ``model`` where every weight trains."""
        return "adapter" if self.settings.lora else "model"

    @contextmanager
    def active_weights(self, adapted: bool) -> Iterator[Any]:
        """The transformers model to draw text from: the policy as it is now, or its base.

        Args:
            adapted: True for the policy.
        """
        if not adapted and self._needs_base_copy:
            with self._copy_of_base().active_weights(adapted) as model:
                yield model
            return
        context: Any = nullcontext()
        if self.settings.lora and not adapted:
            context = using(self.model, ())
        elif self.settings.lora and not self.settings.quantization:  # 4-bit weights take no sum
            context = merged(self.model)
        with context:
            yield self.inner

    @property
    def _needs_base_copy(self) -> bool:
        return not self.settings.lora or bool(self.start and self.start.under)

    def _copy_of_base(self) -> LanguageModel:
        """Loaded where it is first asked for: a teacher of its own spares it."""
        if self.base_copy is None:
            settings = self.settings
            with torch.inference_mode(False):  # it is asked for where text is drawn
                self.base_copy = load_language_model(
                    settings.model_name,
                    "model.policy.model_name",
                    settings.dtype,
                    settings.attn_implementation,
                    settings.quantization,
                    self.strings,
                ).to(self.device)
            log_line(f"A copy of the base as teacher: {_gigabytes(self.base_copy)}")
        return self.base_copy

    def logps(self, batch: PairBatch | FlatBatch) -> PairLogps:
        """Summed log-probs of the supervised tokens of each side of each pair.

        Args:
            batch: B pairs on the policy's device.

        Returns:
            PairLogps in float32, differentiable in the trained weights.
        """
        return batch.sums(self.token_logps(batch))

    def token_logps(self, batch: PairBatch | FlatBatch) -> Tensor:
        """Log-prob of each supervised token, in float32, as ``batch.sums`` takes them."""
        return _token_logps(self.inner, batch)

    @torch.no_grad()
    def reference_logps(self, batch: PairBatch | FlatBatch) -> Tensor:
        """Log-prob of each supervised token under the reference.

        Args:
            batch: B pairs on the policy's device.

        Returns:
            As ``token_logps``.
        """
        if self.settings.lora:
            earlier = [name for name in self.model.peft_config if name != ADAPTER]
            with using(self.model, earlier):
                return _token_logps(self.inner, batch)
        if self.reference_copy is not None:
            return _token_logps(self.reference_copy, batch)
        raise RuntimeError("this policy holds no reference: build it with reference=True")

    def save(self, folder: Path) -> None:
        """Save what trained, with tokenizer and card; plain peft and transformers can load it.

        Raises:
            ResourceError: the disk is full.
        """
        with writing(folder, self._trained_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            (write_adapter if self.settings.lora else write_whole)(self, folder)

    def save_adapter(self, folder: Path) -> None:
        """Save this phase's adapter and marker rows alone; raises ResourceError as ``save``."""
        with writing(folder, self._trained_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            write_newest(self, folder)

    @property
    def _trained_bytes(self) -> int:
        return sum(p.nbytes for p in self.parameters() if p.requires_grad)

    def check_gradients(self) -> None:
        """Refuse a model some of whose trained weights, or marker rows, would get no gradient.

        Where every weight trains, those that no output depends on stay as they are, and a line says
        which.

        Raises:
            ConfigError: names them.
        """
        rows = self.trained_rows or self.marker_ids
        with torch.enable_grad(), in_one_line(f"{self.source.name} cannot be trained"):
            ids = torch.tensor([rows], device=self.device)
            self.model(input_ids=ids, use_cache=False).logits[..., rows].sum().backward()
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        heads = self.inner.get_input_embeddings(), self.inner.get_output_embeddings()
        tables = {id(getattr(head, "original_module", head).weight) for head in heads}
        if not self.settings.lora:
            trained = _freeze_idle(trained, tables)
        missing = [name for name, parameter in trained if not self._moves(name, parameter, tables)]
        self.zero_grad(set_to_none=True)
        if missing:
            raise ConfigError(f"these weights would get no gradient: {', '.join(missing)[:200]}")

    def _moves(self, name: str, parameter: nn.Parameter, tables: set[int]) -> bool:
        gradient = parameter.grad
        if gradient is None:
            return False
        if ROWS in name:
            return bool(gradient.any(1).all())
        return id(parameter) not in tables or bool(gradient[self.trained_rows].any(1).all())


def _freeze_idle(
    trained: list[tuple[str, nn.Parameter]], tables: set[int]
) -> list[tuple[str, nn.Parameter]]:
    """Those that got a gradient, and the tables; an expert counts as its like in other layers."""
    kinds = {kind_of(name) for name, p in trained if p.grad is not None or id(p) in tables}
    idle = {name: parameter for name, parameter in trained if kind_of(name) not in kinds}
    for parameter in idle.values():
        parameter.requires_grad_(False)
    if idle:
        log_line(
            f"These weights stay as they are, as no output depends on them: {kinds_of([*idle])}"
        )
    return [(name, p) for name, p in trained if p.grad is not None or id(p) in tables]


def _token_logps(model: Any, batch: PairBatch | FlatBatch) -> Tensor:
    """Log-probs of the targets, as ``batch.sums`` takes them."""
    if isinstance(batch, FlatBatch):
        return flat_logps(model, batch)
    # Columns before every row's first target need no logits: most prompts are longer than 1.
    targets = batch.labels[:, batch.first_target :]
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        logits_to_keep=targets.shape[1] + 1,
    )
    logits = output.logits[:, :-1]  # [2B, K, V]
    logps = token_logps(logits.flatten(0, 1), targets.flatten()).view_as(targets)
    return nn.functional.pad(logps, (batch.first_target, 0))  # [2B, T]


def _gigabytes(model: nn.Module) -> str:
    return f"{sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9:.1f} GB"
