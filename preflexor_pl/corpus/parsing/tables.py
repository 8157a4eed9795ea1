"""Rows of parquet and Arrow files: the column of texts, and that of titles where there is one."""

from collections.abc import Iterable, Iterator
from typing import Any

from preflexor_pl.corpus.columns import NoColumn, part, plain_text, text_column, title_column
from preflexor_pl.corpus.parsing.pieces import MAX_TITLE, Piece, Refused

MAX_ROWS = 2_000_000  # of one file
MAX_ROW_BYTES = 4_000_000
BATCH_ROWS = 256


def parquet(path: str, wanted: str | None = None) -> Iterator[Piece]:
    """Rows, read in batches of the columns that count."""
    from pyarrow import parquet as files

    with files.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        names, chosen = _columns(file.schema_arrow, wanted)
        batches = file.iter_batches(BATCH_ROWS, columns=names, use_threads=False)
        yield from _rows(batches, names, chosen)


def arrow(path: str, wanted: str | None = None) -> Iterator[Piece]:
    """Rows of a file as ``datasets`` saves them (Arrow's stream), or of Arrow's file format."""
    from pyarrow import OSFile, ipc

    with OSFile(path) as source:
        stream = source.read(6) != b"ARROW1"
        source.seek(0)
        opened = ipc.open_stream(source) if stream else ipc.open_file(source)
        schema = opened.schema
        names, chosen = _columns(schema, wanted)
        indices = [schema.get_field_index(name) for name in names]
        options = ipc.IpcReadOptions(included_fields=indices, use_threads=False)
        source.seek(0)
        if stream:
            yield from _rows(ipc.open_stream(source, options=options), names, chosen)
            return
        reader = ipc.open_file(source, options=options)
        numbers = range(reader.num_record_batches)
        yield from _rows((reader.get_batch(n) for n in numbers), names, chosen)


def _columns(schema: Any, wanted: str | None) -> tuple[list[str], str]:
    """The columns to read, that of texts first, and the column of the text, or its part."""
    texts = [field.name for field in schema if _holds_text(field.type)]
    try:
        chosen = text_column(schema.names, wanted, texts)
    except NoColumn as reason:
        raise Refused(str(reason)) from None
    column = chosen if chosen in texts else chosen.partition(".")[0]
    title = title_column([name for name in schema.names if name != column])
    return [column, *([title] if title else [])], chosen


def _holds_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    if types.is_struct(kind):
        return any(_holds_text(field.type) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _holds_text(kind.value_type)
    return _is_string(kind)


def _is_string(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _rows(batches: Iterable[Any], names: list[str], chosen: str) -> Iterator[Piece]:
    count = 0
    for batch in batches:
        texts = _decoded(batch.column(names[0]))
        titles = batch.column(names[1]) if len(names) > 1 else [None] * len(texts)
        for text, title in zip(texts, titles, strict=True):
            count += 1
            if count > MAX_ROWS:
                raise Refused("too many rows")
            named = "" if title is None or not title.is_valid else str(title)[:MAX_TITLE]
            yield {"title": named, "column": chosen} | _text(text, names[0], chosen)


def _decoded(texts: Any) -> Any:
    """Strings as bytes, since not every file's are UTF-8; other columns as they are."""
    import pyarrow

    if pyarrow.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    return texts.cast(pyarrow.large_binary()) if _is_string(texts.type) else texts


def _text(value: Any, column: str, chosen: str) -> Piece:
    if not value.is_valid:
        return {"skip": "no text"}
    if hasattr(value, "as_buffer"):
        if value.as_buffer().size > MAX_ROW_BYTES:
            return {"skip": "too large"}
        return {"text": value.as_py().decode(errors="replace")}
    try:
        text = plain_text(part({column: value.as_py()}, chosen))
    except NoColumn as reason:
        return {"skip": str(reason)}
    if len(text) > MAX_ROW_BYTES:
        return {"skip": "too large"}
    return {"text": text} if text else {"skip": "no text"}
