"""Finds a model by its name: a hub id, a folder, a GGUF file, or a file in a Python package.

A GGUF file is converted to safetensors once, in the cache folder and under a lock; later loads take
seconds. A model that cannot be had is a ConfigError in one line: there is no fallback.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import torch

from preflexor_pl.core.errors import ConfigError, ResourceError
from preflexor_pl.core.files import nearest_existing, writing
from preflexor_pl.core.hub import GGUF, quiet_loading, require_model
from preflexor_pl.core.packaged_models import is_package_name, locate, verify
from preflexor_pl.core.progress import log_line
from preflexor_pl.policy.model_errors import in_one_line

ENDS = 2**20  # bytes of a file's beginning and of its end that its fingerprint covers
SET_CACHE = "set PREFLEXOR_CACHE to a folder that can be written"
CONVERSION = 1  # raise it when folders that an older version converted must not be used


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are.

    Attributes:
        name: as the user wrote it.
        location: folder or hub id that transformers can load.
        sha256: of the packaged file, else ``fingerprint_of`` the folder; "" for a hub id.
    """

    name: str
    location: str
    sha256: str


def find_model(name: str, key: str = "model.policy.model_name") -> ModelSource:
    """Locate a model, and convert it if it is a GGUF file; raises ConfigError naming ``key``."""
    require_model(name, key)
    if is_package_name(name):
        found = locate(name)
        if found.path.suffix != GGUF:
            return ModelSource(name, str(found.path), found.sha256)
        # Verified once, before the conversion: the converted folder has this sha256 in its name.
        location = _converted(found.path, found.sha256, partial(verify, found), key)
        return ModelSource(name, location, found.sha256)
    path = Path(name).expanduser()
    if path.is_file():
        sha256 = _fingerprint([path])
        return ModelSource(name, _converted(path, sha256, lambda: None, key), sha256)
    if not path.is_dir():
        return ModelSource(name, name, "")
    return ModelSource(name, str(path), fingerprint_of(path))


def fingerprint_of(folder: Path) -> str:
    """sha256 of names, sizes and both ends of the files: all of the weights would take minutes."""
    return _fingerprint(sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]))


def _fingerprint(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        total.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            total.update(file.read(ENDS))
            file.seek(max(0, size - ENDS))
            total.update(file.read(ENDS))
    return total.hexdigest()


def cache_folder() -> Path:
    """``$PREFLEXOR_CACHE``, or the user's cache folder; it need not exist yet.

    Raises:
        ConfigError: the user has no home folder.
        ResourceError: the folder cannot be written.
    """
    from platformdirs import user_cache_dir

    try:
        folder = Path(os.environ.get("PREFLEXOR_CACHE") or user_cache_dir("preflexor_pl"))
        nearest = nearest_existing(folder)
    except (RuntimeError, OSError) as error:  # RuntimeError: no home folder
        raise ConfigError(f"no folder to keep models in ({error}): {SET_CACHE}") from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ResourceError(f"{folder}, to keep models in, cannot be written: {SET_CACHE}")
    return folder


def require_cache(name: str) -> None:
    """Refuse a model that must be converted if there is no cache folder to keep it in.

    Raises:
        ConfigError: names the variable to set.
        ResourceError: the same.
    """
    file = locate(name).path if is_package_name(name) else Path(name)
    if file.suffix == GGUF:
        cache_folder()


def _converted(file: Path, sha256: str, check: Callable[[], None], key: str) -> str:
    """The folder of a GGUF file's weights; ``check`` is called before they are converted."""
    from filelock import FileLock

    folder = cache_folder() / f"{file.stem}-{sha256[:16]}-v{CONVERSION}"
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "config.json").exists():
            check()
            log_line(f"Converting {file.name} once (about a minute); kept in {folder}")
            quiet = redirect_stderr(StringIO())  # transformers draws its own bar
            with in_one_line(f"{key}: {file} did not convert"), quiet_loading(), quiet:
                _convert(file, folder)
    return str(folder)


def _convert(gguf: Path, folder: Path) -> None:
    try:
        import gguf as _  # noqa: F401  (transformers needs it and says so in 20 lines)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{gguf.name} is a GGUF file and the gguf package is missing: pip install gguf"
        ) from error
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # The loaded model counts as quantised and refuses to be saved: its weights go into a plain one.
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings["_name_or_path"] = gguf.stem
    plain = type(loaded)(type(loaded.config)(**settings))
    plain.load_state_dict(loaded.state_dict())
    half_made = folder.with_suffix(".part")
    shutil.rmtree(half_made, ignore_errors=True)
    plain.save_pretrained(half_made)
    tokenizer.save_pretrained(half_made)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(half_made, folder)
