"""Whether an answer stands in its sources: the share of its words and numbers that they have too.

A count, not a proof: an answer can say something wrong in its source's own words. Words are found
by ICU in any script and compared by their English stems, without function words; numbers with their
units, so that 0.5 µm is 500 nm and 5 nm is not 5 µm.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preflexor_pl.core import segmentation

FUNCTION_WORDS = """
a about above across after again against all almost along already also although always among an
and another any are around as at be because become becomes been before being below between both
but by can cannot could did do does done down due during each either even every few for from
further get gets given gives had has have having he her here his how however i if in into is it
its itself just less let like made make makes many may me might more most much must my neither no
nor not of off often on once one only onto or other others our out over own per rather same shall
she should show shows since so some such than that the their them themselves then there therefore
these they thing this those through thus to too toward towards under until up upon use used uses
using very via was way we well were what when where whereas whether which while who whom whose why
will with within without would yet you your
"""
STOP_WORDS = frozenset(FUNCTION_WORDS.split())

_POWER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT = re.compile("(?<=10)[⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_LATEX = [  # numbers and units as LaTeX writes them
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"(?<=\d)(?:\\[,;:! ]|~)+(?=\d{3}(?!\d))", ","),
        (r"\\[,;:! ]|~", " "),
        (r"\s*\\(?:mathrm|text|textrm)\s*\{\s*([^{}]*?)\s*\}", r" \1"),
        (r"\\(?:times|cdot)(?![a-zA-Z])", "×"),
        (r"\\%", "%"),
        (r"\s*\^?\{?\\circ\}?\s*", "°"),
        (r"(?<=\d)\s*\\mu(?![a-zA-Z])\s*(?=[a-zA-Z])", " u"),
        (r"(?<=\d) {2,}", " "),
    )
]
_LIST_NUMBER = re.compile(r"^\s*\(?\d{1,2}[.)]\s+", re.MULTILINE)
_PREFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12}
_UNITS = "eV|Pa|Hz|mol|m|g|N|J|s|W|V|L"
_SPELLED = {  # as they are written out; longer before shorter
    "percent": "%",
    "per cent": "%",
    "nanometres?|nanometers?": "nm",
    "micrometres?|micrometers?|microns?": "um",
    "millimetres?|millimeters?": "mm",
    "centimetres?|centimeters?": "cm",
    "kilometres?|kilometers?": "km",
    "metres?|meters?": "m",
    "gigapascals?": "GPa",
    "megapascals?": "MPa",
    "kilopascals?": "kPa",
    "milliseconds?": "ms",
    "seconds?": "s",
    "kilograms?": "kg",
    "milligrams?": "mg",
    "grams?": "g",
    "(?:degrees? celsius|degrees? c|℃|° c)": "°C",
}
_SPELLING = [
    (re.compile(rf"(?<=\d)[ -]?(?:{k})(?!\w)", re.I), f" {v}") for k, v in _SPELLED.items()
]
_NUMBER = re.compile(
    r"(?<![^\W\d_])(?<![^\W\d_]-)(?<![\d.])"  # the 5 of mfp-5 or C5 is a name's
    r"(\d{1,3}(?:[, \u202f]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?)"
    r"(?:\s*[×x*·]\s*10\s*\^?\s*\{?(-?\d+)\}?|e([+-]?\d+)(?!\w)|\^\{?(-?\d+)\}?)?"
    rf"(?:\s?(%|°C|(?:[kMGTcmunp]?)(?:{_UNITS})(?![\w])))?"
)


@dataclass(frozen=True)
class Number:
    """A number as it stands in a text.

    Attributes:
        text: as it is written.
        value: in the unit without its prefix, to six digits.
        unit: without its prefix; "" where there is none.
        plain: the value as it is written, without its unit.
    """

    text: str
    value: str
    unit: str
    plain: str

    def is_among(self, others: Sequence["Number"]) -> bool:
        """Whether one of ``others`` says the same; where one has no unit, by the plain value."""
        return any(
            (self.value, self.unit) == (other.value, other.unit)
            or (self.plain == other.plain and not (self.unit and other.unit))
            for other in others
        )


@dataclass(frozen=True)
class Grounding:
    """How far an answer stands in its sources.

    Attributes:
        found: distinct content words and numbers of the answer that its sources have.
        total: all of them; those of its question are left out of both.
        invented: numbers that stand neither in a source nor in the question.
    """

    found: int
    total: int
    invented: tuple[str, ...]

    @property
    def score(self) -> float:
        """The share that is found; 0 where an answer adds nothing to its question."""
        return self.found / self.total if self.total else 0.0

    @property
    def rank(self) -> float:
        """By which one of several answers is taken: of two words, both are soon in a source."""
        return self.found / (self.total + 2)


def grounding(answer: str, sources: Sequence[str], question: str = "") -> Grounding:
    """How far what ``answer`` says beyond its question stands in ``sources``."""
    source = "\n\n".join(sources)
    known, asked = content_words(source), content_words(question)
    words = content_words(answer) - asked
    given, sourced = list(numbers_in(question)), list(numbers_in(source))
    numbers = {n.text: n for n in numbers_in(answer) if not n.is_among(given)}
    invented = [text for text, number in numbers.items() if not number.is_among(sourced)]
    found = len(words & known) + len(numbers) - len(invented)
    return Grounding(found, len(words) + len(numbers), tuple(invented))


def content_words(text: str) -> set[str]:
    """The stems of a text's words, without function words, numbers and LaTeX's commands."""
    text = _NUMBER.sub(" ", _COMMAND.sub(" ", _normalised(text)))  # a unit is no word
    words = (word.casefold() for word in segmentation.words(text))
    return {stem(w) for w in words if w not in STOP_WORDS and any(c.isalpha() for c in w)}


def stem(word: str) -> str:
    """An English word without its ending: stretch, stretches, stretched and stretching are one."""
    word = word.removesuffix("'s").removesuffix("’s")
    if not word.isascii() or len(word) <= 3:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    word = word[:-1] if word[-1] == word[-2] and word[-1] not in "aeious" else word  # stopped
    return word.removesuffix("e")


def numbers_in(text: str) -> Iterator[Number]:
    """The numbers of a text, with the units that are known."""
    for found in _NUMBER.finditer(_normalised(text)):
        digits, times_ten, exponent, power, unit = found.groups(default="")
        plain = float(_decimal(digits)) * 10.0 ** _within(times_ten or exponent or "0")
        plain = plain ** _within(power) if power and plain == 10 else plain
        prefix, base = _split(unit)
        value = plain * 10.0 ** _PREFIXES[prefix]
        yield Number(found.group().strip(), f"{value:.6g}", base, f"{plain:.6g}")


def _normalised(text: str) -> str:
    """One way to write micro, minus, powers of ten and units; without the numbers of a list."""
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    text = text.replace("µ", "u").replace("μ", "u").replace("−", "-")
    text = _SUPERSCRIPT.sub(lambda power: "^" + power[0].translate(_POWER), text)
    for pattern, unit in _SPELLING:
        text = pattern.sub(unit, text)
    return _LIST_NUMBER.sub("", text)


def _within(power: str) -> int:
    return max(-300, min(300, int(power[:9])))  # no float has more


def _decimal(digits: str) -> str:
    """3,000 is 3000; 2,5 is 2.5."""
    if re.fullmatch(r"\d+,\d{1,2}", digits):
        return digits.replace(",", ".")
    return re.sub(r"[, \u202f]", "", digits)


def _split(unit: str) -> tuple[str, str]:
    """A unit's prefix and the rest: GPa is G and Pa, m is no prefix."""
    if unit in ("", "%", "°C") or re.fullmatch(_UNITS, unit):
        return "", unit
    return unit[0], unit[1:]
