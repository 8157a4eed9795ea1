"""Own pairs in another model's markers, which would otherwise be trained on as plain text."""

import re
from collections.abc import Collection, Iterator

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.markers import DEFAULT, KEY, MarkerStrings
from preflexor_pl.core.model_thinking import all_thinking_tags, strip_thinking, thinking_tags

_FORMS = (thinking_tags("<reflect(?:ion)?>", "</reflect(?:ion)?>"), *all_thinking_tags())
_TAG = re.compile(  # of any of these forms, to find few texts to read and to name what they hold
    r"[<\[◁][^\w\s<>]{0,2}[\w:]*(?:think|thought|reason|reflect|channel|unused9)[^<>\]▷\n]{0,40}[>\]▷]",
    re.IGNORECASE,
)
_TRIGGER = re.compile(rf" Use ({_TAG.pattern})\.\Z", re.IGNORECASE)


def require_markers(
    place: str, texts: dict[str, str], markers: MarkerStrings, others: Collection[MarkerStrings]
) -> None:
    """Refuse a row that is written with other markers than the configured ones.

    Args:
        place: where the row stands.
        texts: of the row, by their names: ``prompt``, ``chosen`` and ``rejected``.
        markers: the configured ones.
        others: that the row may be written with, beside the known forms of other models.

    Raises:
        CorpusError: names the row, the text, and the strings that it holds.
    """
    for name, text in texts.items():
        seen = list(dict.fromkeys(_other_markers(name, text, markers, others)))
        if seen:
            raise CorpusError(
                f"data.pairs: {place}: {name} is written with {' '.join(seen)}, and {KEY} is "
                f"{' '.join(markers.all)}, trigger {markers.suffix.strip()!r}: set {KEY} to the "
                "strings of the rows, or write the rows with the configured ones"
            )


def _other_markers(
    name: str, text: str, markers: MarkerStrings, others: Collection[MarkerStrings]
) -> Iterator[str]:
    if name == "prompt":  # of whose markers only those in the trigger say anything
        if not text.endswith(markers.suffix):
            yield from (other.suffix.strip() for other in others if text.endswith(other.suffix))
            yield from (found[0].strip() for found in _TRIGGER.finditer(text))
        return
    plain = markers.pattern.sub(" ", text)
    yield from (marker for other in others for marker in other.all if marker in plain)
    if _TAG.search(plain) and strip_thinking(plain, _FORMS)[1]:
        yield from _TAG.findall(plain)


def others_than(markers: MarkerStrings, recorded: MarkerStrings | None) -> list[MarkerStrings]:
    """The default markers and those on record with a file, but for the configured ones."""
    return [some for some in (DEFAULT, recorded) if some is not None and some != markers]
