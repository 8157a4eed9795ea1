"""Embedder: texts to vectors with a sentence-transformers model, loaded when it is first needed."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import cached_snapshot, quiet_loading, require_model
from preflexor_pl.core.packaged_models import is_package_name, locate, verify

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

KEY = "data.embedder"
BATCH = 16
DEFAULT_MAX_LENGTH = 512  # where neither the model nor its tokenizer says


class Embedder:
    """A sentence-transformers model.

    Args:
        name: a folder, ``package:...`` or a hub id.
        device: torch device; None takes the accelerator if there is one.

    Raises:
        ConfigError: there is no such model; at once, before anything loads.
    """

    def __init__(self, name: str, device: str | None = None):
        require_model(name, KEY)
        self.name, self.device = name, device

    def encode(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of texts.

        Args:
            texts: N texts; what is beyond ``max_tokens`` of one does not count.
            progress: called with (done, N) after each batch.

        Returns:
            [N, D] of length 1; a row that the model made zero or NaN comes back as it is. The same
            texts give the same vectors.
        """
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding in a batch
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            rows[batch] = self._model.encode(
                [texts[i] for i in batch],
                batch_size=BATCH,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
            if progress:
                progress(first + len(batch), len(order))
        norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)  # [N, 1]
        return (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The model's own tokenizer, a fast Hugging Face one.

        Raises:
            ConfigError: it has none, so that nothing tells how long a text is in its tokens.
        """
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        own = getattr(self._model, "tokenizer", None)
        if isinstance(own, Tokenizer):  # of a static embedder: a table of vectors, no network
            return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(own.to_str()))
        if not getattr(own, "is_fast", False):
            raise ConfigError(
                f"{KEY}: {self.name!r} has no fast tokenizer, which chunks are measured with: "
                "take another embedder"
            )
        return own

    @property
    def dim(self) -> int:
        """D."""
        return int(self._model.get_embedding_dimension() or 0)

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text that are read, special tokens not counted."""
        longest = self._model.max_seq_length or self.tokenizer.model_max_length
        if longest > 1e9:  # a tokenizer's way to say that it does not know
            longest = DEFAULT_MAX_LENGTH
        return int(longest) - int(self.tokenizer.num_special_tokens_to_add())

    @functools.cached_property
    def identity(self) -> str:
        """Name and version or sha256 of what is in use: another one makes another graph."""
        if is_package_name(self.name):
            found = locate(self.name)
            return f"{self.name} {found.version} sha256:{found.sha256}"
        folder = Path(self.name).expanduser()
        if folder.exists():
            return f"{folder.name} sha256:{_folder_sha256(folder)}"
        snapshot = cached_snapshot(self.name)
        if snapshot is None:
            _ = self._model  # downloads it
            snapshot = cached_snapshot(self.name)
        return f"{self.name} {snapshot.name if snapshot else 'of unknown revision'}"

    @functools.cached_property
    def _model(self) -> "SentenceTransformer":
        source, local = self._source()
        with quiet_loading():
            from sentence_transformers import SentenceTransformer  # takes ten seconds

            try:
                model = SentenceTransformer(source, device=self.device, local_files_only=local)
            except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError) as error:
                reason = str(error).strip().split("\n")[0][:200]
                raise ConfigError(f"{KEY}: {self.name!r} does not load: {reason}") from error
        return model.eval()

    def _source(self) -> tuple[str, bool]:
        """What to load, and whether that needs no network."""
        if is_package_name(self.name):
            found = locate(self.name)
            verify(found)
            return str(found.path), True
        folder = Path(self.name).expanduser()
        if folder.exists():
            return str(folder), True
        return self.name, cached_snapshot(self.name) is not None


def _folder_sha256(folder: Path) -> str:
    """Over the paths and contents of all files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        total.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()
