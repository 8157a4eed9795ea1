"""JSON and CSV files in the many ways that people write them."""

import json

import pytest

from preflexor_pl.corpus import rows
from preflexor_pl.corpus.reader import read_folder

TEXT = "Größe und Zähigkeit von Perlmutt sind größer als die der spröden Bestandteile, sagt Text "
TEXTS = [f"{TEXT * 2}{n}." for n in range(3)]
RECORDS = [{"id": n, "text": text} for n, text in enumerate(TEXTS)]
ASCII, LETTERS = {}, {"ensure_ascii": False}


def read(folder, name, data, **options):
    (folder / name).write_bytes(data)
    (folder / "good.md").write_text(f"{TEXT * 2} Good.")
    found = read_folder(folder, **options)
    return [d for d in found.documents if d.id != "good.md"], dict(found.skipped)


def lines(records, **options):
    return "\n".join(json.dumps(record, **options) for record in records)


@pytest.mark.parametrize(
    "content",
    [
        lines(RECORDS),
        lines(RECORDS).replace("\n", "\r\n") + "\r\n",
        "".join(map(json.dumps, RECORDS)),
        " ".join(map(json.dumps, RECORDS)) + "\n",
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=2),
        "\n\n".join(json.dumps(record, indent=4) for record in RECORDS),
        ",\n".join(json.dumps(record, indent=4) for record in RECORDS),
        lines(TEXTS),
        json.dumps(TEXTS),
        lines({"text": text.split(" und ")} for text in TEXTS),
        lines({"content": text, "url": "x"} for text in TEXTS),
        lines({"Body": text, "licence": "long " * 99} for text in TEXTS),
        lines({"messages": [{"role": "user", "content": text}]} for text in TEXTS),
        lines({"conversations": [{"from": "human", "value": text}]} for text in TEXTS),
        lines({"text": {"format": None, "value": text}} for text in TEXTS),
        lines({"paragraph": text, "id": n} for n, text in enumerate(TEXTS)),
        json.dumps({"data": RECORDS}),
        json.dumps({"version": "1.0", "documents": RECORDS, "count": 3}),
        json.dumps({"version": "1.0", "rows": TEXTS}),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_records_however_they_are_written(tmp_path, content, name):
    found, skipped = read(tmp_path, name, content.encode())
    texts = [document.text.replace("\n\n", " und ") for document in found]
    assert (texts, skipped) == (TEXTS, {})
    assert [document.id for document in found] == [
        f"{name}#{n}" for n in (1, 2, 3)
    ] or "\n\n" in content


@pytest.mark.parametrize(
    "record",
    [
        {"title": "Perlmutt", "items": TEXTS},
        {"text": "\n\n".join(TEXTS), "data": RECORDS},
        {"content": "\n\n".join(TEXTS), "data": [1, 2]},
    ],
)
def test_an_array_within_a_record_is_no_array_of_records(tmp_path, record):
    [document], skipped = read(tmp_path, "a.json", json.dumps(record).encode())
    assert (document.text, skipped) == ("\n\n".join(TEXTS), {})


def test_a_column_that_is_named_is_read_as_it_is(tmp_path):
    data = json.dumps({"data": RECORDS}).encode()
    [document], _ = read(tmp_path, "a.json", data, column="data.text")
    assert document.text == "\n\n".join(TEXTS)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
@pytest.mark.parametrize("write", [lines, json.dumps])
def test_records_in_other_encodings(tmp_path, write, encoding):
    data = write(RECORDS, ensure_ascii=False).encode(encoding)
    found, skipped = read(tmp_path, "a.jsonl", data)
    assert ([d.text for d in found], skipped) == (TEXTS, {})


def test_a_line_in_another_encoding_than_the_rest(tmp_path):
    data = b"\n".join(
        json.dumps(record, ensure_ascii=False).encode(encoding)
        for record, encoding in zip(RECORDS, ("utf-8", "latin-1", "utf-8"), strict=True)
    )
    found, skipped = read(tmp_path, "a.jsonl", data)
    assert ([d.text for d in found], skipped) == (TEXTS, {})


def test_what_is_no_record_is_counted_and_the_rest_is_read(tmp_path):
    content = "\n".join(
        [lines(RECORDS[:1]), '{"text": ', "[" * 9000, "{}", "7", lines(RECORDS[1:])]
    )
    found, skipped = read(tmp_path, "a.jsonl", content.encode())
    assert [d.id for d in found] == ["a.jsonl#1", "a.jsonl#6", "a.jsonl#7"]
    assert skipped == {
        "a.jsonl#2": "not JSON",
        "a.jsonl#3": "not JSON",
        "a.jsonl#4": "no text",
        "a.jsonl#5": "no text",
    }


def test_an_array_that_breaks_off_gives_what_came_before(tmp_path):
    found, skipped = read(tmp_path, "a.json", json.dumps(RECORDS)[:-20].encode())
    assert ([d.text for d in found], skipped) == (TEXTS[:2], {"a.json#3": "not JSON from here on"})


def test_a_file_of_any_size_takes_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_CHARS", 50)  # records lie across blocks
    monkeypatch.setattr(rows, "MAX_RECORD_CHARS", 1000)
    large = [RECORDS[0], {"text": "x" * 3000}, RECORDS[1]]
    assert len(read(tmp_path, "a.jsonl", lines(large).encode())[0]) == 2
    found, skipped = read(
        tmp_path, "a.jsonl", json.dumps([*RECORDS, *large[1:]], indent=1).encode()
    )
    assert (len(found), skipped) == (3, {"a.jsonl#4": "too large, with what follows in the file"})


def test_which_column_is_asked_for_where_it_is_not_plain(tmp_path):
    content = lines({"question": text, "answer": f"{text} Yes."} for text in TEXTS)
    reason = "which column is the text? There are question, answer: set data.text_column"
    assert set(read(tmp_path, "a.jsonl", content.encode())[1].values()) == {reason}
    found, skipped = read(tmp_path, "a.jsonl", content.encode(), column="answer")
    assert ([d.text for d in found], skipped) == ([f"{text} Yes." for text in TEXTS], {})
    assert {d.column for d in found} == {"answer"}
    nested = lines({"data": {"paragraphs": [{"p": text}, {"p": text}]}} for text in TEXTS)
    found, _ = read(tmp_path, "a.jsonl", nested.encode(), column="data.paragraphs.p")
    assert [d.text for d in found] == [f"{text}\n\n{text}" for text in TEXTS]


def test_names_from_a_file_are_harmless(tmp_path):
    record = {f"c\x1b[31m{n}\n" + "x" * 99: TEXT for n in range(20)}
    [reason] = read(tmp_path, "a.jsonl", json.dumps(record).encode())[1].values()
    assert reason.isprintable()
    assert len(reason) < 400


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding"),
    [
        ("a.csv", ",", "utf-8-sig"),
        ("a.csv", ";", "cp1252"),
        ("a.tsv", "\t", "utf-16"),
        ("a.csv", "|", "utf-8"),
    ],
)
def test_tables_of_text(tmp_path, name, delimiter, encoding):
    texts = [text.replace(" und ", " und\n\n") for text in TEXTS]
    cells = [["id", "Text"], *([str(n), f'"{text}"'] for n, text in enumerate(texts)), ["9", ""]]
    content = "\r\n".join(delimiter.join(row) for row in cells)
    found, skipped = read(tmp_path, name, content.encode(encoding))
    assert ([d.text for d in found], skipped) == (texts, {f"{name}#4": "no text"})
    assert [(d.id, d.title, d.column) for d in found][1] == (f"{name}#2", "1", "Text")


