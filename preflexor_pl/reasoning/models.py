"""A model with its weights, by its name: as the policy, as its base, as a critic or judge."""

from dataclasses import dataclass, replace

import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.generator import Generator
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.corpus.seen_documents import TRAINED_FOR
from preflexor_pl.pairs.strip_thoughts import WithoutThoughts
from preflexor_pl.policy.finished_model import TrainedModel
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel, Role, load_language_model
from preflexor_pl.policy.load import dtype_name
from preflexor_pl.policy.run_record import at
from preflexor_pl.reasoning.model_info import NAMED, ModelInfo, model_info
from preflexor_pl.server.generator import named_server


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights.

    Attributes:
        info: its name, its base and how it was trained.
        model: its weights and tokenizer.
        thinks: whether it was trained to think between markers and so understands the trigger.
    """

    info: ModelInfo
    model: LanguageModel
    thinks: bool

    def system_prompt(self, otherwise: str | None) -> str | None:
        """Its system turn in training; ``otherwise`` where nothing is known of its training."""
        unknown = not self.info.config and self.info.system_prompt is None
        return otherwise if unknown else self.info.system_prompt

    def generator(self, batch_size: int) -> LocalGenerator:
        """Generates with the trained weights."""
        return LocalGenerator(self.model, "policy", batch_size, self.info.name)

    def reader(self, batch_size: int) -> Generator:
        """Generates as a critic or judge, with the trained weights and without thinking."""
        role: Role = "policy" if self.has_base else "base"
        return WithoutThoughts(LocalGenerator(self.model, role, batch_size, self.info.name))

    def base(self, batch_size: int) -> Generator:
        """Generates with its base, without markers; with itself where it has no other base."""
        model = self.model
        if isinstance(model, TrainedModel) and not model.holds_base:
            model = self._base_of(model)
        return WithoutThoughts(LocalGenerator(model, "base", batch_size))

    def _base_of(self, model: TrainedModel) -> LanguageModel:
        key, inner = f"the base of {self.info.name}", model.inner
        dtype, kernel = dtype_name(inner.dtype), inner.config._attn_implementation
        base = load_language_model(self.info.base, key, dtype, kernel, strings=model.strings)
        if base.source.sha256 != model.start.known["sha256"]:
            raise ConfigError(f"{key}: {base.source.name} is another model than it was in training")
        return base.to(model.device)

    @property
    def has_base(self) -> bool:
        """Whether its base is another model than itself."""
        return self.info.start is not None


def load_model(
    name: str,
    dtype: str = "auto",
    attention: str = "sdpa",
    key: str = NAMED,
    strings: MarkerStrings | None = None,
) -> LoadedModel:
    """Load a model by its name, as for :func:`model_info`.

    Args:
        name: of the model.
        dtype: of its weights: auto, float32 or bfloat16.
        attention: attention kernel of transformers.
        key: the option to name in an error.
        strings: the markers of a model that has none recorded.

    Raises:
        ConfigError: it cannot be had.
    """
    info, device = model_info(name), "cuda" if torch.cuda.is_available() else "cpu"
    if info.start:
        trained = TrainedModel(info.start, dtype, attention).to(device)
        return LoadedModel(info, trained, thinks=True)
    model = load_language_model(name, key, dtype, attention, strings=strings).to(device)
    record = getattr(model.inner.config, TRAINED_FOR, None)
    info = replace(
        info, reflects=bool(at(record, "reflects")), system_prompt=at(record, "system_prompt")
    )
    # Another project's model may have <think> of its own, and was not trained with our trigger.
    ours = record is not None or model.strings == DEFAULT
    return LoadedModel(info, model, ours and model.markers.think_start not in model.new_ids)


def load_reader(
    name: str, batch_size: int, dtype: str, key: str, api_key_env: str | None
) -> Generator:
    """A critic or judge: a model by its name, or one behind a server.

    Args:
        name: as for :func:`model_info`, or ``MODEL@http://HOST/v1``.
        batch_size: texts generated together.
        dtype: of its weights: auto, float32 or bfloat16.
        key: the option to name in an error.
        api_key_env: the environment variable that holds a server's key; None sends none.

    Raises:
        ConfigError: it cannot be had.
    """
    server = named_server(name, key, api_key_env)
    return server or load_model(name, dtype, key=key).reader(batch_size)
