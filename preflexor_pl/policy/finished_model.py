"""The model of a finished run, to draw text from: its adapters on the base, and the base alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy.adapters import stack_earlier, using
from preflexor_pl.policy.language_model import LanguageModel, Role
from preflexor_pl.policy.load import load_base, resolve_dtype
from preflexor_pl.policy.merge import merged
from preflexor_pl.policy.model_source import ModelSource, find_model
from preflexor_pl.policy.previous_phase import PreviousPhase


class TrainedModel(LanguageModel):
    """The model that a finished run left, with the adapters of all phases; it is frozen.

    Args:
        start: what the run left.
        dtype: of the weights: auto, float32 or bfloat16.
        attention: attention kernel of transformers.

    Attributes:
        holds_base: whether the model without adapters is the base. It is not where a phase trained
            every weight.

    Raises:
        ConfigError: the base cannot be loaded, or is not the base of the training run.
    """

    def __init__(self, start: PreviousPhase, dtype: str = "auto", attention: str = "sdpa") -> None:
        known, key = start.known, f"the base of {start.folder}"
        if start.base_weights:
            source = ModelSource(known["model"], start.base_weights, known["sha256"])
        else:
            source = find_model(known["model"], key)
        if source.sha256 != known["sha256"]:
            raise ConfigError(f"{key}: {source.name} is another model than it was in training")
        base, tokenizer = load_base(source, resolve_dtype(dtype), attention, key=key)
        super().__init__(
            source,
            base,
            tokenizer,
            end_of_turn=known.get("end_of_turn"),
            strings=start.markers,
        )
        start.put_rows(self.model)
        self.model = stack_earlier(self.model, start.adapters)
        self.start = start
        self.holds_base = not start.base_weights

    @property
    def inner(self) -> Any:
        """The transformers model itself, with the adapters' layers in place."""
        return self.model.get_base_model() if self.start.adapters else self.model

    @contextmanager
    def active_weights(self, role: Role) -> Iterator[Any]:
        """The transformers model to draw text from: what training made of it, or its base.

        Raises:
            RuntimeError: the base is asked for, and ``holds_base`` is False.
        """
        if role == "base" and not self.holds_base:
            raise RuntimeError("every weight of this model trained: load its base by its name")
        if not self.start.adapters:
            yield self.inner
            return
        with {"policy": merged(self.model), "base": using(self.model, ())}[role]:
            yield self.inner
