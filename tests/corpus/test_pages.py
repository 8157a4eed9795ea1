"""HTML pages: what a browser without scripts shows of them is their text."""

import pytest

from preflexor_pl.corpus.reader import read_folder

TEXT = "Nacre is the iridescent inner layer of many mollusc shells. " * 3
LINE = TEXT.strip()
LINKS = "".join(f"<li><a href=x>Chapter {n}</a>" for n in range(9))


def text_of(folder, page):
    (folder / "page.html").write_text(page)
    [document] = read_folder(folder).documents
    return document.title, " ".join(document.text.split())


@pytest.mark.parametrize(
    "page",
    [
        f"<head><title>T</title><p>{TEXT}",
        f"<html><head><meta charset=utf-8><title>T</title><h1></h1>{TEXT}</html>",
        f"<title>T</title><script src=a.js/><p>{TEXT}",
        f"<title>T</title><script/><p>{TEXT}<script>if (a<b) x()</script>",
        f"<html xmlns=x><head><title>T</title><style/></head><body><iframe src=y/>{TEXT}</body>",
        f"<html xmlns=x><head><title>T</title></head><body><textarea/><p>{TEXT}</p></body></html>",
        f"<title>T</title><nav><ul>{LINKS}</ul></nav><p>{TEXT}",
        f"<title>T</title><noscript><article>{TEXT}</article></noscript>",
        f"<title>T</title>{TEXT}<template>hidden</template><svg><text>s</text></svg>",
        f"<title>T</title>{TEXT}<p hidden>no</p><p style='display: none'>no<b>ne</b></p>",
        f"<title>T</title>{TEXT}<dialog>no</dialog><datalist><option>no</datalist><!-- no -->",
        f"<title>T</title><p>{TEXT}<svg><title>icon</title></svg><iframe>no frames</iframe>",
        f"<title>T</title>&#78;acre{TEXT.removeprefix('Nacre')}",
        f"<title>T</title>{TEXT.replace('iridescent', 'iri&shy;des&#8203;cent')}",
    ],
)
def test_what_is_shown(tmp_path, page):
    title, text = text_of(tmp_path, page)
    assert (title, text.removeprefix("Nacre ")) == ("T", LINE.removeprefix("Nacre "))


def test_a_menu_that_is_not_closed_takes_nothing_with_it(tmp_path):
    _, text = text_of(tmp_path, f"<nav><ul>{LINKS}</ul><p>{TEXT}<nav>{LINKS}</nav>")
    assert text.endswith(LINE)
    assert text.count("Chapter 1") == 1  # the second menu is closed


def test_a_formula_is_what_the_page_gives_for_it(tmp_path):
    math = "<math alttext='E/2'><mfrac><mi>E</mi><mn>2</mn></mfrac></math>"
    assert text_of(tmp_path, f"<p>{TEXT}Here {math} holds.")[1] == f"{LINE} Here E/2 holds."


@pytest.mark.parametrize(
    "page",
    [
        "<script>" + "x = 1;\n" * 900,  # the page is made by its script
        "<div id=root></div>" + "<script>f()</script>" * 200,
        "<frameset><frame src=a.html><frame src=b.html></frameset>" + "<!-- -->" * 300,
        "<style>" + "p { color: red }\n" * 300 + "</style><p>Loading ...",
    ],
)
def test_much_markup_without_text_is_counted(tmp_path, page):
    (tmp_path / "good.md").write_text(TEXT)
    (tmp_path / "page.html").write_text(page)
    assert dict(read_folder(tmp_path).skipped) == {"page.html": "much markup, no text"}
