"""Which pairs a round is to have: its order, with the pairs of the user's own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.own_pairs import OwnSet
from preflexor_pl.pairs.planning import EarlierRounds
from preflexor_pl.pairs.settings import PairSettings

HELD_OUT = -1  # the round number of the held-out pairs


def round_order(
    index: int,
    wanted: int,
    train: Sequence[str],
    past: Callable[[], EarlierRounds],
    policy_step: int,
    own: OwnSet | None,
) -> Order:
    """The order of a round, with the pairs of the user's own that it has."""
    if own is None:
        return Order(index, wanted, train, past, policy_step)
    given = tuple(own.of_round(index, wanted))
    return Order(index, wanted, train, past, policy_step, given, own.settings.alone)


def held_out_order(wanted: int, held: Sequence[str], own: OwnSet | None) -> Order:
    """The order of the held-out pairs: of the user's own, or asked about held-out documents."""
    if own is None or not own.settings.alone:
        return Order(HELD_OUT, wanted, held)
    return Order(HELD_OUT, len(own.held), held, own=tuple(own.held), alone=True)


def held_out_settings(settings: PairSettings, wanted: int) -> PairSettings:
    """What held-out pairs are made of: three random draws a pair, all with the trigger.

    Where no pair has it they have none either.
    """
    return replace(
        settings,
        topics=3 * wanted,
        questions_per_topic=1,
        ask_about="random",
        untriggered_share=float(settings.untriggered_share == 1),
    )
