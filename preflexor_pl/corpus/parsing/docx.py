"""Text of a Word document as it reads once every tracked change is accepted."""

import zipfile
from collections.abc import Iterator
from typing import Any

from preflexor_pl.corpus.parsing.omml import equation, local
from preflexor_pl.corpus.parsing.pieces import MAX_TITLE, Piece, Refused

MAX_XML_BYTES = 40_000_000  # unpacked; a tree of it takes about ten times as much
MAX_UNPACKED_BYTES = 400_000_000
# What is deleted, moved away, or no text; of two versions of a drawing the first is taken.
LEFT_OUT = {
    "del", "moveFrom", "delText", "instrText", "Fallback", "rt", "pPr", "rPr", "sdtPr", "tblPr",
}  # fmt: skip
SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}
BLOCKS = ("p", "tbl")


def docx(path: str) -> Iterator[Piece]:
    """Paragraphs and tables in their order; headings become those of Markdown.

    Inserted and moved text, content controls, results of fields, text boxes, equations and notes
    are read; deleted and hidden text, comments, headers and footers are not.
    """
    from docx import Document

    with zipfile.ZipFile(path) as archive:  # of a member, no more than its declared size is read
        members = archive.infolist()
    if "word/document.xml" not in {member.filename for member in members}:
        raise Refused("a zip file, not a Word document")
    if any(member.flag_bits & 1 for member in members):
        raise Refused("encrypted")
    xml = sum(m.file_size for m in members if m.filename.endswith((".xml", ".rels")))
    if xml > MAX_XML_BYTES or sum(m.file_size for m in members) > MAX_UNPACKED_BYTES:
        raise Refused("too large unpacked")
    document = Document(path)
    title = (document.core_properties.title or "")[:MAX_TITLE]
    styles = {style.style_id: style.name or "" for style in document.styles}
    for text in _Reader(styles, _notes(document)).blocks(document.element.body):
        yield {"title": title, "text": text}


def _notes(document: Any) -> dict[tuple[str, str], Any]:
    """The elements of footnotes and endnotes by kind and id."""
    from docx.oxml import parse_xml

    found: dict[tuple[str, str], Any] = {}
    for relation in document.part.rels.values():
        kind = relation.reltype.rpartition("/")[2]
        if kind in NOTES.values() and not relation.is_external:
            part = relation.target_part
            root = part.element if hasattr(part, "element") else parse_xml(part.blob)
            found |= {(kind, _value(note, "id")): note for note in root}
    return found


def _value(element: Any, name: str = "val") -> str:
    """An attribute by its name without namespace."""
    return next((str(v) for key, v in element.items() if key.rpartition("}")[2] == name), "")


def _child(element: Any, *path: str) -> Any:
    """The child of the first name, its child of the second, and so on; None where one lacks."""
    for name in path:
        element = next((child for child in element if local(child) == name), None)
        if element is None:
            return None
    return element


def _is_set(element: Any, *path: str) -> bool:
    found = _child(element, *path)
    return found is not None and _value(found) not in ("0", "false", "off")


def _is_left_out(element: Any) -> bool:
    name = local(element)
    return (
        name in LEFT_OUT
        or (name == "r" and _is_set(element, "rPr", "vanish"))
        or (name == "sdt" and _is_set(element, "sdtPr", "showingPlcHdr"))
        or (name == "tr" and _is_set(element, "trPr", "del"))
    )


class _Reader:
    """Reads a body: ``styles`` gives names by id, ``notes`` the elements of foot- and endnotes."""

    def __init__(self, styles: dict[str, str], notes: dict[tuple[str, str], Any]) -> None:
        self.styles = styles
        self.notes = notes
        self.after: list[Any] = []  # notes and text boxes of a paragraph, which follow it

    def blocks(self, parent: Any) -> Iterator[str]:
        """Texts of the paragraphs and tables in ``parent``, however deep in content controls."""
        joined = ""  # paragraphs whose ends are deleted
        for block in _found(parent, BLOCKS):
            if local(block) == "tbl":
                yield self._table(block)
                continue
            joined += self._text(block).strip("\n")
            if not _is_set(block, "pPr", "rPr", "del"):
                yield self._mark(block) + joined.strip() if joined.strip() else ""
                joined = ""
            after, self.after = self.after, []
            for element in after:
                yield from self.blocks(element)
        yield joined.strip()

    def _mark(self, paragraph: Any) -> str:
        named = _child(paragraph, "pPr", "pStyle")
        style = "" if named is None else _value(named)
        name = self.styles.get(style, style).lower()
        level = name.removeprefix("heading ")
        return "#" * min(int(level), 6) + " " if name != level and level.isdecimal() else ""

    def _table(self, table: Any) -> str:
        rows = _found(table, ("tr",))
        cells = [[self._cell(cell) for cell in _found(row, ("tc",))] for row in rows]
        return "\n".join(" | ".join(row) for row in cells)

    def _cell(self, cell: Any) -> str:
        return " ".join(" ".join(filter(None, self.blocks(cell))).split())

    def _text(self, element: Any) -> str:
        """The text of a paragraph or of a part of it."""
        parts = []
        for child in element:
            name = local(child)
            if _is_left_out(child):
                continue
            if name == "t":
                parts.append(child.text or "")
            elif name == "oMath":
                parts.append(f" {equation(child).strip()} ")
            elif name in SIGNS:
                parts.append(SIGNS[name])
            elif name == "sym":
                parts.append(_symbol(_value(child, "char")))
            elif name == "txbxContent":
                self.after.append(child)
            elif name in NOTES:
                note = self.notes.pop((NOTES[name], _value(child, "id")), None)
                self.after += [] if note is None else [note]
            else:
                parts.append(self._text(child))
        return "".join(parts)


def _found(parent: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """The nearest elements of these names below ``parent``, in order."""
    for child in parent:
        if _is_left_out(child):
            continue
        if local(child) in names:
            yield child
        else:
            yield from _found(child, names)


def _symbol(code: str) -> str:
    """A sign of a symbol font; those of private areas have no letter."""
    number = int(code, 16) if code else 0
    return chr(number) if number and not 0xE000 <= number <= 0xF8FF else ""
