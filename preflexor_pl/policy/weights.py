"""How a policy holds its weights: frozen under adapters, or all of them in training.

``AdapterWeights`` and ``FullWeights`` have the same methods, so nothing else asks which one it has.
Each gives the model to draw text from (``policy``, ``base``) and the reference of a loss. With
adapters one copy of the weights serves all three: all adapters on is the policy, those of the
earlier phases alone are the reference, all off is the base. Full fine-tuning needs a copy for each.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.policy.adapters import ADAPTER, attach_lora, stack_earlier, using
from preflexor_pl.policy.artifact import write_adapter, write_whole
from preflexor_pl.policy.base_copy import BaseCopy, gigabytes
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.policy.load import resolve_dtype
from preflexor_pl.policy.lora_targets import (
    kind_of,
    kinds_of,
    layers_without_effect,
    left_out_experts,
)
from preflexor_pl.policy.merge import fold, merged
from preflexor_pl.policy.model_errors import in_one_line
from preflexor_pl.policy.previous_phase import PreviousPhase

Named = list[tuple[str, nn.Parameter]]


class AdapterWeights(nn.Module):
    """Frozen weights under the adapters of all phases, of which the newest trains.

    Args:
        settings: of the policy.
        lora: the adapter that trains.
        seed: of the run; the adapter's first values follow from it.
        start: what the phases before left; None in a first phase.

    Attributes:
        artifact: the folder of a run that ``save`` writes.
        dtype: of the frozen weights.
        base_copy: the base, where a phase before trained every weight; else None.
    """

    artifact: ClassVar[str] = "adapter"

    def __init__(
        self, settings: PolicySettings, lora: LoRASettings, seed: int, start: PreviousPhase | None
    ) -> None:
        super().__init__()
        self.lora = lora
        self.seed = derive_seed(seed, "lora")
        self.start = start
        self.dtype = resolve_dtype(settings.dtype)
        self.merges = not settings.quantization  # nothing can be added to 4-bit weights
        self.base_copy = BaseCopy(settings) if start and start.base_weights else None

    def prepare(self, name: str, base: Any, trained_rows: list[int]) -> Any:
        """Put the adapters of all phases, and this phase's own, on the base.

        Args:
            name: of the model, for messages.
            base: a transformers model, frozen.
            trained_rows: ids of the marker rows that train.

        Returns:
            The peft model with all adapters on.

        Raises:
            ConfigError: adapters do not fit the model, or cannot be added to it.
        """
        left_out = self._layers_left_out(name, base)
        if self.start:
            self.start.put_rows(base)
        stack = stack_earlier(base, self.start.adapters if self.start else [])
        model = attach_lora(stack, self.lora, trained_rows, self.seed, left_out)
        experts = left_out_experts(model)
        if experts:
            count = sum(experts.values()) / 1e6
            log_line(f"No adapters on the experts ({', '.join(experts)}: {count:.1f} M weights)")
        return model

    def _layers_left_out(self, name: str, base: Any) -> Sequence[str]:
        """Layers that ``all-linear`` must pass over; announced."""
        if self.lora.target_modules != "all-linear":
            return []
        with in_one_line(f"{name} cannot be trained"):
            names = layers_without_effect(base)
        if names:
            log_line(
                f"No adapters on {kinds_of(names)}: {name} reads these weights itself, "
                "or not at all"
            )
        return names

    def inner(self, model: Any) -> Any:
        """The transformers model itself, with the adapters' layers in place."""
        return model.get_base_model()

    @contextmanager
    def policy(self, policy: LanguageModel) -> Iterator[Any]:
        """The transformers model with all adapters, merged unless the base is in 4 bit."""
        with merged(policy.model) if self.merges else nullcontext():
            yield policy.inner

    @contextmanager
    def base(self, policy: LanguageModel) -> Iterator[Any]:
        """The transformers model without adapters, or the copy of the base."""
        if self.base_copy is not None:
            with self.base_copy.weights(policy) as model:
                yield model
            return
        with using(policy.model, ()):
            yield policy.inner

    @contextmanager
    def reference(self, policy: LanguageModel) -> Iterator[Any]:
        """The transformers model with the adapters of the earlier phases alone."""
        with using(policy.model, [name for name in policy.model.peft_config if name != ADAPTER]):
            yield policy.inner

    def save(self, policy: LanguageModel, trained_rows: list[int], folder: Path) -> None:
        """Write all adapters, the marker rows, the tokenizer and a card into ``folder``."""
        write_adapter(policy, self.start, trained_rows, folder)

    def freeze_unused(self, trained: Named, tables: set[int]) -> Named:
        """All of ``trained``: an adapter whose output is not used is a fault."""
        return trained


