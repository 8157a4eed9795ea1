"""The encoding of a file's bytes: its byte-order mark, what it declares, or what it looks like.

UTF-8 is tried first, since no other encoding looks like it. What is not UTF-8 goes by the declared
encoding, else by ``charset_normalizer`` among the encodings that files really have. That cannot
tell Western from Central European and Turkish code pages, whose letters are counted here.
"""

import codecs
import re

from preflexor_pl.corpus.clean_text import is_text

# Longest first: the BOM of UTF-32 begins with that of UTF-16.
BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DECLARED = re.compile(
    rb"<meta\b[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{1,40})"
    rb"|<\?xml\b[^>]{0,100}?encoding\s*=\s*[\"']([\w-]{1,40})",
    re.IGNORECASE,
)
DECLARED_WITHIN = 4096  # bytes from the beginning
# As browsers read them: the encoding that holds all that the named one has.
SUPERSETS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874",
    "tis-620": "cp874", "shift_jis": "cp932", "euc_kr": "cp949", "gb2312": "gb18030",
    "gbk": "gb18030",
}  # fmt: skip
LATIN = {  # letters and signs that texts in them have, beside those of ASCII
    "cp1252": "äöüßéèêëàâçîïôùûñáíóúåæøìòãõœÄÖÜÉÀÅØÆÇ°µ×±·–—‘’“”«»…€²³",
    "cp1250": "ąćęłńóśźżáčďéěíňřšťúůýžäöüőűôľăâîşţĄĆĘŁŚŻČŘŠŽ°µ×±·–—‘’“”„«»…€",
    "iso8859_2": "ąćęłńóśźżáčďéěíňřšťúůýžäöüőűôľăâîşţĄĆĘŁŚŻČŘŠŽ°",
    "cp1254": "çğıöşüâîûÇĞİÖŞÜ°µ×±·–—‘’“”«»…€",
}
OTHERS = (
    "cp1251", "koi8_r", "iso8859_5", "cp1253", "cp1255", "cp1256", "cp874", "cp932", "euc_jp",
    "gb18030", "big5", "cp949",
)  # fmt: skip
KANA = re.compile(r"[\u3041-\u30ff]")
SAMPLE_BYTES = 200_000
FEW = 0.05  # a smaller share of bytes beyond ASCII is Latin script
MANY_GOOD = 10  # valid UTF-8 sequences for one that is not


def declared_in(markup: bytes) -> str:
    """The encoding that a page names for itself; "" where it names none that is known."""
    match = DECLARED.search(markup[:DECLARED_WITHIN])
    try:
        found = codecs.lookup((match[1] or match[2]).decode()).name if match else ""
    except LookupError:
        return ""
    found = SUPERSETS.get(found, found)
    known = (*LATIN, *OTHERS, "koi8-r", "koi8-u", "big5hkscs", "iso2022_jp")
    return found if found in known or found.startswith("iso8859") else ""


def encoding_of(data: bytes, declared: str = "") -> str:
    """The encoding of a file's bytes, or of a part of them that begins at its beginning.

    Args:
        data: the bytes.
        declared: what the file says; it holds where the bytes are not UTF-8.
    """
    for bom, encoding in BOMS:
        if data.startswith(bom):
            return encoding
    if (wide := _wide(data)) or _is_utf8(data):
        return wide or ("iso2022_jp" if _is_iso2022(data) else "utf-8")
    return declared or _guessed(data)


def decode(data: bytes, declared: str = "") -> str | None:
    """Text of a file, or None where the bytes are not text.

    Almost any bytes are Latin-1, so many control characters in the result (or a NUL) mean that it
    was no text.
    """
    encoding = encoding_of(data, declared)
    # The five bytes that Windows' Latin-1 leaves undefined are control characters elsewhere.
    text = data.decode(encoding, errors="ignore" if encoding == "cp1252" else "replace")
    return text if "\x00" not in text and is_text(text) else None


def _wide(data: bytes) -> str:
    """UTF-16 without a byte-order mark: the NULs of its spaces all stand on one side."""
    head = data[:SAMPLE_BYTES]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) < 2 or bool(even) == bool(odd) or max(even, odd) < len(head) // 100:
        return ""
    encoding = "utf-16-be" if even else "utf-16-le"
    return encoding if is_text(head.decode(encoding, errors="replace")) else ""


def _is_utf8(data: bytes) -> bool:
    """Whether it is UTF-8, save some broken bytes among many good ones."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # which may end within a character
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
        beyond = sum(map(len, re.findall(r"[^\x00-\x7f\ufffd]+", text)))
        return beyond > MANY_GOOD * text.count("\ufffd")
    return True


def _is_iso2022(data: bytes) -> bool:
    try:
        return b"\x1b$" in data and bool(data.decode("iso2022_jp"))
    except UnicodeDecodeError:
        return False


def _guessed(data: bytes) -> str:
    from charset_normalizer import from_bytes

    first = next(re.finditer(rb"[\x80-\xff]", data)).start()
    start = data.rfind(b"\n", 0, first) + 1
    sample = re.sub(rb"<[^<>]*>", b"", data[start : start + SAMPLE_BYTES])
    beyond = len(re.findall(rb"[\x80-\xff]", sample))
    if beyond >= FEW * len(sample):
        japanese = sample.decode("euc_jp", errors="replace")
        if "\ufffd" not in japanese[:-1] and len(KANA.findall(japanese)) > beyond // 10:
            return "euc_jp"
        best = from_bytes(sample, cp_isolation=[*LATIN, *OTHERS]).best()
        if best and best.encoding in OTHERS:
            return str(best.encoding)
    return max(LATIN, key=lambda encoding: _letters(sample, encoding))  # the first of equal ones


def _letters(sample: bytes, encoding: str) -> int:
    text = sample.decode(encoding, errors="replace")
    return sum(text.count(letter) for letter in LATIN[encoding])
