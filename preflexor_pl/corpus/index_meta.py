"""meta.json, which vouches for the index beside it, and is read before hnswlib reads a byte.

hnswlib crashes the process on a truncated or flipped file and silently accepts one of another
dimension, so its file is loaded only if its sha256 is the one noted here, and this note is whole.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from preflexor_pl.core import files
from preflexor_pl.core.errors import CorpusError, ResourceError

INDEX = "index.bin"
META = "meta.json"
FORMAT = 1


class GraphRefused(CorpusError, ValueError):
    """A saved graph that is missing, damaged, or not what its sidecar says."""


def sha256_of(path: Path) -> str:
    """sha256 of a file, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Lets ``write`` make a file beside ``path`` and moves it there; makes the folder.

    Raises:
        ResourceError: the disk or the permissions do not allow it.
    """
    try:
        with files.replaced(path) as part:
            write(part)
    except RuntimeError as error:  # hnswlib's own
        raise ResourceError(f"cannot write {path}: {error}") from error


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Writes meta.json with the sha256 of the index beside it and of its own content."""
    meta = {"format": FORMAT, "index_sha256": sha256_of(folder / INDEX), **meta}
    text = json.dumps({**meta, "meta_sha256": _digest(meta)}, indent=1)
    files.write_atomically(folder / META, text)


def read_meta(folder: Path) -> dict[str, Any]:
    """Reads meta.json and checks that it is whole and that the index beside it is the one it means.

    Raises:
        GraphRefused: says which file and what is wrong with it.
    """
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_bytes())
        vouched = meta.pop("meta_sha256") == _digest(meta) and meta["format"] == FORMAT
        index_sha256 = sha256_of(folder / INDEX)
    except OSError as error:
        raise GraphRefused(f"no graph in {folder}: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise GraphRefused(f"{folder / META} is damaged; delete {folder} to rebuild") from error
    if not vouched:
        raise GraphRefused(f"{folder / META} is damaged or of another version; delete {folder}")
    if index_sha256 != meta["index_sha256"]:
        raise GraphRefused(f"{folder / INDEX} is not the file that {META} vouches for; delete both")
    return meta


def _digest(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
