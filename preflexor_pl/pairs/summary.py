"""What a set of pairs is, in three tables: its sources, its words, and what was counted."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.responses import parse_response
from preflexor_pl.core.tables import shown, table
from preflexor_pl.pairs.pair import PreferencePair, is_note, question_key

Cells = dict[str, int | float | None]  # by their headings


@dataclass(frozen=True)
class Part:
    """The pairs of one file.

    Attributes:
        name: of its round, or of the file.
        pairs: one or more.
        wanted: how many its round was to have; None where no manifest says so.
        drops: how many questions were dropped on the way, by reason.
        markers: of its pairs.
    """

    name: str
    pairs: list[PreferencePair]
    wanted: int | None
    drops: Counter[str]
    markers: MarkerStrings = DEFAULT

    @property
    def questions(self) -> list[str]:
        """Of the pairs, without their trigger."""
        return [self.markers.question(pair.prompt) for pair in self.pairs]


def summary(parts: Sequence[Part], unit: str) -> str:
    """The tables, and how many questions are asked more than once.

    Args:
        parts: one or more.
        unit: what a part is: ``round``, ``file``.
    """
    rows = [*parts, _together(parts)] if len(parts) > 1 else parts
    lines = [*_table(unit, rows, _sources), "", *_table("mean words of", rows, _words)]
    lines += ["", *_counts(parts, unit), ""]
    asked = [question_key(text) for part in parts for text in part.questions]
    again = len(asked) - len(set(asked))
    lines.append(f"{again} of {len(asked)} questions repeat an earlier one")
    return "\n".join(lines)


def _together(parts: Sequence[Part]) -> Part:
    known = [part.wanted for part in parts if part.wanted is not None]
    return Part(
        "all",
        [pair for part in parts for pair in part.pairs],
        sum(known) if len(known) == len(parts) else None,
        sum((part.drops for part in parts), Counter()),
        parts[0].markers,
    )


def _table(head: str, parts: Sequence[Part], cells_of: Callable[[Part], Cells]) -> list[str]:
    """A line a part; a column in which no part has anything to say is left out."""
    rows = [cells_of(part) for part in parts]
    heads = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    names = [part.name for part in parts]
    cells = [[name, *(row[h] for h in heads)] for name, row in zip(names, rows, strict=True)]
    return table((head, *heads), cells)


def _sources(part: Part) -> Cells:
    ids = {id for pair in part.pairs for id in pair.chunk_ids}
    chunks = {id for id in ids if not is_note(id)}
    thinks = sum(
        parse_response(pair.rejected, part.markers).thinking is not None for pair in part.pairs
    )
    return {
        "pairs": len(part.pairs),
        "wanted": part.wanted,
        "items of the task": len({pair.item for pair in part.pairs if pair.item}) or None,
        "documents": len({id.rpartition("#")[0] for id in chunks}) if ids else None,
        "chunks": len(chunks) if ids else None,
        "earlier pairs": len(ids - chunks) or None,
        "rejected that think, %": round(100 * thinks / len(part.pairs)),
    }


def _words(part: Part) -> Cells:
    """Of a chosen response by its sections, of a rejected one in all."""
    chosen = [parse_response(pair.chosen, part.markers) for pair in part.pairs]
    return {
        "question": _mean_words(part.questions),
        "thinking": _mean_words([one.thinking for one in chosen]),
        "reflection": _mean_words([one.reflection for one in chosen]),
        "answer": _mean_words([one.answer for one in chosen]),
        "rejected, all of it": _mean_words(
            [part.markers.pattern.sub(" ", pair.rejected) for pair in part.pairs]
        ),
    }


def _mean_words(texts: Sequence[str | None]) -> float | None:
    """Over the texts that are there; None where there is none."""
    counts = [len(text.split()) for text in texts if text is not None]
    return round(sum(counts) / len(counts), 1) if counts else None


def _counts(parts: Sequence[Part], unit: str) -> list[str]:
    """Drops, ends, authors, levels of a task: in all, and part by part."""
    has_items = any(pair.item for part in parts for pair in part.pairs)
    kinds = {
        "dropped": [part.drops for part in parts],
        "rejected ended by": [Counter(p.finish_reason for p in part.pairs) for part in parts],
        "rejected from": [Counter(p.rejected_source for p in part.pairs) for part in parts],
        "chosen by" if has_items else "teacher": [
            Counter(p.teacher for p in part.pairs) for part in parts
        ],
        "item of": [Counter(p.topic for p in part.pairs if p.item) for part in parts],
    }
    rows = []
    for kind, counts in kinds.items():
        for name, count in sum(counts, Counter[str]()).most_common():
            rows.append((f"{kind}: {shown(name)}", count, _each([one[name] for one in counts])))
    if len(parts) == 1:
        return table(("counts", "all"), [row[:2] for row in rows])
    return table(("counts", "all", f"by {unit}"), rows)


def _each(counts: list[int]) -> str:
    return f"{counts[0]} each" if len(set(counts)) == 1 else ", ".join(map(str, counts))
