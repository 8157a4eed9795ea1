"""Prints a pair with its tokens marked as prompt, masked or supervised, in colour or in brackets.

The marks are the labels that training uses.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from preflexor_pl.pairs.pair import PreferencePair

if TYPE_CHECKING:
    from preflexor_pl.batches.collate import PairCollator

SIDES = "chosen", "rejected"
STYLES = {"prompt": "dim", "masked": "yellow", "supervised": "green"}
BRACKETS = {"prompt": ("[|", "|]"), "masked": ("{~", "~}")}  # where there is no colour
# Characters that move the cursor, set colours or reverse the text are printed as escapes.
_CONTROLS = {*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {10}
_SHOWN = {code: ascii(chr(code))[1:-1] for code in _CONTROLS}


@dataclass(frozen=True)
class Side:
    """One response: its ids, and which of them are targets."""

    ids: list[int]
    supervised: list[bool]


@dataclass(frozen=True)
class LabelledPair:
    """A pair as ids; ``problem`` is the reason why it is not trained on, or ""."""

    pair: PreferencePair
    problem: str
    prompt: list[int]
    sides: dict[str, Side]


def label_tokens(
    collator: "PairCollator", pair: PreferencePair, draw: tuple[int, int]
) -> LabelledPair:
    """A pair with the masks of ``draw``, (round, epoch), not truncated."""
    made = collator.tokenize(pair)
    targets = collator.supervised(made, draw)
    sides = {
        name: Side(getattr(made, name), kept) for name, kept in zip(SIDES, targets, strict=True)
    }
    return LabelledPair(pair, collator.problem_of(made), made.prompt, sides)


def print_pair(console: Console, collator: "PairCollator", seen: LabelledPair) -> None:
    """Print a pair with its tokens marked, and the counts of each kind."""
    pair, plain = seen.pair, is_plain(console)
    prompt = len(seen.prompt)
    title = f"{pair.id} · round {pair.round} · step {pair.policy_step}"
    console.rule(escape_controls(title), style="none")
    console.print(_styled(collator, seen.prompt, ["prompt"] * prompt, plain))
    for name, side in seen.sides.items():
        kinds = ["supervised" if target else "masked" for target in side.supervised]
        console.print(f"\n{name}:", style="bold")
        console.print(_styled(collator, side.ids, kinds, plain))
        counts = [prompt, kinds.count("masked"), kinds.count("supervised"), prompt + len(side.ids)]
        totals = zip(("prompt", "masked", "supervised", "total"), counts, strict=True)
        console.print(f"tokens: {' · '.join(f'{kind} {n}' for kind, n in totals)}")
    if seen.problem:
        console.print(f"not trained on: {seen.problem}", style="bold red")
    console.print()


def _styled(collator: "PairCollator", ids: list[int], kinds: list[str], plain: bool) -> Text:
    """Tokens as text in the styles of their kinds, or in brackets without colour."""
    text, markers = Text(), astuple(collator.markers)
    read = _reader(collator.tokenizer, ids)
    for kind, run in groupby(range(len(ids)), key=kinds.__getitem__):
        before, after = BRACKETS.get(kind, ("", "")) if plain else ("", "")
        text.append(before)
        for marker, part in groupby(run, key=lambda place: ids[place] in markers):
            places = list(part)
            style = f"{STYLES[kind]} bold" if marker else STYLES[kind]
            text.append(escape_controls(read(places[0], places[-1] + 1)), style)
        text.append(after)
    return text


def _reader(tokenizer: Any, ids: list[int]) -> Callable[[int, int], str]:
    """A function that gives the text of ``ids[start:end]``, special tokens included.

    It is cut from the decoded whole: a token decoded alone may lose its space, or be part of a
    character. A character across two parts goes to the part with its end.
    """

    def upto(end: int) -> str:
        text = tokenizer.decode(
            ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text if end == len(ids) else text.rstrip("\ufffd")

    return lambda start, end: upto(end)[len(upto(start)) :]


def escape_controls(text: str) -> str:
    """Text whose terminal control characters are escaped."""
    return text.translate(_SHOWN)


def plain_text_console() -> Console:
    """A console that interprets no markup and wraps no line."""
    return Console(soft_wrap=True, markup=False, emoji=False, highlight=False)


def is_plain(console: Console) -> bool:
    """Whether the console has no colour."""
    return console.color_system is None or console.no_color


def legend(plain: bool) -> Text:
    """A legend of the styles."""
    text = Text()
    for kind, style in STYLES.items():
        before, after = BRACKETS.get(kind, ("", "")) if plain else ("", "")
        text.append(f"{before}{kind}{after}", style).append("  ")
    return text if plain else text.append("marker", "bold")


def print_statistics(console: Console, seen: Sequence[LabelledPair]) -> None:
    """Print token statistics of all pairs; those that are not trained on are only counted."""
    used = [one for one in seen if not one.problem]
    table = Table("tokens", box=None, pad_edge=False)
    for name in ("mean", "max", "supervised"):
        table.add_column(name, justify="right")
    if used:
        table.add_row("prompt", *_mean_and_max([len(one.prompt) for one in used]), "")
    for name in SIDES if used else ():
        sides = [one.sides[name] for one in used]
        targets, tokens = sum(sum(s.supervised) for s in sides), sum(len(s.ids) for s in sides)
        sizes = _mean_and_max([len(side.ids) for side in sides])
        table.add_row(name, *sizes, f"{targets / tokens:.0%}")
    console.print(table)
    reasons = Counter(one.problem for one in seen if one.problem).most_common()
    told = f" ({', '.join(f'{reason} {count}' for reason, count in reasons)})" if reasons else ""
    console.print(f"{len(seen)} pairs, {len(seen) - len(used)} unusable{told}")


def _mean_and_max(counts: list[int]) -> tuple[str, str]:
    return f"{sum(counts) / len(counts):.1f}", str(max(counts))
