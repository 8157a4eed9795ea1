"""Atomic writes: a file or folder is written under a temporary name, then moved into place."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from preflexor_pl.core.errors import CorpusError, ResourceError

RESTORE = "restore it from a copy, or start anew with --fresh"
FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


@contextmanager
def writing(path: Path, size: int = 0) -> Iterator[None]:
    """Have an error of the disk name the file, in one line.

    Args:
        path: what the block writes.
        size: bytes that it needs; 0 where that is not known.

    Raises:
        ResourceError: the disk or the permissions do not allow it.
    """
    try:
        yield
    except BrokenPipeError:  # of the terminal, not of the disk
        raise
    except (OSError, SafetensorError) as error:
        raise ResourceError(f"cannot write {path}: {_reason(error, path, size)}") from error


def _reason(error: OSError | SafetensorError, path: Path, size: int) -> str:
    number = getattr(error, "errno", None)
    told = getattr(error, "strerror", None) or str(error)
    if number not in FULL and "os error 28" not in told:  # how safetensors says it
        return told
    free = shutil.disk_usage(nearest_existing(path)).free
    needs = f"it needs {readable_size(size)}, and " * bool(size)
    room = f"{needs}{readable_size(free)} are free there"
    return f"{told}; {room}: make room, and the same command goes on"


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest one above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def readable_size(size: float) -> str:
    """Bytes with their unit, such as 29 MB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@contextmanager
def replaced(path: Path, size: int = 0) -> Iterator[Path]:
    """A path to write to; what is there when the block ends well takes the place of ``path``.

    The folder is made. A block that fails leaves ``path`` as it was.

    Args:
        path: of the file.
        size: bytes that it needs; 0 where that is not known.

    Raises:
        ResourceError: the disk or the permissions do not allow it.
    """
    part = path.with_name(f".{path.name}.part")  # one name: a killed run leaves one at most
    try:
        with writing(path, size):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A new folder to write to; when the block ends well it takes the place of ``path``.

    A block that fails leaves ``path`` as it was. A process that is killed between the two moves at
    the end leaves the older folder as ``.NAME.old`` beside it.

    Raises:
        ResourceError: the disk or the permissions do not allow it.
    """
    place = path.resolve()
    part, old = (place.with_name(f".{place.name}.{end}") for end in ("part", "old"))
    try:
        with writing(path):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part
            for file in (path for path in part.rglob("*") if path.is_file()):
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            if place.exists():
                shutil.rmtree(old, ignore_errors=True)
                os.replace(place, old)
            os.replace(part, place)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``, or leave it as it was; see :func:`replaced`."""
    data = text.encode()
    with replaced(path, len(data)) as part:
        part.write_bytes(data)


def read_record(path: Path, instead: str = RESTORE) -> dict[str, Any]:
    """The JSON object that a run keeps in a file.

    Args:
        path: of the file, which is there.
        instead: what to do where it is damaged.

    Raises:
        CorpusError: it is damaged; names it.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CorpusError(f"{path} is damaged ({error}): {instead}") from error
