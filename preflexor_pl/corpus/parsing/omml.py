"""Word's equations (OMML) as one line of text that a reader and a model understand."""

from collections.abc import Callable
from typing import Any

PROPERTIES = "Pr"  # ending of the elements that say how something looks


def local(element: Any) -> str:
    """An element's name without its namespace; "" for comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def equation(element: Any) -> str:
    """An equation in linear form: ``(a+b)/2``, ``x_i^2``, ``√(x)``, ``∑_(i=1)^n``.

    Args:
        element: ``m:oMath``, or any within it.
    """
    name = local(element)
    if name == "t":
        return element.text or ""
    if name.endswith(PROPERTIES):
        return ""
    form = FORMS.get(name)
    return form(element) if form else _all(element)


def _all(element: Any) -> str:
    return "".join(equation(child) for child in element)


def _part(element: Any, name: str) -> str:
    return "".join(_all(child) for child in element if local(child) == name)


def _grouped(element: Any, name: str) -> str:
    """A part, in brackets unless it is one symbol or number."""
    part = _part(element, name).strip()
    return part if part.isalnum() or len(part) < 2 else f"({part})"


def _property(element: Any, name: str, default: str) -> str:
    for child in element.iter():
        if local(child) == name:
            return next((str(value) for key, value in child.items() if key.endswith("val")), "")
        if local(child) in ("e", "num"):
            break
    return default


def _scripts(element: Any) -> str:
    """A base with what stands below and above it."""
    parts = [_part(element, "e")]
    for mark, name in (("_", "sub"), ("^", "sup"), ("_", "lim")):
        if script := _grouped(element, name):
            above = name == "lim" and local(element) == "limUpp"
            parts.append(("^" if above else mark) + script)
    return "".join(parts)


def _nary(element: Any) -> str:
    scripts = "".join(
        mark + part
        for mark, name in (("_", "sub"), ("^", "sup"))
        if (part := _grouped(element, name))
    )
    return f"{_property(element, 'chr', '∫')}{scripts} {_part(element, 'e')}"


def _root(element: Any) -> str:
    degree = _part(element, "deg").strip()
    return f"{degree and f'{degree}-th '}√({_part(element, 'e')})"


def _delimited(element: Any) -> str:
    separator = _property(element, "sepChr", "|")
    parts = [_all(child) for child in element if local(child) == "e"]
    begin, end = _property(element, "begChr", "("), _property(element, "endChr", ")")
    return begin + separator.join(parts) + end


def _matrix(element: Any) -> str:
    rows = [child for child in element if local(child) in ("mr", "e")]
    return "; ".join(
        ", ".join(_all(cell) for cell in row) if local(row) == "mr" else _all(row) for row in rows
    )


FORMS: dict[str, Callable[[Any], str]] = {
    "f": lambda element: f"{_grouped(element, 'num')}/{_grouped(element, 'den')}",
    "rad": _root,
    "nary": _nary,
    "d": _delimited,
    "m": _matrix,
    "eqArr": _matrix,
    "func": lambda element: f"{_part(element, 'fName')}({_part(element, 'e')})",
    "acc": lambda element: _part(element, "e") + _property(element, "chr", "\u0302"),
    **dict.fromkeys(("sSub", "sSup", "sSubSup", "sPre", "limLow", "limUpp"), _scripts),
}
