"""Files and folders that are whole or not there: written beside their place, then moved into it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from preflexor_pl.core.errors import ResourceError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to; what is there when the block ends well takes the place of ``path``.

    The folder is made. A block that fails leaves ``path`` as it was.

    Raises:
        ResourceError: the disk or the permissions do not allow it.
    """
    part = path.with_name(f".{path.name}.part")  # one name: a killed run leaves one at most
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"cannot write {path}: {reason}") from error
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
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"cannot write {path}: {reason}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``, or leave it as it was; see :func:`replaced`."""
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
