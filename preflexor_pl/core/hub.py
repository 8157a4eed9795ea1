"""Checks that a model or a data set exists, before anything heavy loads: a typo costs seconds.

A model is one string: a folder, ``package:...`` or a hub id. Left to transformers, a hub id on a
machine without network takes half a minute and a page of traceback.
"""

import contextlib
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.packaged_models import is_package_name, locate

PROBE_SECONDS = 3.0
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
DATASET_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # a lone word is more likely a folder
GGUF = ".gguf"
MODEL_FILES = ("config.json", "modules.json")  # the second: a sentence-transformers folder


def require_model(name: str, key: str) -> None:
    """Checks that a model can be loaded from where its name says; loads nothing.

    Args:
        name: folder, GGUF file, ``package:...`` name or hub id. Nothing falls back silently: a
            folder of that name wins, and a hub id is looked for in the local cache and then on the
            hub.
        key: the config key it came from, for the message (``model.policy.model_name``).

    Raises:
        ConfigError: one line with the key, what is wrong and what to do.
    """
    try:
        if folder := _folder_of(name):
            _require_no_code(folder)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error


def _folder_of(name: str) -> Path | None:
    """Where a model lies on this machine; None where the hub has it.

    Raises:
        ConfigError: it is in neither.
    """
    if is_package_name(name):
        return locate(name).path
    folder = Path(name).expanduser()
    if name and folder.exists():
        is_gguf = folder.is_file() and folder.suffix == GGUF
        if not is_gguf and not any((folder / file).is_file() for file in MODEL_FILES):
            raise ConfigError(f"{name!r} exists but holds no config.json, so it is no model")
        return folder
    if folder.suffix == GGUF:
        raise ConfigError(f"there is no file {name!r}")
    if not HUB_ID.fullmatch(name):
        raise ConfigError(
            f"there is no folder {name!r}; give a folder, a hub id like owner/name, "
            "or package:NAME/FILE"
        )
    snapshot = cached_snapshot(name)
    problem = "" if snapshot else _probe(name)
    if problem:
        raise ConfigError(f"no folder {name!r} here, not in the hub cache, and {problem}")
    return snapshot


def _require_no_code(folder: Path) -> None:
    """Refuse a model whose config names Python code of its own, for a family not in transformers.

    Left to transformers, that is a question on the terminal in the middle of a run.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        code, family = config.get("auto_map"), config.get("model_type")
    except (OSError, ValueError, AttributeError):  # what loads it says what is wrong
        return
    if not code:
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if family not in CONFIG_MAPPING_NAMES:
        raise ConfigError(
            f"{folder} needs Python code of its own ({family}), and code from a model is never "
            "run: choose a family that transformers has"
        )


def require_dataset(name: str, key: str) -> None:
    """Checks that the hub gives a data set; downloads nothing.

    Args:
        name: hub id.
        key: the config key it came from, for the message.

    Raises:
        ConfigError: one line with the key, what is wrong and what to do.
    """
    problem = _probe(name, "dataset")
    if problem:
        raise ConfigError(f"{key}: no folder {name!r} here, not in the hub cache, and {problem}")


def cached_snapshot(name: str) -> Path | None:
    """The folder of a hub id's cached snapshot (its name is the commit), or None."""
    from huggingface_hub import try_to_load_from_cache  # 0.3 s, and only hub ids need it

    for file in MODEL_FILES:
        found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            return Path(found).parent
    return None


def _probe(name: str, kind: str = "model") -> str:
    """What keeps the hub from giving this model, "" if nothing does; at most PROBE_SECONDS."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError

    instead = "a folder or package:NAME" if kind == "model" else "a folder"
    if constants.HF_HUB_OFFLINE:
        return f"HF_HUB_OFFLINE is set; unset it, or use {instead}"
    unreachable = f"the hub cannot be reached ({constants.ENDPOINT}); use {instead}"
    verdict = [unreachable]

    def ask() -> None:
        try:
            ask_for = HfApi().model_info if kind == "model" else HfApi().dataset_info
            ask_for(name, timeout=PROBE_SECONDS)
            verdict[0] = ""
        except RepositoryNotFoundError:
            verdict[0] = f"the hub has no such public {kind}; check the spelling or `hf auth login`"
        except Exception as error:  # whatever else it is, the model cannot be had from the hub
            logging.getLogger(__name__).debug("hub probe of %s: %s", name, type(error).__name__)

    # A thread, because a timeout of the request does not cover a name server that hangs.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return verdict[0]


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Silences progress bars, warnings and log lines of libraries while a model loads."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from transformers.utils import logging as transformers_logging

    hub_bars = not are_progress_bars_disabled()
    model_bars = transformers_logging.is_progress_bar_enabled()
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        disable_progress_bars()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            logging.disable(level)
            if hub_bars:
                enable_progress_bars()
            if model_bars:
                transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