def test_a_table_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MAX_RECORD_CHARS", 1000)
    content = f'text\n"{TEXTS[0]}"\n"{TEXTS[1]}\n' + "x\n" * 3000
    found, skipped = read(tmp_path, "a.csv", content.encode())
    assert (len(found), skipped) == (1, {"a.csv#2": "too large"})


@pytest.mark.parametrize(
    ("records", "texts"),
    [
        ([{"text": None, "content": TEXTS[0]}, {"text": "", "body": TEXTS[1]}], TEXTS[:2]),
        ([{"content": TEXTS[0], "body": None}, {"content": None, "body": TEXTS[1]}], TEXTS[:2]),
        ([{"text": TEXTS[0], "content": f"{TEXTS[1]} More."}], TEXTS[:1]),
    ],
)
def test_a_column_that_is_filled_comes_before_an_empty_one(tmp_path, records, texts):
    found, skipped = read(tmp_path, "a.jsonl", lines(records).encode())
    assert ([d.text for d in found], skipped) == (texts, {})


def test_a_table_of_texts_without_a_name(tmp_path):
    content = "\n".join(f'"{text}"' for text in TEXTS)
    found, skipped = read(tmp_path, "a.csv", content.encode())
    assert ([d.text for d in found], skipped) == (TEXTS, {})
    assert [d.id for d in found] == ["a.csv#1", "a.csv#2", "a.csv#3"]


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ('ning is lost"}\n' + lines(RECORDS), ["a.jsonl#2", "a.jsonl#3", "a.jsonl#4"]),
        ("\x1e" + lines(RECORDS).replace("\n", "\n\x1e"), ["a.jsonl#1", "a.jsonl#2", "a.jsonl#3"]),
        (json.dumps(RECORDS[0], indent=1)[:-3], []),
    ],
)
def test_the_beginning_of_a_file_may_be_lost(tmp_path, content, ids):
    found, skipped = read(tmp_path, "a.jsonl", content.encode())
    assert [d.id for d in found] == ids
    assert len(skipped) <= 1


def test_packed_files_are_named_as_such(tmp_path):
    assert read(tmp_path, "a.jsonl.gz", b"\x1f\x8b")[1] == {"a.jsonl.gz": "packed: unpack it"}
