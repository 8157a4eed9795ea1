"""The cost of a run in lines: a table by stage, then money, time and whether budgets suffice."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from preflexor_pl.core.tables import table
from preflexor_pl.core.teacher_settings import BUDGETS, ServerSettings
from preflexor_pl.estimation.round_cost import POLICY, TEACHER, Cost, RoundCost, total
from preflexor_pl.pairs.call_key import TRY

HEAD = "stage", "model", "held-out", "a round", "calls", "prompt", "completion", "at most"


@dataclass(frozen=True)
class Rates:
    """Prices and speeds, None where the user gives none.

    Attributes:
        price_in: of a million prompt tokens.
        price_out: of a million completion tokens.
        seconds_per_call: of the server.
        tokens_per_second: of this machine, all texts of a batch together.
    """

    price_in: float | None = None
    price_out: float | None = None
    seconds_per_call: float | None = None
    tokens_per_second: float | None = None


def report(
    parts: Sequence[RoundCost],
    done: Collection[str],
    servers: Mapping[str, tuple[str, ServerSettings]],
    rates: Rates,
) -> Iterator[str]:
    """The lines.

    Args:
        parts: the held-out pairs and the rounds of the run, as of ``run_costs``.
        done: names of those that are complete.
        servers: by model, the key of a server's settings, and these.
        rates: given by the user.
    """
    stages = list(dict.fromkeys(key for part in [*parts[1:], parts[0]] for key in part.costs))
    models = list(dict.fromkeys(model for model, _ in stages))
    yield from _pairs(parts[0], parts[1:])
    rows = [*stages, *((model, None) for model in models)]
    yield from table(HEAD, [_row(parts, *row) for row in rows])
    if done:
        yield f"Complete: {', '.join(done)}; what follows is for the rest"
    left = [part for part in parts if part.name not in done]
    for model, (key, server) in servers.items():
        cost = total(left, model)
        yield f"The {model}, {server.model} at {server.host}: {_amount(cost)}"
        yield _money(cost, rates)
        minutes = _minutes(cost, server, rates)
        yield _server_time(minutes, server)
        yield from _budgets(cost, minutes, key, server)
    here = [model for model in models if model not in servers]
    cost = Cost(*map(sum, zip(Cost(), *(total(left, model) for model in here), strict=True)))
    yield f"On this machine, not paid, {' and '.join(here) or 'nothing'}: {_amount(cost)}"
    yield _machine_time(cost, rates)


def _pairs(held_out: RoundCost, rounds: Sequence[RoundCost]) -> Iterator[str]:
    tries = total(rounds[:1], POLICY, TRY).calls
    asked = total(rounds[:1], TEACHER, "question").calls
    told = f"{tries} tries of the policy" if tries else f"{asked} calls for questions"
    yield (
        f"{len(rounds)} rounds of {rounds[0].pairs} pairs, with {told} each, and "
        f"{held_out.pairs} held-out pairs"
    )
    held_out_by = "give the task more held-out items" if tries else "raise data.held_out"
    for advice, part in (("raise data.topics", rounds[0]), (held_out_by, held_out)):
        if part.pairs < part.wanted:
            yield f"{part.wanted} pairs were wanted and not {part.pairs}: {advice}"


def _row(parts: Sequence[RoundCost], model: str, stage: str | None) -> tuple[str | float, ...]:
    held_out, one, whole = (total(some, model, stage) for some in (parts[:1], parts[1:2], parts))
    return stage or "all", model, held_out.calls, one.calls, *whole


def _amount(cost: Cost) -> str:
    return (
        f"{cost.calls} calls, {cost.prompt} prompt tokens, {cost.completion} completion tokens "
        f"(at most {cost.most})"
    )


def _money(cost: Cost, rates: Rates) -> str:
    if rates.price_in is None or rates.price_out is None:
        return "Money: unknown; give --price_in and --price_out, of a million tokens"
    expected, most = (
        (cost.prompt * rates.price_in + tokens * rates.price_out) / 1e6
        for tokens in (cost.completion, cost.most)
    )
    return f"Money: {expected:.3f}, at most {most:.3f}"


def _minutes(cost: Cost, server: ServerSettings, rates: Rates) -> float | None:
    if rates.seconds_per_call is None:
        return None
    minutes = cost.calls * rates.seconds_per_call / server.in_flight / 60
    return max(minutes, cost.calls / (server.requests_per_minute or math.inf))


def _server_time(minutes: float | None, server: ServerSettings) -> str:
    if minutes is None:
        return (
            "Server time: unknown; give --seconds_per_call: seconds of a stage in preview, "
            "x calls at a time / its calls"
        )
    return f"Server time: {minutes:.1f} minutes, {server.in_flight} calls at a time"


def _machine_time(cost: Cost, rates: Rates) -> str:
    if not rates.tokens_per_second:
        return (
            "Time of this machine: unknown; give --tokens_per_second: texts of a stage in "
            "preview, x their tokens / its seconds"
        )
    minutes = cost.completion / rates.tokens_per_second / 60
    return f"Time of this machine: {minutes:.1f} minutes for texts; training is not counted"


def _budgets(cost: Cost, minutes: float | None, key: str, server: ServerSettings) -> Iterator[str]:
    """Whether the budgets of one command suffice for all calls that are left."""
    needs = cost.calls, cost.prompt + cost.completion, minutes
    for name, need in zip(BUDGETS, needs, strict=True):
        limit = getattr(server, name)
        if limit is None:
            continue
        budget = f"{key}.{name}: {limit}"
        if need is None:
            yield f"{budget} cannot be compared without --seconds_per_call"
        elif need > limit:
            yield (
                f"{budget} is too small: {need:.0f} are expected, so the command ends with exit "
                f"code 4 and must be given {math.ceil(need / limit)} times; or raise it"
            )
        elif name == "max_tokens" and cost.prompt + cost.most > limit:
            yield f"{budget} suffices for the {need:.0f} expected, not for the most"
        else:
            yield f"{budget} suffices: {need:.0f} are expected"
