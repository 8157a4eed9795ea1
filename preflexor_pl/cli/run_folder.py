"""A run's folder: who may write to it, what it was started with, and where to go on from."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from preflexor_pl.cli.checkpoint_order import order, readable
from preflexor_pl.core.config_files import load_yaml, read_config
from preflexor_pl.core.errors import ConfigError, CorpusError, ResourceError
from preflexor_pl.core.files import RESTORE, read_record, write_atomically
from preflexor_pl.core.limits import Limits, is_finished
from preflexor_pl.core.progress import log_line

INSTEAD = "delete it, and the same command ends the run anew"  # of finished.json
FIXED = ("model", "data", "seed_everything")  # what a run is; trainer.* may change when it goes on
SERVERS = "data.teacher.server.", "data.judge.server."  # of which only these say what a run is:
FIXED_OF_SERVER = ("base_url", "model")
FREE = (  # when pairs are made, which runs begun before may call overlap; prompts are compared
    "data.prefetch",
    "data.overlap",
    "data.prompts",
)


class RunFolder:
    """One run on disk.

    Args:
        path: of the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._real = path.resolve()  # a link and its target are one run
        if not self._real.name:
            raise ConfigError(f"--run: {path} is the root of the disk: give a folder of its own")
        self._lock = FileLock(self._real.with_name(f".{self._real.name}.lock"))

    def take(self, fresh: bool) -> None:
        """Make the folder and lock it for this process.

        Args:
            fresh: set what is there aside under another name.

        Raises:
            ResourceError: it cannot be written, or a live run has it.
        """
        try:
            self._real.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            if fresh and self._real.exists():
                self._set_aside()
            self._real.mkdir(exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except Timeout as error:
            raise ResourceError(
                f"{self.path} is in use by a run: wait for it, or use --run OTHER"
            ) from error
        except OSError as error:
            raise ResourceError(
                f"{self.path} cannot be written ({error.strerror}): use --run OTHER"
            ) from error

    def _set_aside(self) -> None:
        here = Path.cwd().resolve()
        if here == self._real or self._real in here.parents:
            raise ConfigError(f"--fresh: you are in {self._real}, which would be moved: leave it")
        aside = self._real.with_name(_name_now(self._real.name))
        os.replace(self._real, aside)
        log_line(f"Set the older run aside in {aside}")

    @contextmanager
    def taken(self, fresh: bool = False) -> Iterator["RunFolder"]:
        """Hold the folder while the block runs; arguments and errors as for :meth:`take`."""
        self.take(fresh)
        try:
            yield self
        finally:
            self.release()

    def release(self) -> None:
        """Let another run have the folder."""
        self._lock.release()

    @property
    def is_taken(self) -> bool:
        """Whether a live process has it; makes no file."""
        if not Path(self._lock.lock_file).exists():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def keep_config(self, text: str) -> None:
        """Keep the config of a new run; refuse another one for a run that has begun.

        Args:
            text: the whole config as YAML.

        Raises:
            ConfigError: names the keys that differ.
        """
        self.require_same(text)
        write_atomically(self.path / "config.yaml", text)

    def require_same(self, text: str) -> None:
        """Refuse another config than the one that a run has begun with.

        Args:
            text: the whole config as YAML.

        Raises:
            ConfigError: names the keys that differ.
        """
        path = self.path / "config.yaml"
        if not (path.exists() and self.has_begun):
            return
        try:
            before, now = _flat(read_config(path)), _flat(load_yaml(text))
        except ConfigError as error:
            raise ConfigError(f"{path} is damaged ({error}): {RESTORE}") from error
        changed = [
            f"{key} ({before.get(key)} -> {now.get(key)})"
            for key in sorted(before.keys() | now.keys())
            if _is_fixed(key) and before.get(key) != now.get(key)
        ]
        if changed:
            raise ConfigError(
                f"{self.path} was begun with other settings: {', '.join(changed)}: "
                "use --run OTHER, or --fresh to start it anew"
            )

    @property
    def has_begun(self) -> bool:
        """Whether pairs were made, or are being made."""
        return any((self.path / name).exists() for name in ("held_out", "rounds"))

    def checkpoints(self) -> list[Path]:
        """All checkpoints, that of the last step first."""
        found = (self.path / "checkpoints").glob("*.ckpt")
        return sorted(found, key=order, reverse=True)

    def keep_prompts(self, files: Mapping[str, str]) -> None:
        """Keep the texts of a new run's prompts; refuse others for a run that has begun.

        Args:
            files: texts by their names.

        Raises:
            ConfigError: names the files that differ.
        """
        self.require_same_prompts(files)
        for name, text in files.items():
            if self._kept_prompt(name) != text:
                write_atomically(self.path / "prompts" / name, text)

    def require_same_prompts(self, files: Mapping[str, str]) -> None:
        """Refuse other prompts than those that a run has begun with.

        Raises:
            ConfigError: names the files that differ.
        """
        changed = [n for n, text in files.items() if self._kept_prompt(n) not in (None, text)]
        if changed and self.has_begun:
            raise ConfigError(
                f"{self.path} was begun with other prompts: {', '.join(changed)}: use --run OTHER, "
                "or --fresh to start it anew"
            )

    def _kept_prompt(self, name: str) -> str | None:
        path = self.path / "prompts" / name
        return path.read_text(encoding="utf-8") if path.exists() else None

    def checkpoint(self) -> Path | None:
        """The newest checkpoint that can be read; says so where a newer one cannot."""
        for path in self.checkpoints():
            if readable(path):
                return path
            log_line(f"{path} is damaged: going on from the one before it")
        return None

    def go_back_to(self, checkpoint: Path) -> None:
        """Set the checkpoints of later steps aside, which the next command would go on from.

        Args:
            checkpoint: that the run goes on from, in this folder or elsewhere.
        """
        saved = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)
        later = [path for path in self.checkpoints() if order(path)[0] > saved["global_step"]]
        if not later:
            return
        aside = later[0].parent / _name_now("later")
        aside.mkdir()
        for path in later:
            os.replace(path, aside / path.name)
        log_line(f"Set {len(later)} checkpoints of later steps aside in {aside}")

    @property
    def ended(self) -> dict[str, Any]:
        """How far the run came and what ended it; empty while it has not ended.

        Raises:
            CorpusError: the file that says so is damaged.
        """
        path = self.path / "finished.json"
        if not path.exists():
            return {}
        record = read_record(path, INSTEAD)
        if not isinstance(record.get("epochs"), int):
            raise CorpusError(f"{path} is damaged (it names no epochs): {INSTEAD}")
        return record

    def is_finished(self, limits: Limits) -> bool:
        """Whether the run has ended with all that ``limits`` ask for."""
        ended = self.ended
        return bool(ended) and is_finished(ended, limits)


def _name_now(name: str) -> str:
    return f"{name}.{time.strftime('%Y%m%d-%H%M%S')}"


def _is_fixed(key: str) -> bool:
    for server in SERVERS:
        if key.startswith(server):
            return key.removeprefix(server) in FIXED_OF_SERVER
    return key.split(".")[0] in FIXED and key not in FREE


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
