"""Text of an HTML page as a browser without scripts shows it, by the HTML5 parser Lexbor."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

from preflexor_pl.corpus.parsing.pieces import MAX_TITLE, Piece

BLOCK = re.compile(
    "address|article|aside|blockquote|body|br|caption|d[dlt]|div|fieldset|figcaption|figure|footer"
    "|form|h[1-6]|header|hr|html|li|main|nav|ol|p|pre|section|table|t[dhr]|ul"
)
NOT_SHOWN = {
    "script", "style", "template", "svg", "title", "iframe", "noframes", "noembed", "object",
    "audio", "video", "canvas", "datalist", "annotation", "annotation-xml", "-comment",
}  # fmt: skip
HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
# Elements whose content is no markup: in XHTML they can close themselves, which HTML5 ignores, and
# what follows is then lost.
RAW = re.compile(r"<(/?)(script|style|title|textarea|iframe)\b([^<>]*)>", re.IGNORECASE)
PROSE = ("p", "article", "main")
MENU_CHARS = 100  # that a menu may have beside its links
PIECE_CHARS = 50_000


def html(path: str, encoding: str) -> Iterator[Piece]:
    """Title and text, a part at a time.

    Args:
        path: of the file.
        encoding: of its bytes.
    """
    from selectolax.lexbor import LexborHTMLParser

    with open(path, "rb") as file:
        markup = file.read().decode(encoding, errors="replace")
    root = LexborHTMLParser(_closed(markup)).root
    if root is None:
        return
    title = _title(root)
    parts, length = [""], 0
    for part in _shown(root):
        parts.append(part)
        length += len(part)
        if length > PIECE_CHARS:
            yield {"title": title, "text": "".join(parts)}
            parts, length = [], 0
    yield {"title": title, "text": "".join(parts)}


def _closed(markup: str) -> str:
    """The markup with ``<script/>`` closed, unless the next such tag is its end tag."""
    tags = list(RAW.finditer(markup))
    parts, done = [], 0
    for tag, following in zip_longest(tags, tags[1:]):
        ends_next = following and following[1] and following[2].lower() == tag[2].lower()
        if tag[3].rstrip().endswith("/") and not tag[1] and not ends_next:
            parts += [markup[done : tag.end()], f"</{tag[2]}>"]
            done = tag.end()
    return "".join([*parts, markup[done:]])


def _title(root: Any) -> str:
    found = root.css_first("head > title") or root.css_first("body > title")
    return " ".join(found.text().split())[:MAX_TITLE] if found else ""


def _shown(root: Any) -> Iterator[str]:
    """Texts in order; blocks are parted by blank lines."""
    menus = _menus(root)
    for node, enters in _walk(root, lambda node: _is_hidden(node) or node.mem_id in menus):
        if node.is_text_node:
            if enters:
                yield re.sub(r"\s+", " ", node.text_content or "")
        elif BLOCK.fullmatch(node.tag or ""):
            yield "\n\n"
        elif enters and _formula(node):
            yield f" {_formula(node)} "


def _is_hidden(node: Any) -> bool:
    if node.tag in NOT_SHOWN:
        return True
    if not node.is_element_node:
        return False
    attributes = node.attributes
    return (
        ("hidden" in attributes and attributes["hidden"] != "until-found")
        or bool(HIDING.search(attributes.get("style") or ""))
        or (node.tag == "dialog" and "open" not in attributes)
        or bool(_formula(node.parent))
    )


def _formula(node: Any) -> str:
    """What a formula's page gives for it in LaTeX; its elements then are not shown."""
    return (node.attributes.get("alttext") or "") if node and node.tag == "math" else ""


def _menus(root: Any) -> set[int]:
    """The ``nav`` elements, but for those with more prose than links: not closed, it seems."""
    menus, open_menus, links = set(), [Counter[str]()], 0
    for node, enters in _walk(root, _is_hidden):
        if node.is_text_node and enters:
            open_menus[-1]["link" if links else "text"] += len((node.text_content or "").strip())
        elif node.tag == "a":
            links += 1 if enters else -1
        elif node.tag in PROSE and enters:
            open_menus[-1]["prose"] += 1
        elif node.tag == "nav":
            if enters:
                open_menus.append(Counter())
                continue
            counts = open_menus.pop()
            open_menus[-1] += counts
            prose = counts["prose"] or counts["text"] > MENU_CHARS
            if counts["link"] >= counts["text"] or not prose:
                menus.add(node.mem_id)
    return menus


def _walk(root: Any, skips: Callable[[Any], bool]) -> Iterator[tuple[Any, bool]]:
    """Nodes in order, each when it is entered (True) and left, without those that are skipped."""
    node, enters = root, True
    while True:
        if enters and not skips(node):
            yield node, True
            child = node.child
            if child is not None:
                node = child
                continue
            yield node, False
        elif not enters:
            yield node, False
        if node.mem_id == root.mem_id:
            return
        following = node.next
        node, enters = (following, True) if following is not None else (node.parent, False)
