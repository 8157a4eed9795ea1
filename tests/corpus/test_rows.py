"""Tables whose rows are documents: parquet files, and what ``datasets`` saves."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from preflexor_pl.corpus import reader
from preflexor_pl.corpus.parsing import tables
from preflexor_pl.corpus.reader import read_folder
from preflexor_pl.corpus.sandbox import Sandbox
from tests.corpus.test_printed import highest_memory

TEXT = "Nacre is the iridescent inner layer of many mollusc shells. " * 3


def numbered(n):
    return f"{TEXT}Number {n}."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.md").write_text(numbered(0))
    return tmp_path


def write(path, **columns):
    parquet.write_table(pa.table(columns), path)


def test_a_row_is_a_document(folder):
    texts = [numbered(1), None, "  ", "short", numbered(1).upper(), numbered(2)]
    write(folder / "a.parquet", title=["One", *"xxxx", None], text=texts, n=range(6))
    found = read_folder(folder)
    assert [(d.id, d.title) for d in found.documents] == [
        ("a.parquet#1", "One"),
        ("a.parquet#6", "a.parquet#6"),
        ("good.md", "good"),
    ]
    assert dict(found.skipped) == {
        "a.parquet#2": "no text",
        "a.parquet#3": "empty",
        "a.parquet#4": "too short",
        "a.parquet#5": "duplicate",
    }


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ({"body": [numbered(1)]}, ["1"]),
        ({"id": [7], "content": [numbered(1)], "score": [0.5]}, ["7"]),
        ({"text": pa.array([numbered(1)], pa.large_string()), "note": ["x"]}, ["1"]),
        ({"text": pa.array([numbered(1)]).dictionary_encode()}, ["1"]),
        ({"text": [["Nacre", numbered(1)]]}, ["1"]),
        ({"text": [{"lang": None, "content": numbered(1)}], "licence": ["CC"]}, ["1"]),
        ({"messages": [[{"role": "user", "content": numbered(1)}]], "model": ["m"]}, ["1"]),
        ({"id": [7], "paragraph": [numbered(1)]}, ["7"]),
    ],
)
def test_which_column_is_the_text(folder, columns, read):
    write(folder / "a.parquet", **columns)
    found = read_folder(folder)
    assert [d.title.split("#")[-1] for d in found.documents] == [*read, "good"]
    assert dict(found.skipped) == {}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (
            {"question": ["x"], "answer": ["y"]},
            "which column is the text? There are question, answer: set data.text_column",
        ),
        (
            {"licence": [numbered(1)], "tokens": [[1, 2]]},  # once taken for the text: it is long
            "which column is the text? There are licence, tokens: set data.text_column",
        ),
        (
            {"content": ["x"], "body": ["y"]},
            "which column is the text? There are content, body: set data.text_column",
        ),
        ({"text": [3]}, "no column holds text: there are text"),
    ],
)
def test_what_could_be_another_column_is_refused(folder, columns, reason):
    write(folder / "a.parquet", **columns)
    assert dict(read_folder(folder).skipped) == {"a.parquet": reason}


def test_the_column_that_was_asked_for(folder):
    texts = [{"de": numbered(1), "en": numbered(2)}, {"de": numbered(3), "en": None}]
    write(folder / "a.parquet", text=texts, note=[numbered(4), numbered(5)])
    assert read_folder(folder).reasons == {
        "which part is the text? There are de, en: set data.text_column to COLUMN.PART": 1
    }
    found = read_folder(folder, column="text.en")
    assert [d.text for d in found.documents if d.column] == [numbered(2)]
    assert dict(found.skipped) == {"a.parquet#2": "no text"}
    found = read_folder(folder, column="note")
    assert [(c.name, c.documents, c.first) for c in found.columns] == [("note", 2, "a.parquet#1")]
    assert numbered(4).startswith(found.columns[0].words)
    assert dict(read_folder(folder, column="none").skipped) == {
        "a.parquet": "no column none (data.text_column) among text, note"
    }


def test_strings_that_are_no_utf8(folder):
    bad = pa.array([numbered(1).encode() + b"\xff\xfe"]).cast(pa.binary())
    write(folder / "a.parquet", text=pa.Array.from_buffers(pa.string(), 1, bad.buffers()))
    [document, _] = read_folder(folder).documents
    assert document.text == numbered(1) + "\ufffd\ufffd"


def test_tables_that_are_none(folder):
    write(folder / "whole.parquet", text=[numbered(n) for n in range(1, 500)])
    data = (folder / "whole.parquet").read_bytes()
    (folder / "whole.parquet").unlink()
    (folder / "renamed.txt").write_bytes(data)
    (folder / "half.parquet").write_bytes(data[: len(data) // 2])
    (folder / "flipped.parquet").write_bytes(data[:-200] + bytes(100) + data[-100:])
    (folder / "text.parquet").write_text(TEXT)
    (folder / "text.arrow").write_text(TEXT)
    (folder / "mad.arrow").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(500))
    (folder / "none.parquet").write_bytes(b"")
    found = read_folder(folder)
    assert dict(found.skipped) == {
        "half.parquet": "damaged",
        "flipped.parquet": "damaged",
        "text.parquet": "not a .parquet file",
        "text.arrow": "not a .arrow file",
        "mad.arrow": "takes too much memory",
        "none.parquet": "empty",
    }
    assert len(found.documents) == 500


def test_a_row_of_any_size_and_rows_without_end(folder, monkeypatch):
    write(folder / "a.parquet", text=["x" * (tables.MAX_ROW_BYTES + 1), numbered(1)])
    assert dict(read_folder(folder).skipped) == {"a.parquet#1": "too large"}
    monkeypatch.setattr(reader, "MAX_ENTRIES", 2)
    assert dict(read_folder(folder).skipped) == {
        "a.parquet#1": "too large",
        "good.md": reader.TOO_LARGE,
    }


def test_many_rows_take_little_memory(tmp_path):
    count = 200_000
    texts = pa.array([f"{number:>500}" for number in range(1000)] * (count // 1000))  # 100 MB
    write(tmp_path / "a.parquet", text=texts)
    with Sandbox() as sandbox:
        pieces = iter(sandbox.read(tmp_path / "a.parquet", "parquet"))
        assert [int(next(pieces).text) for _ in range(3)] == [0, 1, 2]
        read = 3 + sum(1 for _ in pieces)
        peak = highest_memory(sandbox)
    assert read == count
    assert peak is None or peak < 300_000_000


def test_what_datasets_saves_is_a_corpus(tmp_path):
    datasets = pytest.importorskip("datasets")
    split = {
        name: datasets.Dataset.from_dict({"text": [numbered(n) for n in rows], "n": list(rows)})
        for name, rows in (("train", range(4)), ("test", range(3, 6)))
    }
    datasets.DatasetDict(split).save_to_disk(tmp_path / "saved", num_shards={"train": 2, "test": 1})
    (tmp_path / "saved/train/cache-1.arrow").write_bytes(b"of a map that somebody made of it")
    progress = []
    found = read_folder(tmp_path / "saved", progress.append)
    assert [d.id for d in found.documents] == [
        *(f"test/data-00000-of-00001.arrow#{n}" for n in (1, 2, 3)),
        *(f"train/data-00000-of-00002.arrow#{n}" for n in (1, 2)),
        "train/data-00001-of-00002.arrow#1",
    ]
    assert dict(found.skipped) == {"train/data-00001-of-00002.arrow#2": "duplicate"}
    assert progress == [1, 2, 3, 4, 5, 6, 7]


def test_the_file_format_of_arrow(folder):
    table = pa.table({"n": [1, 2], "text": [numbered(1), numbered(2)]})
    with ipc.new_file(folder / "a.arrow", table.schema) as file:
        file.write_table(table, max_chunksize=1)
    assert [d.id for d in read_folder(folder).documents] == ["a.arrow#1", "a.arrow#2", "good.md"]


def test_a_stream_that_breaks_off_gives_what_came_before(folder):
    table = pa.table({"text": [numbered(n) for n in range(1, 9)]})
    with ipc.new_stream(folder / "a.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    data = Path(folder / "a.arrow").read_bytes()
    (folder / "a.arrow").write_bytes(data[: len(data) * 3 // 4])
    found = read_folder(folder)
    assert 1 < len(found.documents) < 9
    assert dict(found.skipped) == {"a.arrow": "damaged"}
