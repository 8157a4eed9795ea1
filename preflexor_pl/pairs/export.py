"""Pairs as a .jsonl or .parquet file, or a folder of ``datasets``, for other trainers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import replaced, replaced_folder
from preflexor_pl.pairs.pair import PreferencePair

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = "prompt", "chosen", "rejected"
FILES = ".jsonl", ".parquet"
NOT_WRITTEN = (
    ".json",
    ".csv",
    ".arrow",
    ".txt",
    ".gz",
    ".zip",
    ".zst",
)  # endings that a folder may not have
FOLDER_FILES = "dataset_info.json", "state.json"


def check_out(out: Path, sources: Sequence[Path], overwrite: bool) -> None:
    """Refuse to overwrite other files, and endings of formats that are not written.

    Args:
        out: a .jsonl or .parquet file, or a folder.
        sources: files that the pairs are read from.
        overwrite: replace an older export.

    Raises:
        ConfigError: names what is there.
    """
    kind = out.suffix.lower()
    if kind in NOT_WRITTEN:
        raise ConfigError(f"--out: {kind} is not written: give .jsonl, .parquet, or a folder")
    if not out.exists():
        return
    if any(out.samefile(path) for path in sources):
        raise ConfigError(f"--out: {out} is a file that the pairs are read from: give another name")
    if out.is_file() != (kind in FILES) or (out.is_dir() and not _is_export(out)):
        raise ConfigError(f"--out: {out} holds something else: give a name that is not there")
    if not overwrite and (out.is_file() or any(out.iterdir())):
        raise ConfigError(f"--out: {out} is there already: add --overwrite to replace it")


def _is_export(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    described = {name for name in names if not name.endswith(".arrow")}
    return not names or described == set(FOLDER_FILES)


def rows_of(
    pairs: Sequence[PreferencePair], all_columns: bool, conversational: bool, system: str | None
) -> Iterator[dict[str, Any]]:
    """A row for each pair.

    Args:
        pairs: to export.
        all_columns: with id, round, topic and the others.
        conversational: prompt and responses as lists of messages.
        system: the system turn of these lists; None leaves it out.
    """
    for pair in pairs:
        record = asdict(pair)
        row = {name: record.pop(name) for name in COLUMNS}
        if conversational:
            turns = {name: [{"role": "assistant", "content": row[name]}] for name in COLUMNS}
            turns["prompt"] = [{"role": "user", "content": pair.prompt}]
            if system:
                turns["prompt"].insert(0, {"role": "system", "content": system})
            row = turns
        yield row | (record if all_columns else {})


def write_rows(rows: Iterator[dict[str, Any]], out: Path) -> None:
    """Write rows as a .jsonl or .parquet file, or as a folder for ``datasets.load_from_disk``.

    Raises:
        ResourceError: it cannot be written; an older export stays as it was.
    """
    kind = out.suffix.lower()
    if kind not in FILES:
        dataset = _dataset(rows)
        with replaced_folder(out) as part:
            dataset.save_to_disk(part)
    elif kind == ".parquet":
        dataset = _dataset(rows)
        with replaced(out) as part, part.open("wb") as file:
            dataset.to_parquet(file)
    else:
        with replaced(out) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _dataset(rows: Iterator[dict[str, Any]]) -> "Dataset":
    import datasets

    datasets.disable_progress_bars()
    return datasets.Dataset.from_list(list(rows))
