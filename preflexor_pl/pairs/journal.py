"""A round's folder: what was planned, every response that was made, and the pairs it ended in.

Responses are on disk before they are used. A process that dies anywhere is followed by one that
reads them back and makes only what is missing.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.files import RESTORE, read_record, write_atomically, writing
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.progress import log_line
from preflexor_pl.pairs.call_key import begins
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.pairs.round_folders import MANIFEST, is_complete


class Journal:
    """The records of one round.

    Args:
        folder: the round's; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._calls = folder / "calls.jsonl"

    @cached_property
    def _made(self) -> dict[tuple[str, str], Completion]:
        """The recorded completions, read on first use: a complete round needs none of them."""
        made: dict[tuple[str, str], Completion] = {}
        damaged = []
        lines = _whole_lines(self._calls)
        for line in lines:
            try:
                made.update([_read_call(line)])
            except (ValueError, KeyError, TypeError):
                damaged.append(line)
        if damaged:
            self._leave_out(damaged, lines)
        return made

    def _leave_out(self, damaged: list[bytes], lines: list[bytes]) -> None:
        aside = self._calls.with_suffix(".damaged")
        os.replace(self._calls, aside)
        kept = [line for line in lines if line not in damaged]
        write_atomically(self._calls, "".join(f"{line.decode()}\n" for line in kept))
        log_line(
            f"{self._calls}: {len(damaged)} of {len(lines)} lines are damaged and left out, their "
            f"responses are asked for again; the file as it was is {aside.name}"
        )

    @property
    def responses(self) -> int:
        """How many responses are recorded."""
        return len(self._made)

    @property
    def is_complete(self) -> bool:
        """Whether the round ended."""
        return is_complete(self.folder)

    def pairs(self) -> list[PreferencePair]:
        """The pairs of a complete round."""
        return read_pairs(self.folder / "pairs.jsonl")

    def plan(self, fingerprint: str, make: Any) -> list[dict[str, Any]]:
        """The recorded plan, or the one that ``make()`` gives, recorded first.

        Raises:
            ConfigError: the recorded plan was made under other settings.
        """
        path = self.folder / "plan.json"
        if not path.exists():
            plan = {"fingerprint": fingerprint, "items": make()}
            write_atomically(path, json.dumps(plan, ensure_ascii=False, indent=1))
        return self.require(fingerprint)

    def require(self, fingerprint: str) -> list[dict[str, Any]]:
        """The recorded plan; refuses to go on with a round that was planned otherwise.

        Raises:
            ConfigError: the recorded plan was made under other settings.
        """
        path = self.folder / "plan.json"
        plan = _plan(path)
        if plan["fingerprint"] != fingerprint:
            raise ConfigError(
                f"{path} was made with another corpus, another model to start from, other "
                "prompts or other settings: use --run OTHER, or --fresh"
            )
        return plan["items"]

    def recall(self, call: str, request: Request, source: str) -> Completion | None:
        """The recorded completion of this very request, if there is one."""
        return self._made.get((call, _digest(request, source)))

    def record(self, calls: Sequence[tuple[str, Request, Completion]], source: str) -> None:
        """Put completions on disk, all of a batch at once."""
        lines = []
        for call, request, completion in calls:
            digest = _digest(request, source)
            self._made[call, digest] = completion
            record = {"call": call, "digest": digest, **asdict(completion)}
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        data = "".join(lines).encode()
        with writing(self._calls, len(data)), self._calls.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def finish(
        self,
        pairs: Sequence[PreferencePair],
        drops: Sequence[dict[str, str]],
        facts: dict[str, Any],
    ) -> None:
        """Write pairs, drops and, last, the manifest."""
        lines = "".join(pair.to_json() + "\n" for pair in pairs)
        write_atomically(self.folder / "pairs.jsonl", lines)
        self.keep_drops(drops)
        manifest = {
            "pairs": len(pairs),
            "drops": dict(Counter(drop["reason"] for drop in drops)),
            "pairs_sha256": hashlib.sha256(lines.encode()).hexdigest(),
            **facts,
        }
        write_atomically(self.folder / MANIFEST, json.dumps(manifest, indent=1))

    def keep_drops(self, drops: Sequence[dict[str, str]]) -> None:
        """Write the drops."""
        lines = "".join(json.dumps(drop, ensure_ascii=False) + "\n" for drop in drops)
        write_atomically(self.folder / "drops.jsonl", lines)

    def drops(self) -> list[dict[str, str]]:
        """The drops of a round that has come to its end, with pairs or without."""
        path = self.folder / "drops.jsonl"
        try:
            return [json.loads(line) for line in _whole_lines(path)]
        except ValueError as error:
            raise CorpusError(f"{path} is damaged ({error}): {RESTORE}") from error

    def forget_plan(self) -> None:
        """Forget plan and outcome; what was said stays, and is recalled if asked for again."""
        for name in (MANIFEST, "plan.json", "pairs.jsonl", "drops.jsonl"):
            (self.folder / name).unlink(missing_ok=True)


def without_calls(calls: Path, stages: Collection[str], to: Path) -> None:
    """Copy the records of ``calls`` to ``to`` without those of some stages."""
    starts = tuple(f'{{"call": "{begins(stage)}'.encode() for stage in stages)  # as ``record`` does
    kept = [line for line in _whole_lines(calls) if not line.startswith(starts)]
    write_atomically(to, "".join(f"{line.decode()}\n" for line in kept))


def _digest(request: Request, source: str) -> str:
    return hashlib.sha256(f"{source}\n{request!r}".encode()).hexdigest()[:24]


def _read_call(line: bytes) -> tuple[tuple[str, str], Completion]:
    record = json.loads(line.decode())  # not from bytes: NULs would pass for UTF-16
    key = (record.pop("call"), record.pop("digest"))
    return key, Completion(**record)


def _plan(path: Path) -> dict[str, Any]:
    plan = read_record(path)
    if not plan.keys() >= {"fingerprint", "items"}:
        raise CorpusError(f"{path} is damaged (it is no plan): {RESTORE}")
    return plan


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    text = path.read_bytes()
    # A line that a kill left unfinished was never used.
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return [line for line in whole.split(b"\n") if line]
