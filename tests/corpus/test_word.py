"""Word documents: the text that a reader sees once all changes are accepted, in its order."""

import pytest

from preflexor_pl.corpus.reader import read_folder
from tests.corpus.binary_files import docx_of

TEXT = " ".join(f"Word number {n} of a sentence." for n in range(6))


def run(text):
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*parts, properties=""):
    return f"<w:p><w:pPr>{properties}</w:pPr>{''.join(parts)}</w:p>"


def tag(name, *parts):
    return f"<{name}>{''.join(parts)}</{name.partition(' ')[0]}>"


def cells(*texts):
    return "<w:tr>" + "".join(f"<w:tc>{paragraph(run(text))}</w:tc>" for text in texts) + "</w:tr>"


def math(inner):
    return f"<m:oMath>{inner}</m:oMath>"


def m(text):
    return f"<m:r><w:rPr/><m:t>{text}</m:t></m:r>"


FIELD = (
    '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>REF x</w:instrText></w:r>'
    '<w:r><w:fldChar w:fldCharType="separate"/></w:r>'
    + run("Figure 2")
    + '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
)
GONE = "<w:tr><w:trPr><w:del/></w:trPr>"
BOX = (
    "<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:txbx><w:txbxContent>{0}"
    "</w:txbxContent></wps:txbx></w:drawing></mc:Choice><mc:Fallback><w:pict><w:txbxContent>{0}"
    "</w:txbxContent></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (paragraph(run("It is "), tag("w:ins", run("very ")), run("hard.")), "It is very hard."),
        (
            paragraph(
                run("It is "), tag("w:del", run("not ").replace("w:t", "w:delText")), run("so.")
            ),
            "It is so.",
        ),
        (
            paragraph(f"<w:moveFrom>{run('Moved.')}</w:moveFrom>", run("First."))
            + paragraph(f"<w:moveTo>{run('Moved.')}</w:moveTo>"),
            "First.\n\nMoved.",
        ),
        (
            paragraph(run("One para"), properties=tag("w:rPr", "<w:del/>"))
            + paragraph(run("graph.")),
            "One paragraph.",
        ),
        (
            tag("w:sdt", "<w:sdtPr/>", tag("w:sdtContent", paragraph(run("In a control.")))),
            "In a control.",
        ),
        (paragraph(run("a"), tag("w:del", "<w:r><w:tab/></w:r>"), run("b")), "ab"),
        (paragraph(run("A "), tag("w:sdt", tag("w:sdtContent", run("date")))), "A date"),
        (
            paragraph(
                run("See"),
                f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{run('Click')}"
                "</w:sdtContent></w:sdt>",
            ),
            "See",
        ),
        (paragraph(run("See "), FIELD, run(" here.")), "See Figure 2 here."),
        (paragraph(f"<w:fldSimple>{run('12')}</w:fldSimple>", run(" nm")), "12 nm"),
        (paragraph(f"<w:hyperlink>{run('linked')}</w:hyperlink>"), "linked"),
        (paragraph(f"<w:smartTag>{run('Paris')}</w:smartTag>"), "Paris"),
        (
            paragraph("<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r>", run("shown")),
            "shown",
        ),
        (
            paragraph(run("a"), "<w:r><w:noBreakHyphen/><w:t>b</w:t><w:tab/></w:r>", run("c")),
            "a-b\tc",
        ),
        (paragraph(run("Box:"), BOX.format(paragraph(run("inside")))), "Box:\n\ninside"),
        (
            tag("w:tbl", cells("a", "b"), cells("c", "d").replace("<w:tr>", GONE), cells("e", "f")),
            "a | b\ne | f",
        ),
        (
            f"<w:tbl><w:sdt><w:sdtContent>{cells('x', 'y')}</w:sdtContent></w:sdt></w:tbl>",
            "x | y",
        ),
        (
            paragraph(
                run("So"),
                math(tag("m:f", tag("m:num", m("a+b")), tag("m:den", m("2")))),
            ),
            "So (a+b)/2",
        ),
        (
            paragraph(
                math(
                    tag("m:sSubSup", tag("m:e", m("x")), tag("m:sub", m("i")), tag("m:sup", m("2")))
                    + f"{m('=')}<m:rad><m:radPr/><m:deg/><m:e>{m('y')}</m:e></m:rad>"
                )
            ),
            "x_i^2=√(y)",
        ),
        (
            paragraph(
                math(
                    "<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr>"
                    f"<m:sub>{m('i=1')}</m:sub><m:sup>{m('n')}</m:sup><m:e>{m('k')}</m:e></m:nary>"
                    f"<m:d><m:dPr><m:begChr m:val='['/><m:endChr m:val=']'/></m:dPr>"
                    f"<m:e>{m('z')}</m:e></m:d>"
                )
            ),
            "∑_(i=1)^n k[z]",
        ),
    ],
)
def test_what_a_reader_sees(tmp_path, body, text):
    (tmp_path / "a.docx").write_bytes(docx_of(paragraph(run(TEXT)) + body))
    [document] = read_folder(tmp_path).documents
    assert document.text == f"{TEXT}\n\n{text}"


def test_a_note_follows_its_paragraph(tmp_path):
    mark = '<w:r><w:footnoteReference w:id="2"/></w:r>'
    body = paragraph(run(TEXT), mark, run(" More.")) + paragraph(run("Next."))
    notes = (
        f'<w:footnote w:id="0">{paragraph(run("separator"))}</w:footnote>'
        f'<w:footnote w:id="2">{paragraph(tag("w:r", "<w:footnoteRef/>"), run("A note."))}'
        "</w:footnote>"
    )
    (tmp_path / "a.docx").write_bytes(docx_of(body, notes))
    [document] = read_folder(tmp_path).documents
    assert document.text == f"{TEXT} More.\n\nA note.\n\nNext."


def test_controls_without_end(tmp_path):
    (tmp_path / "good.md").write_text(TEXT)
    deep = "<w:sdt><w:sdtContent>" * 4000 + "</w:sdtContent></w:sdt>" * 4000
    (tmp_path / "a.docx").write_bytes(docx_of(deep))
    [reason] = dict(read_folder(tmp_path).skipped).values()
    assert reason in ("nested too deeply", "damaged")
