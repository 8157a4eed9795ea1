"""Finished runs as they lie on disk, without a training, and an embedder that counts letters."""

from collections.abc import Callable, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import yaml

from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.graph import CorpusGraph

TEXTS = {
    "silk.md": "Silk joins stiff crystals with soft chains.",
    "bone.md": "Bone joins collagen with small plates of apatite.",
    "nacre.md": "Nacre stacks brittle tablets with thin layers.",
}


class Letters:
    """Texts as how often each letter of the alphabet occurs in them; needs no model."""

    def __init__(self, name: str = "letters") -> None:
        self.name = self.identity = name

    def encode(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> Any:
        rows = [[text.lower().count(letter) for letter in ascii_lowercase] for text in texts]
        return np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)


def leave_run(folder: Path, policy: Any, **data: Any) -> Path:
    """What a finished run leaves of its model, and its config; ``data``: keys of that."""
    policy.save(folder / policy.artifact)
    data = {
        "corpus": "notes",
        "embedder": "letters",
        "held_out": 1,
        "system_prompt": "Be brief.",
    } | data
    config = {"seed_everything": 7, "model": {"loss": None}, "data": data}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def leave_graph(run: Path, texts: dict[str, str] = TEXTS) -> None:
    """The graph of a run over one chunk a document."""
    chunks = {f"{n}#0": Chunk(f"{n}#0", n, text, 0, len(text), "") for n, text in texts.items()}
    vectors = Letters().encode(list(texts.values()))
    library = CorpusIndex(chunks, CorpusGraph.build(list(chunks), vectors), Letters(), [])
    library._save(run / "graph", "made by a test")
