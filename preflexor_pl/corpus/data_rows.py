"""The rows of a data set: of a file, a folder, a hub id, or rows that are in memory.

``key`` is the config key that names the data set, for messages.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.hub import DATASET_ID
from preflexor_pl.core.progress import log_line
from preflexor_pl.corpus.sources import find_corpus, require_corpus

SUFFIXES = ".jsonl", ".json", ".parquet"
SAVED = "state.json", "dataset_dict.json"  # by datasets.save_to_disk

Rows = Iterator[tuple[str, Any]]  # where a row stands, to name it in an error; and the row


def require_rows(source: str, key: str) -> None:
    """Check that there is such a source; reads nothing.

    Raises:
        ConfigError: one line with the key, what is wrong and what to do.
    """
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{key}: {source} must be one of {', '.join(SUFFIXES)}")
    if not path.exists():
        if not DATASET_ID.fullmatch(source) or path.suffix.lower() in SUFFIXES:
            raise ConfigError(f"{key}: there is no {source!r}; give a file, a folder or a hub id")
        require_corpus(source, key)


def rows_of(source: str | Iterable[Any], key: str) -> Rows:
    """Each row with where it stands.

    Raises:
        ConfigError: there is no such source.
        CorpusError: a file cannot be read.
    """
    if not isinstance(source, str):
        yield from ((f"row {number}", row) for number, row in enumerate(source))
        return
    require_rows(source, key)
    path = Path(source).expanduser()
    if any((path / name).is_file() for name in SAVED):
        yield from _saved(path, key)
        return
    root = path if path.exists() else find_corpus(source, key).root
    files = [root] if root.is_file() else _files(root, key)
    for file in files:
        yield from _from_file(file, key)


def _files(folder: Path, key: str) -> list[Path]:
    """Those of the training split, where names tell."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    train = [path for path in found if "train" in path.relative_to(folder).as_posix().lower()]
    if not found:
        raise ConfigError(f"{key}: {folder} holds no {', '.join(SUFFIXES)}")
    names = ", ".join(path.relative_to(folder).as_posix() for path in train or found)
    log_line(
        f"Rows from {names if len(names) < 200 else f'{len(train or found)} files'} of {folder}"
    )
    return train or found


def _from_file(path: Path, key: str) -> Rows:
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            rows = pyarrow.parquet.read_table(path).to_pylist()
        else:
            text = path.read_text(encoding="utf-8-sig")
            if not text.lstrip().startswith("["):
                yield from _from_lines(path, text, key)
                return
            rows = json.loads(text)
    except (ValueError, RecursionError) as error:  # pyarrow's errors are ValueErrors
        raise CorpusError(f"{key}: {path} cannot be read ({error})") from error
    except OSError as error:
        raise CorpusError(f"{key}: {path} cannot be read ({error.strerror or error})") from error
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows))


def _from_lines(path: Path, text: str, key: str) -> Rows:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would cut at U+2028
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CorpusError(f"{key}: {path}:{number} is not JSON ({error})") from error


def _saved(folder: Path, key: str) -> Rows:
    import datasets

    try:
        made = datasets.load_from_disk(str(folder))
    except (ValueError, OSError, KeyError) as error:
        raise CorpusError(f"{key}: {folder} cannot be read ({error})") from error
    if isinstance(made, datasets.DatasetDict):
        if "train" not in made:
            raise ConfigError(f"{key}: {folder} has no split train: give the folder of a split")
        made = made["train"]
    yield from ((f"{folder}, row {number}", row) for number, row in enumerate(made))