class FullWeights(nn.Module):
    """Every weight trains, in float32.

    Args:
        settings: of the policy.
        reference: whether log-probs of the reference will be needed.
        start: what the phases before left; None in a first phase.

    Attributes:
        artifact: the folder of a run that ``save`` writes.
        dtype: of the weights.
        base_copy: the base.
        reference_copy: the weights that the phase started with; None without ``reference``.
    """

    artifact: ClassVar[str] = "model"

    def __init__(
        self, settings: PolicySettings, reference: bool, start: PreviousPhase | None
    ) -> None:
        super().__init__()
        self.start = start
        self.dtype = torch.float32
        self.base_copy = BaseCopy(settings)
        self.needs_reference = reference
        self.reference_copy: nn.Module | None = None

    def prepare(self, name: str, base: Any, trained_rows: list[int]) -> Any:
        """Merge the adapters of earlier phases into the base, and let every weight train.

        Args:
            name: of the model, for messages.
            base: a transformers model, frozen.
            trained_rows: ids of the marker rows that train; every row does.

        Returns:
            The transformers model.

        Raises:
            ConfigError: adapters do not fit the model.
        """
        model = base
        if self.start:
            self.start.put_rows(base)
            if self.start.adapters:
                model = fold(stack_earlier(base, self.start.adapters))
        count = sum(p.numel() for p in model.parameters())
        log_line(
            f"{count / 1e6:.0f} M weights train: {gigabytes(model)}, as much for gradients, "
            "and twice as much for the optimiser"
        )
        if self.needs_reference:
            self.reference_copy = copy.deepcopy(model).requires_grad_(False)
            log_line(f"A copy of the start as reference: {gigabytes(self.reference_copy)}")
        return model.requires_grad_(True)

    def inner(self, model: Any) -> Any:
        """The transformers model itself."""
        return model

    def policy(self, policy: LanguageModel) -> AbstractContextManager[Any]:
        """The weights as they are now."""
        return nullcontext(policy.inner)

    def base(self, policy: LanguageModel) -> AbstractContextManager[Any]:
        """The copy of the base."""
        return self.base_copy.weights(policy)

    def reference(self, policy: LanguageModel) -> AbstractContextManager[Any]:
        """The copy of the weights that the phase started with.

        Raises:
            RuntimeError: it was not asked for.
        """
        if self.reference_copy is None:
            raise RuntimeError("this policy holds no reference: build it with reference=True")
        return nullcontext(self.reference_copy)

    def save(self, policy: LanguageModel, trained_rows: list[int], folder: Path) -> None:
        """Write every weight, the tokenizer and a card into ``folder``."""
        write_whole(policy, self.start, trained_rows, folder)

    def freeze_unused(self, trained: Named, tables: set[int]) -> Named:
        """Freeze weights that got no gradient, as no output depends on them; announced.

        Args:
            trained: parameters by name, after a backward pass.
            tables: ids of the weights of embedding and head, which stay.

        Returns:
            The others. An expert that was not called counts as its like in other layers.
        """
        kinds = {kind_of(name) for name, p in trained if p.grad is not None or id(p) in tables}
        unused = {name: parameter for name, parameter in trained if kind_of(name) not in kinds}
        for parameter in unused.values():
            parameter.requires_grad_(False)
        if unused:
            log_line(
                "These weights stay as they are, as no output depends on them: "
                f"{kinds_of([*unused])}"
            )
        return [(name, p) for name, p in trained if p.grad is not None or id(p) in tables]


def weights_of(
    settings: PolicySettings, seed: int, reference: bool, start: PreviousPhase | None
) -> AdapterWeights | FullWeights:
    """How a policy with these settings holds its weights; loads nothing."""
    if settings.lora is None:
        return FullWeights(settings, reference, start)
    return AdapterWeights(settings, settings.lora, seed, start)
