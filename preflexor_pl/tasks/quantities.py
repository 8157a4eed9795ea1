"""Numbers in an answer, with the units behind them, as people and models write them.

Read are thousands separators, decimal points and commas, fractions, ``5e3`` and ``5 × 10^3``,
superscripts, every minus sign, and units by ``pint`` (``GPa``, ``W/(m K)``, ``m s⁻¹``, ``°C``,
``metres per second``), also in the LaTeX that models write. ``1,234`` is a thousand and more,
``0,125`` and ``3,14`` are decimal.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Callable
from functools import cache, lru_cache
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pint

MOST = 64  # numbers of an answer whose units are read, the last ones
UNIT_CHARS = 80  # behind a number, in which its unit must stand

_NUMBER = re.compile(
    r"""(?<![^\W_])(?<!\d\.)[+-]?                      # not inside a word, such as CO2
    (?: 10\^(?P<power>[+-]?\d{1,9})(?!\d)
      | (?: (?<!\d/)(?P<fraction>\d+[/\u2044]\d+)(?![/.]?\d)
          | (?P<grouped>[1-9]\d{0,2} (?:
                (?P<by>[ ,'\u2019])\d{3}(?:(?P=by)\d{3})*(?!\d)(?:[.,]\d+)?
              | (?:\.\d{3})+(?!\d)(?:,\d+) | (?:\.\d{3}){2,}(?!\d) ))
          | (?P<plain>(?<!\d,)\d+,\d+(?!,?\d) | \d+(?:\.\d+)? | \.\d+) )
        (?: (?:\ ?[×x*·]\ ?10\^ | [eE])(?P<exponent>[+-]?\d{1,9})(?!\d) )? )""",
    re.VERBOSE,
)
_FACTOR = r"(?:[^\W\d_]+|[%‰°])(?:\^[+-]?\d{1,2}(?:\.\d)?(?!\d)|-?[1-4](?![\d.]))?"
_UNIT = re.compile(rf"[ -]?({_FACTOR}(?:(?: ?[/·*×] ?\(?| ){_FACTOR}\)?){{0,6}})")
_POWER = re.compile(r"(?<=[^\W\d_])(-?[1-4])(?!\d)")  # of m2 and s-1
_PARENTHESES = re.compile(r"\([^()]*\)")
_WORDS = frozenset(
    ["a", "am", "are", "as", "at", "has", "he", "in", "me", "us"]
)  # pint takes them for units
_MORE = re.compile(  # what goes on with a unit behind a space; "5 kg mass" has kg alone
    r"per|square|cubic|.*[\d^].*|[^\W\d_]{1,3}|(?:met(?:er|re)|second|hour|day|mole|kelvin)s?"
)
_CLEANED: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile("[\u207a\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+"), r"^\g<0>"),
    (re.compile(r"[\u00ba\u02da]|\bdeg(?:ree)?s?\b", re.IGNORECASE), "°"),
    (re.compile("[\u2103\u2109]"), lambda sign: unicodedata.normalize("NFKC", sign[0])),
    (re.compile(r"° ?([CF])\b|° ?(c)elsius\b|° ?(f)ahrenheit\b", re.IGNORECASE), r"deg\1\2\3"),
]
_TIDIED = [
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"\\(?:text|mathrm|mathbf)\b ?|\\[,;: ]|~"), " "),
    (re.compile(r"\^\{([^{}]*)\}"), r"^\1"),
    (re.compile(r"[{}$`]|\\(?:left|right)\b"), " "),
    (re.compile("[\u2212\u2013]"), "-"),
    (re.compile("[\u22c5\u2219]"), "·"),
    (re.compile(r"\*\*(?=[+-]?\d)"), "^"),
    (re.compile(r"\*\*"), ""),
    (re.compile(r"\^\(?1[/\u2044]2\)?"), "^0.5"),
    (re.compile(r"√ ?\(?([^\W\d_])\)?"), r" \1^0.5"),
    (re.compile(" {2,}"), " "),
]


class Quantity(NamedTuple):
    """A number and its unit: a unit that ``pint`` reads, or "" where none stands behind it."""

    value: float
    unit: str


def quantities(text: str, wanted: str = "") -> list[Quantity]:
    """The last numbers of a text, in their order.

    Args:
        text: of any length.
        wanted: a unit that is read even where it looks like an English word.
    """
    text = _clean(text)
    found, end = [], 0
    for match in deque(_NUMBER.finditer(text), MOST):
        value = _value(match)
        if match.start() >= end and isfinite(value):  # else a power in the unit before
            unit, length = _unit(text[match.end() :][:UNIT_CHARS], wanted)
            end = match.end() + length
            found.append(Quantity(value, unit))
    return found


def converted(quantity: Quantity, unit: str) -> float | None:
    """The number in another unit; None where it has another dimension.

    Args:
        quantity: without a unit it is taken to be in ``unit``.
        unit: "" for a number whose unit does not matter.
    """
    import pint

    if not unit or not quantity.unit:
        return quantity.value
    given, wanted = (_temperature(one, unit) for one in (quantity.unit, unit))
    try:
        units = [parsed(one) for one in (given, wanted)]
        value = float(_registry().Quantity(quantity.value, units[0]).to(units[1]).magnitude)
    except (pint.PintError, ArithmeticError, ValueError):
        return None
    return value if isfinite(value) else None


@lru_cache(4096)
def parsed(unit: str) -> "pint.Unit":
    """A unit as ``pint`` has it.

    Raises:
        ValueError: it is none.
    """
    unit = _POWER.sub(r"^\1", _clean(unit).strip())
    for name in (unit, unit.lower()) if len(unit) > 3 else (unit,):  # Kelvin, Metres
        try:
            return _registry().parse_units(name)
        except Exception:  # of what is no unit, pint raises nearly everything there is
            continue
    raise ValueError(f"{unit!r} is no unit that pint reads")


@cache
def _registry() -> "pint.UnitRegistry":
    import pint

    return pint.UnitRegistry()


def _clean(text: str) -> str:
    """The text in the few signs that numbers and units are read by."""
    for pattern, instead in _CLEANED:
        text = pattern.sub(instead, text)
    text = unicodedata.normalize("NFKC", text)
    for pattern, instead in _TIDIED:
        text = pattern.sub(instead, text)
    return text


def _value(match: re.Match[str]) -> float:
    sign = -1.0 if match[0].startswith("-") else 1.0
    if match["power"]:
        return sign * float(f"1e{match['power']}")
    exponent = f"e{match['exponent'] or 0}"
    if match["fraction"]:
        over, under = re.split("[/\u2044]", match["fraction"])
        return sign * float(over + exponent) / float(under) if float(under) else float("inf")
    if not match["grouped"]:
        return sign * float(match["plain"].replace(",", ".") + exponent)
    by = match["by"] or "."
    whole, decimals = match["grouped"].replace(by, ""), ""
    for point in {".", ","} - {by}:
        head, found, tail = whole.partition(point)
        if found:
            whole, decimals = head, tail
    return sign * float(f"{whole}.{decimals}{exponent}")


def _unit(text: str, wanted: str) -> tuple[str, int]:
    """The unit at the start of a text, as long a one as can be read; and where it ends.

    "" and 0 where there is none.
    """
    expression = _UNIT.match(text)
    if expression is None:
        return "", 0
    inside = _PARENTHESES.sub(lambda found: found[0].replace(" ", "·"), expression[1])
    words = re.split(r"(?<![/·*×]) (?![/·*×])", inside)
    if words[0] in _WORDS and words[0] != wanted:
        return "", 0
    count = 1
    while count < len(words) and words[count] not in _WORDS and _MORE.fullmatch(words[count]):
        count += 1
    for end in range(count, 0, -1):
        unit = " ".join(words[:end])
        try:
            parsed(unit)
        except ValueError:
            continue
        return unit, expression.start(1) + len(unit)
    return "", 0


def _temperature(unit: str, wanted: str) -> str:
    """C and F are Celsius and Fahrenheit where a temperature is asked for."""
    return f"deg{unit}" if unit in ("C", "F") and _dimension(wanted) == "[temperature]" else unit


@lru_cache(256)
def _dimension(unit: str) -> str:
    return str(parsed(unit).dimensionality)
