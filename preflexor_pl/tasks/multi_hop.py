"""Questions over invented facts: which hops lead from what is asked about to a number.

    The Velmar pump is made of kelbrite. ... Kelbrite softens at 340 degrees. ...
    At how many degrees does the Velmar pump soften?

Nothing of it can be known: names are made of syllables, and the facts stand in the question among
those of other chains of the same kind. Held-out items have names and relation words that training
has not. Every item is a pure function of the task's seed, its split, level and number.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import check_value
from preflexor_pl.tasks.task import Item, Split, Verdict, WorkedItem
from preflexor_pl.tasks.worlds import WORLDS, World

MAX_CHARS = 4000  # of a text that is checked
MAX_HOPS = 3
WORKED = 2  # examples of each level
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"\w+")
_CLAUSE = re.compile(r"[.;:!?\n]+|,? (?:and|so|which|who|that|but|then|therefore)\b|, ")
_FILLERS = frozenset(
    _WORD.findall(
        "a an and answer also are as at because first finally fact from given hence in is it know "
        "next now of second since so step that the then therefore third this thus to we which who"
    )
)
_SYLLABLES = tuple(first + last for first in "bdfgklmnprstvz" for last in ("a", "e", "i", "o", "u"))
_ENDS = "l", "n", "r", "x", "th", "m"


@dataclass(frozen=True)
class MultiHop:
    """Invented facts, a question that needs some of them, and a number for an answer.

    Attributes:
        hops: the levels, which are the numbers of facts that an answer needs: 1, 2 or 3.
        chains: that each question's facts hold, one of them its own: chance is one in so many.
        seed: of all items.
    """

    hops: tuple[int, ...] = (1, 2)
    chains: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        hops = tuple(self.hops)  # a config has lists
        object.__setattr__(self, "hops", hops)
        fits = hops == tuple(sorted(set(hops))) and set(hops) <= {*range(1, MAX_HOPS + 1)}
        check_value(bool(hops) and fits, "data.task.hops", hops, "some of 1, 2, 3, in this order")
        check_value(2 <= self.chains <= 16, "data.task.chains", self.chains, "2 to 16")

    @property
    def identity(self) -> str:
        """All that its items follow from."""
        return repr(self)

    @property
    def levels(self) -> Sequence[int]:
        """The numbers of hops."""
        return self.hops

    @cached_property
    def worked(self) -> Sequence[WorkedItem]:
        """Two examples of each level, from items that no split has."""
        items = [
            self._item("worked", hops, number) for hops in self.hops for number in range(WORKED)
        ]
        return [WorkedItem(item, item.details["thinking"]) for item in items]

    def items(self, split: Split, level: int, start: int, count: int) -> list[Item]:
        """Items of a level; there is no end of them."""
        return [self._item(split, level, number) for number in range(start, start + count)]

    def check(self, item: Item, answer: str) -> Verdict:
        """Right where the answer's one number is; without a number it cannot be read."""
        numbers = set(_NUMBER.findall(answer[:MAX_CHARS]))
        if not numbers:
            return "unreadable"
        return "right" if numbers == {item.details["number"]} else "wrong"

    def check_thinking(self, item: Item, thinking: str) -> Verdict | None:
        """Right where all that it says stands in the facts, and the whole chain is said.

        A clause that says the answer to the question over again is no fact and does no harm.
        """
        facts, chain = item.shown.split("\n"), item.details["chain"]
        known = {fact: _content(fact) for fact in facts}
        closing = _content(f"{item.question} {item.answer}")
        said: set[str] = set()
        for words in _clauses(thinking[:MAX_CHARS]):
            fact = next((fact for fact in facts if words <= known[fact]), None)
            if fact is not None and _object(fact) in words and len(words) > 1:
                said.add(fact)
            elif not words <= closing:
                return "wrong"
        if not said:
            return "unreadable"
        return "right" if said.issuperset(chain) else "wrong"

    def _item(self, split: str, hops: int, number: int) -> Item:
        draw = random.Random(derive_seed(self.seed, "multi-hop", split, hops, number))
        worlds = WORLDS["held_out" if split == "held_out" else "train"]
        world = worlds[number % len(worlds)]
        names = iter(_names(draw, split, hops * self.chains))
        numbers = draw.sample(range(11, 990), self.chains)
        chains = [
            _chain(world, [next(names) for _ in range(hops)], numbers[place])
            for place in range(self.chains)
        ]
        subject, own = chains[0]
        facts = [fact for _, chain in chains for fact in chain]
        draw.shuffle(facts)
        return Item(
            id=f"{split}-{hops}-{number:05d}",
            question=world.asks[hops - 1].format(subject),
            answer=f"{numbers[0]} {world.attribute[1]}",
            shown="\n".join(facts),
            source="\n".join(own),
            level=hops,
            details={"number": str(numbers[0]), "chain": tuple(own), "thinking": " ".join(own)},
        )


def _chain(world: World, names: Sequence[str], number: int) -> tuple[str, list[str]]:
    """The first thing of a chain, and the chain's facts in their order."""
    first = MAX_HOPS - len(names)  # of the world's things
    things = [world.thing(first + place, name) for place, name in enumerate(names)]
    facts = [
        f"{_capital(thing)} {world.links[first + place]} {following}."
        for place, (thing, following) in enumerate(pairwise(things))
    ]
    words, unit = world.attribute
    return things[0], [*facts, f"{_capital(things[-1])} {words} {number} {unit}."]


def _names(draw: random.Random, split: str, count: int) -> Iterator[str]:
    """Different invented names; none is of two splits."""
    seen: set[str] = set()
    while len(seen) < count:
        name = "".join(draw.choices(_SYLLABLES, k=2)).capitalize() + draw.choice(_ENDS)
        own = ("train", "held_out", "worked")[derive_seed(name) % 3]
        if own == split and name not in seen:
            seen.add(name)
            yield name


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _clauses(text: str) -> Iterator[frozenset[str]]:
    """The words of each clause that says anything."""
    return filter(None, map(_content, _CLAUSE.split(text)))


def _content(text: str) -> frozenset[str]:
    """The words that say something, without a plural's or a verb's s."""
    return frozenset(_stem(w) for w in _WORD.findall(text.casefold()) if w not in _FILLERS)


def _stem(word: str) -> str:
    return word.removesuffix("s") if len(word) > 3 else word


def _object(fact: str) -> str:
    """The last name or number of a fact: what it leads to."""
    numbers = _NUMBER.findall(fact)
    name = re.findall(r"[A-Z][a-z]+", fact)[-1]
    return numbers[-1] if numbers else _stem(name.casefold())
