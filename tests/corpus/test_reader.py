import json
import os
import time

import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.corpus import documents, reader, rows
from preflexor_pl.corpus.charset import decode
from preflexor_pl.corpus.clean_text import normalise
from preflexor_pl.corpus.parsing.html import html
from preflexor_pl.corpus.reader import read_folder

TEXT = "Nacre is the iridescent inner layer of many mollusc shells. " * 3


def numbered(n):
    """Text number n, different from all others."""
    return f"{TEXT} Number {n}."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.md").write_text(f"# Nacre #\n\n{numbered(0)}")
    return tmp_path


def reasons(folder):
    return dict(read_folder(folder).skipped)


def test_types_titles_and_order(folder):
    (folder / "b").mkdir()
    (folder / "b/x.txt").write_text(numbered(1))
    (folder / "a.html").write_text(f"<title>T &amp; U</title><p>{numbered(2)}</p>")
    (folder / "l.jsonl").write_text(
        json.dumps({"text": numbered(3), "title": "Three"})
        + "\n\n"
        + json.dumps({"text": numbered(4), "id": 4})
    )
    found = read_folder(folder).documents

    assert [(d.id, d.title) for d in found] == [
        ("a.html", "T & U"),
        ("good.md", "Nacre"),
        ("l.jsonl#1", "Three"),
        ("l.jsonl#3", "4"),
        ("b/x.txt", "x"),
    ]


def test_what_is_skipped_and_why(folder, monkeypatch):
    monkeypatch.setattr(documents, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(rows, "MAX_RECORD_CHARS", 300)
    (folder / "copy.txt").write_text(f"#  nacre #\r\n{numbered(0).upper()}")
    (folder / "empty.md").write_text("")
    (folder / "blank.md").write_text(" \n\t\n")
    (folder / "word.md").write_text("word " * 19)
    (folder / "big.txt").write_text("word " * 201)
    (folder / "big.html").write_text("word " * 201)
    (folder / "scan.pdf").write_text("%PDF")
    (folder / "LICENSE").write_text(TEXT)
    (folder / "image.txt").write_bytes(bytes(range(256)) * 2)
    (folder / "noise.txt").write_bytes(bytes(range(1, 256)) * 2)
    (folder / ".hidden.md").write_text(numbered(1))
    (folder / ".git").mkdir()
    (folder / ".git/x.md").write_text(numbered(2))
    lines = [json.dumps({"text": numbered(3)}), "{", '"x"', "{}", json.dumps({"text": 1})]
    (folder / "l.jsonl").write_text("\n".join([*lines, "x" * 5000, json.dumps({"text": TEXT})]))
    (folder / "none.jsonl").write_text("")
    os.mkfifo(folder / "pipe.txt")

    assert reasons(folder) == {
        "good.md": "duplicate",
        "empty.md": "empty",
        "blank.md": "empty",
        "word.md": "too short",
        "big.txt": "too large",
        "big.html": "too large",
        "scan.pdf": "not a .pdf file",
        "LICENSE": "unsupported type",
        "image.txt": "not text",
        "noise.txt": "not text",
        "l.jsonl#2": "not JSON",
        "l.jsonl#3": "too short",
        "l.jsonl#4": "no text",
        "l.jsonl#5": "no text",
        "l.jsonl#6": "too large",
        "none.jsonl": "empty",
        "pipe.txt": "not a file",
        ".hidden.md": "hidden",
        ".git": "hidden",
    }
    found = read_folder(folder)
    assert [d.id for d in found.documents] == ["copy.txt", "l.jsonl#1", "l.jsonl#7"]
    assert found.reasons["no text"] == 2
    assert found.skipped_types[".jsonl"] == 6


def test_links_out_of_the_corpus_are_not_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text(numbered(9))
    (folder / "file.txt").symlink_to(outside / "secret.txt")
    (folder / "folder").symlink_to(outside)
    (folder / "broken.txt").symlink_to(folder / "none")
    (folder / "good2.md").symlink_to(folder / "good.md")

    assert reasons(folder) == {
        "file.txt": "link out of the corpus",
        "broken.txt": "unreadable",
        "good2.md": "duplicate",
    }


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_an_unreadable_file_is_skipped(folder, monkeypatch, error):
    (folder / "other.md").write_text(numbered(1))
    real = reader.Path.open

    def failing(path, *args):
        if path.name == "other.md":
            raise error("no")
        return real(path, *args)

    monkeypatch.setattr(reader.Path, "open", failing)
    assert reasons(folder) == {"other.md": "unreadable"}


def test_the_corpus_is_bounded(folder, monkeypatch):
    (folder / "second.md").write_text(numbered(1))
    monkeypatch.setattr(reader, "MAX_CORPUS_CHARS", 300)
    assert reasons(folder) == {"second.md": reader.TOO_LARGE}


def test_a_name_that_is_no_utf8_becomes_an_id_that_json_takes(folder):
    with open(os.fsencode(folder) + b"/\xff.md", "w") as handle:
        handle.write(numbered(1))
    found = read_folder(folder).documents
    assert [d.id for d in found] == ["good.md", "\\xff.md"]


def test_one_file_is_a_corpus(folder):
    assert [d.id for d in read_folder(folder / "good.md").documents] == ["good.md"]


def test_no_folder_and_nothing_usable(tmp_path):
    for missing in (tmp_path / "none", ""):
        with pytest.raises(ConfigError, match=r"data\.corpus: there is no folder"):
            read_folder(missing)
    with pytest.raises(CorpusError, match="it is empty"):
        read_folder(tmp_path)
    (tmp_path / "a.pdf").write_text("x")
    (tmp_path / "b.pdf").write_text("x")
    (tmp_path / "c.md").write_text("x")
    with pytest.raises(
        CorpusError, match=r"seen: 2 \.pdf, 1 \.md; skipped: 2 not a \.pdf file, 1 too short"
    ):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"]
)
def test_encodings(encoding):
    assert normalise(decode("Größe 5 µm, déjà vu".encode(encoding))) == "Größe 5 µm, déjà vu"


