"""What a run's pairs will cost, before anything is asked: ``... preflexor_pl.estimate --config F``.

Calls, tokens, time and money of the held-out pairs and of every round, by stage. The rounds are
rehearsed: their own stages with their real prompts, from the graph of the corpus, which is built
where it is missing, while nobody is asked and no weights load. How long texts are, and how many are
of no use, is taken from the journals of the run, else of its preview, or of ``--like RUN``; without
any it is assumed, and said to be.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preflexor_pl.cli.entry import guarded, quiet_libraries
from preflexor_pl.cli.fit_options import OwnFlags, cli_of
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.tables import table
from preflexor_pl.core.teacher_settings import BUDGETS, ServerSettings
from preflexor_pl.estimation.dry_run import ASSUMED_LENGTH, Cost
from preflexor_pl.estimation.estimating import (
    TEACHER,
    Estimate,
    complete_folders,
    known_statistics,
    rehearse,
    servers_of,
)

if TYPE_CHECKING:
    from preflexor_pl.datamodule import PreferenceDataModule

HEAD = "stage", "asked", "held-out", "a round", "calls", "prompt", "completion", "at most"


@dataclass(frozen=True)
class Rates:
    """What the user knows of prices and speeds; None where he does not.

    Attributes:
        price_in: of a million tokens of prompts.
        price_out: of a million tokens of texts.
        seconds_per_call: of the server.
        tokens_per_second: that this machine draws, all texts of a batch together.
    """

    price_in: float | None = None
    price_out: float | None = None
    seconds_per_call: float | None = None
    tokens_per_second: float | None = None


def main(args: Sequence[str]) -> int:
    """Rehearse, print, and return the exit code."""
    quiet_libraries()
    own, rest = _own_flags().split(args)
    rates = Rates(own.price_in, own.price_out, own.seconds_per_call, own.tokens_per_second)
    if (rates.price_in is None) != (rates.price_out is None):
        raise ConfigError("--price_in and --price_out go together: give both, 0 for none")
    cli = cli_of(rest, refused=["fresh", "ckpt_path"])
    from preflexor_pl.cli.run_folder import RunFolder
    from preflexor_pl.policy.tokenizer import tokenizer_of

    data: PreferenceDataModule = cli.datamodule
    epochs = cli.trainer.max_epochs
    if epochs is None or epochs < 1:
        raise ConfigError("trainer.max_epochs: a run without end has no estimate: give a number")
    habits, source = known_statistics(data.run, own.like)
    known = tokenizer_of(cli.model.settings)
    folder = RunFolder(data.run)
    folder.take(fresh=False)
    try:
        _ = data.library  # where it is missing, it is built and kept
    finally:
        folder.release()
    estimate = rehearse(data, known, habits, -(-epochs // data.epochs_per_round))
    for line in report(estimate, data, rates, source):
        log_line(line)
    return 0


def _own_flags() -> OwnFlags:
    flags = OwnFlags("estimate", "What a run's pairs will cost; asks nothing, loads no weights.")
    add = flags.add_argument
    add("--price_in", type=_number, metavar="P", help="of a million tokens of prompts")
    add("--price_out", type=_number, metavar="P", help="of a million tokens of texts")
    add("--seconds_per_call", type=_number, metavar="S", help="of the server")
    add("--tokens_per_second", type=_number, metavar="T", help="that this machine draws in a batch")
    add("--like", type=Path, metavar="RUN", help="lengths and drops as in this run's journals")
    return flags


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number >= 0")
    return value


def report(
    estimate: Estimate, data: "PreferenceDataModule", rates: Rates, source: str
) -> Iterator[str]:
    """The estimate in lines: a table by stage, then what follows from it."""
    yield from _amounts(estimate)
    yield from table(HEAD, _rows(estimate, len(data.pair_settings.thinking.categories)))
    yield _lengths(source)
    yield "Prompts are counted with the policy's tokenizer; calls that a server fails come on top"
    done = [path.name for path in complete_folders(data.run)]
    if done:
        yield f"There already: {', '.join(done)}; what follows is for the rest"
    servers = servers_of(data)
    for who, (key, server) in servers.items():
        cost = estimate.left(who, done)
        yield f"The {who}, {server.model} at {server.host}: {_told(cost)}"
        yield _money(cost, rates)
        yield _server_time(cost, server, rates)
        yield from _budgets(cost, key, server, rates)
    here = [who for who in estimate.asked if who not in servers]
    cost = sum((estimate.left(who, done) for who in here), Cost())
    yield f"On this machine, not paid, {' and '.join(here) or 'nothing'}: {_told(cost)}"
    yield _machine_time(cost, rates)


def _amounts(estimate: Estimate) -> Iterator[str]:
    held_out, one = estimate.held_out, estimate.round
    asked = one.of(TEACHER, "question").calls
    yield (
        f"{estimate.rounds} rounds of {one.pairs} pairs, from {asked} questions asked in each, "
        f"and {held_out.pairs} held-out pairs; nothing was asked"
    )
    for key, made in (("data.topics", one), ("data.held_out", held_out)):
        if made.pairs < made.wanted:
            yield f"{made.wanted} were wanted and not {made.pairs}: raise {key}"


def _rows(estimate: Estimate, categories: int) -> Iterator[tuple[str | int, ...]]:
    for who, stage in [*estimate.stages, *((who, None) for who in estimate.asked)]:
        name = f"{stage} x {categories}" if stage == "thinking" else stage or "all"
        parts = [part.of(who, stage).calls for part in (estimate.held_out, estimate.round)]
        cost = estimate.total(who, stage)
        yield (name, who, *parts, cost.calls, cost.prompt, round(cost.completion), cost.most)


def _told(cost: Cost) -> str:
    return (
        f"{cost.calls} calls, {cost.prompt} tokens of prompts, {cost.completion:.0f} of texts "
        f"(at most {cost.most})"
    )


def _lengths(source: str) -> str:
    if source:
        return f"Lengths and drops: as in {source}"
    return (
        f"Lengths and drops: assumed, a text has {ASSUMED_LENGTH:.0%} of the tokens it may have, "
        "and each is of use; after a preview they are taken from there"
    )


def _money(cost: Cost, rates: Rates) -> str:
    if rates.price_in is None or rates.price_out is None:
        return "Money: not known; give --price_in and --price_out, of a million tokens"
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


def _server_time(cost: Cost, server: ServerSettings, rates: Rates) -> str:
    minutes = _minutes(cost, server, rates)
    if minutes is None:
        return (
            "Time of the server: not known; give --seconds_per_call: the seconds of a stage that "
            "preview shows, x the calls at a time / its calls"
        )
    return f"Time of the server: {minutes:.1f} minutes, {server.in_flight} calls at a time"


def _machine_time(cost: Cost, rates: Rates) -> str:
    if not rates.tokens_per_second:
        return (
            "Time of this machine: not known; give --tokens_per_second: the texts of a stage that "
            "preview shows, x their tokens / its seconds"
        )
    minutes = cost.completion / rates.tokens_per_second / 60
    return f"Time of this machine: {minutes:.1f} minutes for texts; training comes on top"


def _budgets(cost: Cost, key: str, server: ServerSettings, rates: Rates) -> Iterator[str]:
    """Whether the budgets of one command reach for all calls that are left."""
    tokens = cost.prompt + cost.completion
    needs = zip(BUDGETS, (cost.calls, tokens, _minutes(cost, server, rates)), strict=True)
    for name, need in needs:
        limit = getattr(server, name)
        if limit is None:
            continue
        budget = f"{key}.{name}: {limit}"
        if need is None:
            yield f"{budget} cannot be compared without --seconds_per_call"
        elif need > limit:
            yield (
                f"{budget} does not reach: {need:.0f} are expected, so the command ends with exit "
                f"code 4 and has to be given {math.ceil(need / limit)} times; or raise it"
            )
        elif name == "max_tokens" and cost.prompt + cost.most > limit:
            yield f"{budget} reaches for the {need:.0f} expected, not for the most"
        else:
            yield f"{budget} reaches: {need:.0f} are expected"


if __name__ == "__main__":
    sys.exit(guarded(main))
