"""Which documents a model trained on and held out, through all of its phases, by their content.

A run leaves it beside its weights, an export takes it along. So a later phase, of another seed or
corpus, holds out what no phase has trained on, and an evaluation can tell what a model has seen.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.files import read_record, write_atomically
from preflexor_pl.core.hub import HUB_ID, cached_snapshot
from preflexor_pl.corpus.chunks import Chunk, texts_of

FILE = "documents.json"
ANEW = "copy the folder of the weights anew"
TRAINED_FOR = "preflexor_pl"  # the key of an export's config.json that says what it was trained for


@dataclass(frozen=True)
class Lineage:
    """The documents of all phases so far.

    Attributes:
        trained: hashes of those that some phase trained on.
        held_out: hashes of those that some phase held out.
        complete: whether every phase is known.
    """

    trained: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()
    complete: bool = True

    @property
    def unseen(self) -> frozenset[str]:
        """What was held out and never trained on."""
        return self.held_out - self.trained

    def then(
        self, trained: Iterable[str], held_out: Iterable[str], known: bool = True
    ) -> "Lineage":
        """With one phase more; ``known``: whether these are all the documents that it used."""
        complete = self.complete and known
        return Lineage(self.trained.union(trained), self.held_out.union(held_out), complete)

    def write(self, folder: Path) -> None:
        """Put it beside the weights in ``folder``."""
        record = {
            "trained": sorted(self.trained),
            "held_out": sorted(self.held_out),
            "complete": self.complete,
        }
        write_atomically(folder / FILE, json.dumps(record))


UNKNOWN = Lineage(complete=False)


def read_lineage(folder: Path) -> Lineage | None:
    """What was left beside the weights in ``folder``; None where nothing was.

    Raises:
        CorpusError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    record = read_record(path, ANEW)
    try:
        trained, held_out = (frozenset(map(str, record[k])) for k in ("trained", "held_out"))
        return Lineage(trained, held_out, bool(record["complete"]))
    except (KeyError, TypeError) as error:
        raise CorpusError(f"{path} is damaged ({error!r}): {ANEW}") from error


def lineage_of_model(name: str) -> Lineage:
    """Of a model that a run may have exported; a plain one of others has no phases of ours."""
    path = Path(name).expanduser()
    folder = path if path.exists() else _from_hub(name)
    if folder is None or not folder.is_dir():
        return Lineage()
    found = read_lineage(folder)
    # An export says in its config what it was trained for; an older one says no more than that.
    return found or (UNKNOWN if _is_export(folder) else Lineage())


def _is_export(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and TRAINED_FOR in read_record(config, ANEW)


def _from_hub(name: str) -> Path | None:
    """The snapshot of a model on the hub, with the record of an export; None where there is none.

    What loads a model downloads its weights, and not this record.
    """
    if not HUB_ID.fullmatch(name):
        return None
    from huggingface_hub import hf_hub_download

    folder = cached_snapshot(name)
    with suppress(OSError, ValueError):  # the hub has no such file, or cannot be reached
        folder = folder or Path(hf_hub_download(name, "config.json")).parent
        if _is_export(folder) and not (folder / FILE).exists():
            hf_hub_download(name, FILE, revision=folder.name)
    return folder


def hashes_of(chunks: Iterable[Chunk]) -> dict[str, str]:
    """Document id -> hash of its text without white space, however it is cut into chunks."""
    return {name: _hash(text) for name, text in texts_of(chunks).items()}


def names_of(hashes: Mapping[str, str], some: Iterable[str]) -> list[str]:
    """The documents with one of these hashes, sorted."""
    wanted = set(some)
    return sorted(name for name, value in hashes.items() if value in wanted)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
