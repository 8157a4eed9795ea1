"""What is known of a model by its name, before its weights load.

A name is a run, an adapter's folder, an exported folder or a hub id. The files of its run say how
it was trained: whether it reflects, its system turn, its graph.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import read_record
from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.hold_out import held_out_documents
from preflexor_pl.corpus.seen_documents import (
    TRAINED_FOR,
    UNKNOWN,
    Lineage,
    lineage_of_model,
    names_of,
    read_lineage,
)
from preflexor_pl.policy.model_source import find_model
from preflexor_pl.policy.previous_phase import CARD, KEY, PreviousPhase, read_previous_phase
from preflexor_pl.policy.run_record import at, config_of, trained_for

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
        if at(self.config, "data.task"):
            raise ConfigError(f"{self.name} was trained on a task, and has no graph")
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
