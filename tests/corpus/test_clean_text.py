"""Front matter and what cannot be seen."""

import time

import pytest

from preflexor_pl.corpus.clean_text import front_matter, normalise
from preflexor_pl.corpus.reader import read_folder

TEXT = "Nacre is the iridescent inner layer of many mollusc shells. " * 3


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ("---\ntitle: On Nacre\ndate: 2020-01-01\n---\n", "On Nacre"),
        (
            "---\ntags: [a, b]\nauthors:\n  - x\n- y\n# c\ntitle: \"On: 'Nacre'\"\n---\n",
            "On: 'Nacre'",
        ),
        ("---\ntitle: >-\n  On\n  Nacre\nlayout: post\n...\n", "On Nacre"),
        ("+++\ntitle = 'On Nacre'\n[extra]\nx = 1\n+++\n\n", "On Nacre"),
        ("\n---\nlayout: post\n---\n# Heading\n\n", "Heading"),
        ("---\nlayout: post\n---\n", "page"),
    ],
)
def test_front_matter_is_no_text_and_names_the_document(tmp_path, settings, title):
    (tmp_path / "page.md").write_text(settings + TEXT)
    [document] = read_folder(tmp_path).documents
    assert document.title == title
    assert document.text.removeprefix("# Heading\n\n") == TEXT.strip()


@pytest.mark.parametrize(
    "text",
    [
        "---\nA ruled line above, and one below.\n---\nText",
        "---\n\nNo settings\n\n---\n",
        "---\n\n# A heading\n\n---\n",
        "---\n# A heading\n---\n",
        "---\n- a point\n- another\n\n---\n",
        "---\n\nNote: a sentence\n\n---\n",
        "---\ntitle: without an end",
        "Text\n---\ntitle: later\n---\n",
        "--- title: x ---",
    ],
)
def test_a_ruled_line_is_text(text):
    assert front_matter(text) == ("", text)


def test_front_matter_without_end_takes_no_time():
    start = time.perf_counter()
    for line in ("a: b\n", "\n", "a", "- \n", " "):
        front_matter("---\n" + line * 10**6)
        front_matter("---\n" + line * 300 + "x\n---" * 10**5)
    assert time.perf_counter() - start < 5


def test_what_cannot_be_seen_is_taken_out():
    text = "iri\u00addes\u200bcent\u2060 \u202eback\u202c \u200emark \u0915\u094d\u200d\u0937"
    assert normalise(text) == "iridescent back mark \u0915\u094d\u200d\u0937"  # Hindi keeps joiners
