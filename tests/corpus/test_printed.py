"""PDF and DOCX files, sound, damaged and hostile, read as a corpus."""

import time
from pathlib import Path

import pytest

from preflexor_pl.corpus.clean_text import printed_text
from preflexor_pl.corpus.reader import read_folder
from preflexor_pl.corpus.records import Unusable
from preflexor_pl.corpus.sandbox import Sandbox
from tests.corpus.binary_files import bomb, docx, docx_bomb, encrypted_pdf, pdf

TEXT = "Nacre is the iridescent inner layer of many mollusc shells.\n" * 3
LINE = " ".join(TEXT.split())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.md").write_text(f"{TEXT} Number 0.")
    return tmp_path


def reasons(folder):
    return dict(read_folder(folder).skipped)


def test_pages_are_one_document(folder):
    (folder / "a.pdf").write_bytes(pdf(f"{TEXT}It is com-", f"posite {TEXT}", title="On Nacre"))
    (folder / "b.PDF").write_bytes(b"junk\n" + pdf("", TEXT, ""))
    found = {d.id: d for d in read_folder(folder).documents}
    assert set(found) == {"good.md", "a.pdf", "b.PDF"}
    assert " ".join(found["a.pdf"].text.split()) == f"{LINE} It is composite {LINE}"
    assert (found["a.pdf"].title, found["b.PDF"].title) == ("On Nacre", "b")


def test_paragraphs_headings_and_tables_are_one_document(folder):
    made = docx(LINE, "", "Größe 5 µm", heading="Nacre", cells=("stiff", "soft"))
    (folder / "a.docx").write_bytes(made)
    (folder / "b.docx").write_bytes(docx(f"{LINE} B.", title="B's title", heading="Other"))
    found = {d.id: d for d in read_folder(folder).documents}
    assert found["a.docx"].text == f"## Nacre\n\n{LINE}\n\nGröße 5 µm\n\nstiff | soft"
    assert (found["a.docx"].title, found["b.docx"].title) == ("Nacre", "B's title")


def test_print_is_undone():
    pages = ["The \ufb01bres are self-\nassem-", "bled, \ufb02exible, 3-\n4 nm and Ca-\nMg rich"]
    assert (
        printed_text(pages) == "The fibres are selfassembled, flexible, 3-\n4 nm and Ca-\nMg rich"
    )


def test_what_is_skipped_and_why(folder):
    sound = pdf(TEXT)
    (folder / "scan.pdf").write_bytes(pdf("", ""))
    (folder / "half.pdf").write_bytes(sound[: len(sound) // 2])
    (folder / "none.pdf").write_bytes(b"")
    (folder / "none.docx").write_bytes(b"")
    (folder / "page.pdf").write_text(f"<html>{TEXT}</html>")
    (folder / "text.docx").write_text(TEXT)
    (folder / "locked.pdf").write_bytes(encrypted_pdf(TEXT))
    (folder / "locked.docx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))
    (folder / "half.docx").write_bytes(docx(LINE)[:-100])
    (folder / "short.pdf").write_bytes(pdf("Too few words."))
    (folder / "mad.pdf").write_bytes(b"%PDF-1.4\n" + bytes(range(256)) * 9 + b"%%EOF")
    assert reasons(folder) == {
        "scan.pdf": "no text layer",
        "half.pdf": "truncated",
        "none.pdf": "empty",
        "none.docx": "empty",
        "page.pdf": "not a .pdf file",
        "text.docx": "not a .docx file",
        "locked.pdf": "encrypted",
        "locked.docx": "encrypted, or of an old Word",
        "half.docx": "damaged",
        "short.pdf": "too short",
        "mad.pdf": "damaged",
    }


def test_a_renamed_file_is_read_as_what_it_is(folder):
    (folder / "a.txt").write_bytes(pdf(f"{TEXT} A."))
    (folder / "b.pdf").write_bytes(docx(f"{LINE} B."))
    (folder / "c.html").write_bytes(docx(f"{LINE} C."))
    assert [d.id for d in read_folder(folder).documents] == ["a.txt", "b.pdf", "c.html", "good.md"]


def test_the_same_text_in_another_format_is_a_duplicate(folder):
    for name, made in (("a.pdf", pdf(TEXT)), ("b.docx", docx(LINE)), ("c.pdf", pdf(TEXT))):
        (folder / name).write_bytes(made)
    assert reasons(folder) == {"b.docx": "duplicate", "c.pdf": "duplicate"}


@pytest.mark.parametrize(
    ("name", "made", "told"),
    [
        ("flate.pdf", lambda: pdf(filtered=[bomb(1000)]), "too large unpacked"),
        ("zip.docx", lambda: docx_bomb(100), "too large unpacked"),
        ("liar.docx", lambda: docx_bomb(100, declared=1000), "damaged"),
    ],
)
def test_a_bomb_takes_little_time_and_memory(tmp_path, name, made, told):
    path = tmp_path / name
    path.write_bytes(made())
    assert path.stat().st_size < 2_000_000
    with Sandbox() as sandbox:
        start = time.perf_counter()
        with pytest.raises(Unusable, match=told):
            list(sandbox.read(path, path.suffix[1:]))
        assert time.perf_counter() - start < 5
        peak = highest_memory(sandbox)
    assert peak is None or peak < 500_000_000


def highest_memory(sandbox):
    """Bytes that the process had at most; None where that cannot be known."""
    status = Path(f"/proc/{sandbox._child._process.pid}/status")
    if not status.exists():
        return None
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_long_pdf_is_read(folder):
    pages = [f"{TEXT} Page {number}." for number in range(150)]
    (folder / "long.pdf").write_bytes(pdf(*pages))
    found = {d.id: d for d in read_folder(folder).documents}
    assert found["long.pdf"].text.count("Page") == 150


SOUND = pdf(TEXT, f"{TEXT}The last page.")
XREF = SOUND.rindex(b"startxref")


@pytest.mark.parametrize(
    "data",
    [
        SOUND + bytes(5000),
        SOUND + b"<html>" * 2000,
        SOUND.replace(b"%%EOF", b"").rstrip(),
        SOUND[: XREF + 12],  # within the number
        SOUND[:XREF],
        b"HTTP/1.1 200 OK\r\n\r\n" + SOUND + b"\r\n0\r\n" * 900,
        SOUND.replace(b"startxref\n", b"startxref\n9"),
        *(
            encrypted_pdf(f"{TEXT}The last page.", "", algorithm)
            for algorithm in ("RC4-128", "AES-128", "AES-256")
        ),
    ],
)
def test_what_every_viewer_opens(tmp_path, data):
    (tmp_path / "a.pdf").write_bytes(data)
    [document] = read_folder(tmp_path).documents
    assert document.text.startswith(TEXT.strip())
    assert document.text.endswith("The last page.")


def test_a_password_is_needed(folder):
    for algorithm in ("RC4-128", "AES-256"):
        data = encrypted_pdf(TEXT, "secret", algorithm)
        (folder / f"{algorithm}.pdf").write_bytes(data)
    assert reasons(folder) == {"AES-256.pdf": "encrypted", "RC4-128.pdf": "encrypted"}


def test_words_are_joined_in_other_scripts_too():
    assert printed_text(["раз-\nрыв и self\u2010\n  healing, Fe-\nNi"]) == (
        "разрыв и selfhealing, Fe-\nNi"
    )
