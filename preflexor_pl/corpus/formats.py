"""From bytes to clean text: encodings, HTML, print, white space. Knows nothing of folders."""

import codecs
import re
import unicodedata

# Longest first: the BOM of UTF-32 begins with that of UTF-16.
BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MAX_CONTROL_SHARE = 0.01  # text has no control characters but white space; binary has about 20%
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")
LIGATURES = re.compile(r"[\ufb00-\ufb06]")
HYPHENATED = re.compile(r"(?<=[a-z\u00df-\u00ff])[-\u00ad]\s*\n\s*(?=[a-z\u00df-\u00ff])")
LINE_ENDS = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")

# Python's HTML parser is quadratic in unclosed tags (20 kB of "<a " take eight seconds). These two
# expressions are linear: the first takes out what is no text, the second makes a `<` that is
# followed by another before any `>` an ordinary character.
NOT_TEXT = re.compile(
    r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"|<(script|style|template|noscript|svg)\b.*?(?:</\1\s{0,8}>?|\Z)",
    re.IGNORECASE | re.DOTALL,
)
STRAY = re.compile(r"<(?=[^<>]*(?:<|\Z))")
BLOCK = re.compile(
    "address|article|aside|blockquote|body|br|caption|d[dlt]|div|fieldset|figcaption|figure|footer"
    "|form|h[1-6]|header|hr|html|li|main|ol|p|pre|section|table|t[dhr]|ul"
)


def decode(data: bytes) -> str | None:
    """Text of a file, or None where the bytes are not text.

    A byte-order mark decides; else UTF-8; else Windows' Latin-1, which almost anything is, so many
    control characters in the result (or a NUL) mean that it was no text.
    """
    for bom, encoding in BOMS:
        if data.startswith(bom):
            text = data.decode(encoding, errors="replace")
            break
    else:
        text = _decode_plain(data)
    return text if "\x00" not in text and is_text(text) else None


def is_text(text: str) -> bool:
    """Whether there are few control characters in it."""
    return len(CONTROLS.findall(text)) <= MAX_CONTROL_SHARE * len(text)


def _decode_plain(data: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")  # cp1252 leaves five bytes undefined


def normalise(text: str) -> str:
    r"""NFC, ``\n`` as the only line end, no control characters, at most one blank line in a row."""
    text = LINE_ENDS.sub("\n", text)
    text = unicodedata.normalize("NFC", CONTROLS.sub("", text))
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def printed_text(pages: list[str]) -> str:
    """Text of printed pages: ligatures taken apart, words put together that a line's end parts."""
    text = "\n".join(pages)
    text = LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    return HYPHENATED.sub("", text)


def html_text(markup: str) -> tuple[str, str]:
    """Title and text of an HTML page, without scripts, styles and navigation.

    Returns:
        (title, text): the title is "" where there is none; blocks are paragraphs of the text.
    """
    from bs4 import BeautifulSoup
    from bs4.element import NavigableString

    soup = BeautifulSoup(STRAY.sub("&lt;", NOT_TEXT.sub(" ", markup)), "html.parser")
    title = " ".join(soup.title.get_text(" ").split()) if soup.title else ""
    for tag in soup.find_all(["head", "nav", "title"]):
        if not tag.decomposed:  # with its parent: each nested one again would be quadratic
            tag.decompose()
    parts = []
    for node in soup.descendants:  # one pass: changing the tree is quadratic in its depth
        if any(
            BLOCK.fullmatch(getattr(n, "name", "") or "") for n in (node, node.previous_sibling)
        ):
            parts.append("\n\n")
        if type(node) is NavigableString:  # its subclasses are comments and declarations
            parts.append(re.sub(r"\s+", " ", node))
    return title, "\n".join(line.strip() for line in "".join(parts).split("\n"))
