"""Where a corpus lies: a folder or file of this machine, or the snapshot of a data set on the hub.

A data set is its files, read as those of any folder; no code of it runs, as there is no loading
script. One that is in the hub's cache is taken from there and needs no network.
"""

from pathlib import Path
from typing import Any, NamedTuple

from preflexor_pl.core.errors import ConfigError, ResourceError
from preflexor_pl.core.hub import DATASET_ID, require_dataset
from preflexor_pl.core.progress import log_line
from preflexor_pl.corpus.documents import SUFFIXES

KEY = "data.corpus"
MAX_DOWNLOAD_BYTES = 5_000_000_000
NOT_TEXTS = ["README.md", "*/README.md", "dataset_infos.json"]  # the data set's card
CONVERTED = "refs/convert/parquet"  # where the hub keeps what it made of other formats


class Source(NamedTuple):
    """A folder or file to read, and the folder that links in it may not leave."""

    root: Path
    inside: Path


def require_corpus(name: str, key: str = KEY) -> None:
    """Checks that there is such a corpus; reads nothing.

    Raises:
        ConfigError: one line with the key, what is wrong and what to do.
    """
    if name and Path(name).expanduser().exists():
        return
    if not DATASET_ID.fullmatch(name):
        raise ConfigError(
            f"{key}: there is no folder {name!r}; give a folder of documents, "
            "or the hub id owner/name of a data set"
        )
    if not any(_cached(name, revision) for revision in (None, CONVERTED)):
        require_dataset(name, key)


def find_corpus(name: str | Path, key: str = KEY) -> Source:
    """The files of a corpus; a data set that is not in the cache is downloaded.

    Raises:
        ConfigError: see ``require_corpus``; also a data set without a file that can be read, or
            of more than ``MAX_DOWNLOAD_BYTES``.
        ResourceError: the download failed.
    """
    require_corpus(str(name), key)
    root = Path(name).expanduser()
    if root.exists():
        return Source(root, root.resolve())
    for revision in (None, CONVERTED):
        snapshot = _cached(str(name), revision) or _downloaded(str(name), revision, key)
        if snapshot:
            return Source(snapshot, snapshot.parents[1].resolve())  # the files are links to blobs/
    raise ConfigError(f"{key}: {name} has no file that can be read ({', '.join(SUFFIXES)})")


def _options(revision: str | None) -> dict[str, Any]:
    patterns = [f"*{suffix}" for suffix in SUFFIXES]
    return {
        "repo_type": "dataset",
        "revision": revision,
        "allow_patterns": patterns,
        "ignore_patterns": NOT_TEXTS,
    }


def _cached(name: str, revision: str | None) -> Path | None:
    """The whole snapshot in the cache, if it has files that can be read."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(name, local_files_only=True, **_options(revision)))
    except LocalEntryNotFoundError:
        return None
    return found if any(path.suffix.lower() in SUFFIXES for path in found.rglob("*")) else None


def _downloaded(name: str, revision: str | None, key: str) -> Path | None:
    """The snapshot, or None where it holds nothing that can be read."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RevisionNotFoundError

    options = _options(revision)
    try:
        files = snapshot_download(name, dry_run=True, **options)
        size = sum(file.file_size for file in files)
        if size > MAX_DOWNLOAD_BYTES:
            raise ConfigError(
                f"{key}: {name} has {size / 1e9:.1f} GB of files: "
                "download a part of it and give its folder"
            )
        if files:
            log_line(f"Downloading {name}: {len(files)} files, {size / 1e6:.1f} MB")
        return Path(snapshot_download(name, **options)) if files else None
    except RevisionNotFoundError:
        return None
    except OSError as error:  # the client's errors are of this kind
        reason = str(error).strip().partition("\n")[0][:200]
        raise ResourceError(f"{key}: the download of {name} failed: {reason}") from error
