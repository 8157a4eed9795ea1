"""Clean text: control and invisible characters, white space, print, front matter."""

import re
import unicodedata

MAX_CONTROL_SHARE = 0.01  # text has no control characters but white space; binary has about 20%
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")
# Soft hyphens, zero-width spaces and marks of writing direction; joiners shape Hindi and Persian.
INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069]")
LIGATURES = re.compile(r"[\ufb00-\ufb06]")
HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010][ \t]{0,20}\n\s{0,20}(?=[^\W\d_])")
FRONT_MATTER = re.compile(
    r"\s*(?P<rule>---|\+\+\+)[ \t]*\n(?!\n)(?P<settings>(?:(?!---|\+\+\+|\.\.\.).*\n){1,500}?)"
    r"(?:(?P=rule)|\.\.\.)[ \t]*(?:\n|\Z)"
)
SETTING = re.compile(r"[\w.$\"'-]{1,80}\s?[:=]|[\w .$-]{1,80}:|\s|[#\[\]{}-]|\Z")
NAMED = re.compile(r"^[\w.$\"'-][\w .$\"'-]{0,80}[:=]", re.MULTILINE)
TITLE = re.compile(r"^title\s?[:=](?P<value>.*(?:\n[ \t]+\S.*)*)", re.MULTILINE | re.IGNORECASE)
LINE_ENDS = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")


def is_text(text: str) -> bool:
    """Whether there are few control characters in it."""
    return len(CONTROLS.findall(text)) <= MAX_CONTROL_SHARE * len(text)


def normalise(text: str) -> str:
    r"""NFC, line ends all ``\n``, at most one blank line, no control or invisible characters."""
    text = LINE_ENDS.sub("\n", text)
    text = unicodedata.normalize("NFC", INVISIBLE.sub("", CONTROLS.sub("", text)))
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def printed_text(pages: list[str]) -> str:
    """Text of printed pages: ligatures taken apart, words put together that a line's end parts."""
    text = "\n".join(pages)
    text = LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    return HYPHENATED.sub(_rejoined, text)


def _rejoined(match: re.Match[str]) -> str:
    """Nothing in place of a hyphen between small letters; ``Ca-`` and ``Mg`` keep theirs."""
    before, after = match.string[match.start() - 1], match.string[match.end()]
    return "" if before.islower() and after.islower() else match.group()


def front_matter(text: str) -> tuple[str, str]:
    """Title and text of a Markdown file without its front matter, in YAML or TOML.

    Only lines that look like settings are taken for it, one of them a name with its value: a text
    may begin with a ruled line, above a heading or a list.
    """
    match = FRONT_MATTER.match(text)
    if not match or not NAMED.search(match["settings"]):
        return "", text
    if not all(SETTING.match(line) for line in match["settings"].split("\n")):
        return "", text
    title = TITLE.search(match["settings"])
    words = " ".join((title["value"] if title else "").split()).lstrip(">|-+ ")
    quoted = len(words) > 1 and words[0] == words[-1] and words[0] in "\"'"
    return words[1:-1] if quoted else words, text[match.end() :]
