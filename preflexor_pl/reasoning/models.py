"""A model by its name: a run, an adapter's folder, an exported folder, a hub id.

The files of its run say how it was trained: whether it reflects, its system turn, its graph.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import read_record
from preflexor_pl.core.generator import Generator
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.hold_out import held_out_documents
from preflexor_pl.corpus.lineage import (
    TRAINED_FOR,
    UNKNOWN,
    Lineage,
    lineage_of_model,
    names_of,
    read_lineage,
)
from preflexor_pl.pairs.without_thoughts import WithoutThoughts
from preflexor_pl.policy.finished_model import TrainedModel
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel, Role, load_language_model
from preflexor_pl.policy.model_source import find_model
from preflexor_pl.policy.previous_phase import CARD, KEY, PreviousPhase, read_previous_phase
from preflexor_pl.policy.run_record import at, config_of, trained_for
from preflexor_pl.server.generator import named_server

if TYPE_CHECKING:
    from preflexor_pl.corpus.corpus_index import CorpusIndex

NAMED = "--run"  # the option in an error message


@dataclass(frozen=True)
class ModelInfo:
    """A model before its weights load.

    Attributes:
        name: as the user gave it.
        base: the model that it was trained from; itself where it has no run.
        reflects: whether it was trained to write a reflect section.
        system_prompt: its system turn in training; None is its chat template's own.
        config: of its run; empty where there is none.
        start: the weights that its run left; None where there is none.
    """

    name: str
    base: str
    reflects: bool = False
    system_prompt: str | None = None
    config: dict[str, Any] | None = None
    start: PreviousPhase | None = None

    @property
    def run(self) -> Path | None:
        """The folder of its run."""
        return self.start.folder.parent if self.start and self.config else None

    @property
    def markers(self) -> MarkerStrings:
        """The markers that it was trained with; the default ones where none are recorded."""
        if self.start:
            return self.start.markers
        path = Path(self.name).expanduser() / "config.json"
        asked = read_record(path).get(TRAINED_FOR) if path.is_file() else None
        return MarkerStrings.of_record(asked or {})

    @property
    def embedder(self) -> str | None:
        """The embedder of its run."""
        return at(self.config, "data.embedder")

    @cached_property
    def identity(self) -> str:
        """Identifies its weights: a measurement holds for one identity."""
        if self.start:
            return f"{self.start.known['sha256']} {self.start.fingerprint}"
        return find_model(self.name, NAMED).sha256 or self.name

    @cached_property
    def library(self) -> "CorpusIndex":
        """The graph of its run.

        Raises:
            ConfigError: it has no run, or its embedder cannot be had.
            CorpusError: the run has no graph.
        """
        from preflexor_pl.corpus.corpus_index import CorpusIndex

        if self.run is None or not self.embedder:
            raise ConfigError(f"{self.name} is no run with a graph: give the run itself")
        return CorpusIndex.load(self.run / "graph", self.embedder)

    @cached_property
    def lineage(self) -> Lineage:
        """The documents that all of its phases trained on and held out, as far as is known."""
        if not self.start:
            return lineage_of_model(self.name)
        found = read_lineage(self.start.folder)
        if found or self.run is None or not (self.run / "graph").is_dir():
            return found or UNKNOWN
        # A run from before there were records: its split, which knew no near-copies, drawn again.
        hashes = self.library.hashes
        alone = {name: name for name in hashes}
        seed = derive_seed(at(self.config, "seed_everything"), "held out")
        count = at(self.config, "data.held_out")
        held = held_out_documents(hashes, alone, count, seed, Lineage())
        trained, held_out = {hashes[n] for n in hashes.keys() - held}, {hashes[n] for n in held}
        first = not at(self.config, "model.policy.start_from")
        return Lineage().then(trained, held_out, known=first)

    @cached_property
    def documents(self) -> tuple[set[str], set[str]]:
        """Documents of its graph that it trained on, and those that all its phases held out.

        Raises:
            ConfigError: it has no run.
            CorpusError: the run has no graph.
        """
        hashes = self.library.hashes
        parts = self.lineage.trained, self.lineage.unseen
        trained, held = (set(names_of(hashes, part)) for part in parts)
        return trained, held


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
        dtype = str(inner.dtype).removeprefix("torch.")
        kernel = inner.config._attn_implementation
        base = load_language_model(self.info.base, key, dtype, kernel, strings=model.strings)
        if base.source.sha256 != model.start.known["sha256"]:
            raise ConfigError(f"{key}: {base.source.name} is another model than it was in training")
        return base.to(model.device)

    @property
    def has_base(self) -> bool:
        """Whether its base is another model than itself."""
        return self.info.start is not None


def model_info(name: str) -> ModelInfo:
    """Read how a model was trained; loads no weights.

    Args:
        name: a run, the folder of an adapter or of whole weights, an exported folder, a hub id, or
            ``package:...``.

    Raises:
        ConfigError: it is a run that is not finished, or is damaged.
    """
    folder = Path(name).expanduser()
    left = any((folder / part / CARD).is_file() for part in ("", "adapter", "model"))
    if not left and not (folder / "config.yaml").is_file():
        return ModelInfo(name, name)
    try:
        start = read_previous_phase(name)
    except ConfigError as error:  # the key is fit's
        raise ConfigError(str(error).removeprefix(f"{KEY}: ")) from error
    asked = trained_for(start)
    config = config_of(start)
    return ModelInfo(
        name, start.known["model"], asked["reflects"], asked["system_prompt"], config, start
    )


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
