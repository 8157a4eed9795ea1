"""The words of ``MultiHop``: kinds of chains, those of training and those that are held out."""

from dataclasses import dataclass

from preflexor_pl.tasks.task import Split


@dataclass(frozen=True)
class World:
    """The words of one kind of chain, from the thing that is asked about to a number.

    Attributes:
        things: what the first, second and last link are called; "" for a bare name.
        links: the words between the first two, and between the last two.
        attribute: the words before the number, and the unit after it.
        asks: the question about the last thing, the one before, and the first; ``{}`` is the thing.
    """

    things: tuple[str, str, str]
    links: tuple[str, str]
    attribute: tuple[str, str]
    asks: tuple[str, str, str]

    def thing(self, place: int, name: str) -> str:
        """How a sentence calls the thing at a place of a chain."""
        noun = self.things[place]
        return f"the {name} {noun}" if noun else name


TRAIN = (
    World(
        ("station", "pump", ""),
        ("runs on", "is made of"),
        ("softens at", "degrees"),
        (
            "At how many degrees does {} soften?",
            "At how many degrees does {} soften?",
            "At how many degrees does the pump of {} soften?",
        ),
    ),
    World(
        ("valley", "bridge", "company"),
        ("is crossed by", "was built by"),
        ("has a staff of", "people"),
        (
            "How many people does {} have?",
            "How many people does the builder of {} have?",
            "How many people does the builder of the bridge in {} have?",
        ),
    ),
    World(
        ("museum", "painting", "artist"),
        ("shows", "was painted by"),
        ("lived for", "years"),
        (
            "For how many years did {} live?",
            "For how many years did the painter of {} live?",
            "For how many years did the painter of the painting in {} live?",
        ),
    ),
    World(
        ("forest", "beetle", ""),
        ("is home to", "feeds on"),
        ("grows to", "meters"),
        (
            "To how many meters does {} grow?",
            "To how many meters does the food of {} grow?",
            "To how many meters does the food of the beetle in {} grow?",
        ),
    ),
    World(
        ("village", "school", "teacher"),
        ("sends children to", "is led by"),
        ("speaks", "languages"),
        (
            "How many languages does {} speak?",
            "How many languages does the leader of {} speak?",
            "How many languages does the leader of the school of {} speak?",
        ),
    ),
    World(
        ("harbor", "ship", "cargo"),
        ("is the port of", "carries"),
        ("weighs", "tons"),
        (
            "How many tons does {} weigh?",
            "How many tons does the load of {} weigh?",
            "How many tons does the load of the ship of {} weigh?",
        ),
    ),
)
HELD_OUT = (
    World(
        ("laboratory", "sensor", ""),
        ("relies on", "is coated with"),
        ("cracks under", "bars"),
        (
            "Under how many bars does {} crack?",
            "Under how many bars does the coating of {} crack?",
            "Under how many bars does the coating of the sensor in {} crack?",
        ),
    ),
    World(
        ("orchestra", "opera", "composer"),
        ("rehearses", "was written by"),
        ("wrote", "songs"),
        (
            "How many songs did {} write?",
            "How many songs did the composer of {} write?",
            "How many songs did the composer of the opera of {} write?",
        ),
    ),
    World(
        ("farm", "wheat", "fungus"),
        ("plants", "is attacked by"),
        ("spreads over", "acres"),
        (
            "Over how many acres does {} spread?",
            "Over how many acres does the fungus on {} spread?",
            "Over how many acres does the fungus on the wheat of {} spread?",
        ),
    ),
)
WORLDS: dict[Split, tuple[World, ...]] = {"train": TRAIN, "held_out": HELD_OUT}
