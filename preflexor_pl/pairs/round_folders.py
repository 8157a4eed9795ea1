"""The rounds of a run on disk: where they are, which are complete, what their manifests say."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.files import RESTORE, read_record
from preflexor_pl.core.markers import MarkerStrings

MANIFEST = "manifest.json"  # in a round's folder


def round_folder(run: Path, index: int) -> Path:
    """Where the files of a run's round are."""
    return run / "rounds" / f"round-{index:04d}"


def round_folders(run: Path) -> list[Path]:
    """The folders of a run's rounds, in order; not all need be complete."""
    return sorted((run / "rounds").glob("round-*"))


def is_complete(folder: Path) -> bool:
    """Whether a round ended: its manifest is written last."""
    return (folder / MANIFEST).exists()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a complete round.

    Raises:
        CorpusError: what is there is none.
    """
    return read_record(folder / MANIFEST)


def markers_of(pairs: Path) -> MarkerStrings | None:
    """The markers of a file of pairs, by the manifest of its round; None where there is none.

    Raises:
        CorpusError: the manifest is damaged.
    """
    if pairs.name != "pairs.jsonl" or not is_complete(pairs.parent):
        return None
    try:
        return MarkerStrings.of_record(read_manifest(pairs.parent))
    except ValueError as error:
        raise CorpusError(f"{pairs.with_name(MANIFEST)}: {error}") from error


def complete_rounds(run: Path, asked: Collection[int] | None = None) -> list[int]:
    """The complete rounds of a run, in their order; ``asked``: of these alone.

    Raises:
        ConfigError: there is none, or one that is asked for is not complete.
    """
    found = run.glob(f"rounds/round-[0-9][0-9][0-9][0-9]/{MANIFEST}")
    made = sorted(int(path.parent.name[6:]) for path in found)
    if not made:
        raise ConfigError(f"{run} has no complete round yet: run fit first, or give --pairs FILE")
    for index in made if asked is None else asked:
        if index not in made:
            raise ConfigError(f"{run} has no round {index}: its complete rounds are {made}")
    return made if asked is None else sorted(set(asked))


def vouched_pairs(folder: Path) -> int:
    """How many pairs a complete round has.

    Raises:
        CorpusError: its pairs are not those that its manifest vouches for.
    """
    try:
        manifest = read_manifest(folder)
        count, vouched = int(manifest["pairs"]), manifest["pairs_sha256"]
        found = hashlib.sha256((folder / "pairs.jsonl").read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{folder} is damaged ({error}): {RESTORE}") from error
    if found != vouched:
        raise CorpusError(f"{folder / 'pairs.jsonl'} was changed since it was made: {RESTORE}")
    return count
