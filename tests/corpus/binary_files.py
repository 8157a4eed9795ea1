"""PDF and DOCX files, sound and hostile, from a few bytes of code."""

import io
import zipfile
import zlib

MB = bytes(2**20)


def pdf(*pages, title="", filtered=()):
    """A PDF of pages of text; "" is a page without text, as a scan is.

    ``filtered``: further pages whose content streams are given as bytes, packed by Flate.
    """
    streams = [(_drawn(page), "") for page in pages]
    streams += [(data, "/Filter /FlateDecode ") for data in filtered]
    numbers = range(5, 5 + 2 * len(streams), 2)
    kids = " ".join(f"{number} 0 R" for number in numbers)
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(streams)} /Kids [{kids}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Title ({title}) >>".encode(),
    ]
    for number, (data, packed) in zip(numbers, streams, strict=True):
        bodies += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode(),
            f"<< {packed}/Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream",
        ]
    made, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        places.append(len(made))
        made += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = (
        f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}trailer\n"
        f"<< /Size {len(places) + 1} /Root 1 0 R /Info 4 0 R >>\nstartxref\n{len(made)}\n%%EOF\n"
    )
    return made + trailer.encode()


def _drawn(text):
    lines = [f"({line}) Tj T*" for line in text.split("\n") if line]
    return f"BT /F1 12 Tf 14 TL 72 720 Td {' '.join(lines)} ET".encode()


def bomb(megabytes=1000):
    """Flate data that expands to so many MB: blocks that stand alone, over and over."""
    packer = zlib.compressobj()
    first = packer.compress(MB) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(MB) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * (megabytes - 1) + packer.flush()


def encrypted_pdf(text, password="secret", algorithm="RC4-128"):
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(text))))
    writer.encrypt(password, "of the owner", algorithm=algorithm)
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def docx(*paragraphs, title="", heading="", cells=()):
    from docx import Document

    document = Document()
    document.core_properties.title = title
    if heading:
        document.add_heading(heading, level=2)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if cells:
        for cell, text in zip(document.add_table(1, len(cells)).rows[0].cells, cells, strict=True):
            cell.text = text
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def docx_of(body, notes=""):
    """A Word document with this markup as its body, and these footnotes."""
    made, sound = io.BytesIO(), zipfile.ZipFile(io.BytesIO(docx("x")))
    parts = {name: sound.read(name) for name in sound.namelist()}
    open_tag, _, _ = parts["word/document.xml"].partition(b"<w:body>")
    spaces = (
        b' xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
        b' xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
        b' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    )
    for space in spaces.split(b" ")[1:]:
        open_tag = open_tag.replace(b" " + space, b"")
    open_tag = open_tag.rstrip()[:-1] + spaces + b">"
    parts["word/document.xml"] = open_tag + f"<w:body>{body}</w:body></w:document>".encode()
    if notes:
        head = (
            b'<w:footnotes xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        )
        parts["word/footnotes.xml"] = head + notes.encode() + b"</w:footnotes>"
        kind = "officedocument.wordprocessingml.footnotes+xml"
        parts["[Content_Types].xml"] = parts["[Content_Types].xml"].replace(
            b"</Types>",
            f'<Override PartName="/word/footnotes.xml" ContentType="application/vnd.'
            f'openxmlformats-{kind}"/></Types>'.encode(),
        )
        relations = "word/_rels/document.xml.rels"
        parts[relations] = parts[relations].replace(
            b"</Relationships>",
            b'<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/'
            b'2006/relationships/footnotes" Target="footnotes.xml"/></Relationships>',
        )
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return made.getvalue()


def docx_bomb(megabytes=100, declared=None):
    """A Word document whose styles expand to so many MB; it may declare fewer bytes."""
    made, sound = io.BytesIO(), zipfile.ZipFile(io.BytesIO(docx("A sound document.")))
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sound.namelist():
            large = name == "word/styles.xml"
            archive.writestr(name, MB * megabytes if large else sound.read(name))
    size = (megabytes * len(MB)).to_bytes(4, "little")
    data = made.getvalue()
    return data if declared is None else data.replace(size, declared.to_bytes(4, "little"))