def test_odd_bytes():
    assert decode("“quoted”".encode("cp1252")) == "“quoted”"
    assert decode(b"caf\xe9 \x81" + b"a" * 200) == "café " + "a" * 200  # 81 is not in cp1252
    assert decode(b"") == ""


def test_normalise():
    assert (
        normalise("a\r\nb\rc  \n\n\n\n d\x00\ufeff\x1b[0m e\u0301\ud800 ") == "a\nb\nc\n\n d[0m é"
    )


def shown(folder, markup):
    (folder / "page.html").write_text(markup)
    pieces = list(html(str(folder / "page.html"), "utf-8"))
    return pieces[0]["title"], "".join(piece["text"] for piece in pieces)


def test_html(tmp_path):
    page = """<html><head><title> A
     title</title><style>p {}</style></head><body><nav>menu</nav><h1>One</h1><p>Two <b>bold</b>
     words<br>and</p>tail<!-- hidden < comment --><script>if (a<b) evil()</script>
     <ul><li>x &lt; y<li>z</ul></body></html>"""
    title, text = shown(tmp_path, page)
    assert title == "A title"
    assert " ".join(text.split()) == "One Two bold words and tail x < y z"
    assert "One\n\nTwo bold words\n\nand\n\ntail" in normalise(text)


@pytest.mark.parametrize(
    "unit", ["<a ", "<!--", "<![CDATA[", "</", "<div>x", "<script", "<script/>", "<nav>"]
)
def test_hostile_html_costs_seconds(folder, unit):
    (folder / "bad.html").write_text(unit * 200_000)
    start = time.perf_counter()
    assert reasons(folder)["bad.html"] in ("much markup, no text", "takes too long")
    assert time.perf_counter() - start < 20


def test_it_stops_when_it_has_enough(tmp_path):
    for n, name in enumerate("abc"):
        (tmp_path / f"{name}.md").write_text(numbered(n))
    seen = []
    found = read_folder(tmp_path, seen.append, enough=2)
    assert ([document.id for document in found.documents], seen) == (["a.md", "b.md"], [1, 2])
    assert len(read_folder(tmp_path, enough=9).documents) == 3
