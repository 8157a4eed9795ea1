"""Show pairs as the model sees them: ``python -m preflexor_pl.inspect --config configs/exo.yaml``.

Which token is prompt, masked or supervised is read from the labels that training uses. A run's
folder may stand in the place of ``--config``, and the overrides are those of fit, so that
``--data.masking MaskThinking`` shows what another mask would do. No weights load, except
for ``--reproduce ROUND``: the policy of a round, as it was saved, writes its rejected answers anew,
and they are compared with those on disk; they agree on one machine with one number of threads.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from preflexor_pl.batches.show import (
    escape_controls,
    is_plain,
    label_tokens,
    legend,
    plain_text_console,
    print_pair,
    print_statistics,
)
from preflexor_pl.cli.entry import guarded, quiet_libraries
from preflexor_pl.cli.fit_options import OwnFlags, cli_of, count, policy_at_start
from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.pairs.round_folders import complete_rounds, read_manifest, round_folder

if TYPE_CHECKING:
    from preflexor_pl.cli.parser import PreferenceCLI
    from preflexor_pl.datamodule import PreferenceDataModule
    from preflexor_pl.policy.policy import Policy

EXCERPT = 160  # letters of an answer that differs


def main(args: Sequence[str]) -> int:
    """Show pairs, or reproduce a round, and return the exit code."""
    quiet_libraries()
    if any(arg.partition("=")[0] == "--replay" for arg in args):
        raise ConfigError("--replay is now --reproduce")
    own, rest = _own_flags().split(args)
    cli = cli_of(rest)
    console = plain_text_console()
    if own.reproduce is not None:
        return _reproduce(cli, own.reproduce, console)
    from preflexor_pl.policy.tokenizer import tokenizer_of

    data: PreferenceDataModule = cli.datamodule
    path, pairs, draw = _asked_for(data, own)
    collator = data.collator_of(tokenizer_of(cli.model.settings))
    seen = [label_tokens(collator, pair, draw) for pair in pairs]
    console.print(f"{path}, masks of round {draw[0]}, epoch {draw[1]}: {data.masking}")
    console.print(legend(is_plain(console)))
    for one in seen[: own.count]:
        print_pair(console, collator, one)
    print_statistics(console, seen)
    return 0


def _own_flags() -> OwnFlags:
    flags = OwnFlags("inspect", "Show pairs as the model sees them.")
    what = flags.add_mutually_exclusive_group()
    what.add_argument("--pairs", type=Path, metavar="FILE", help="show the pairs of this file")
    what.add_argument(
        "--reproduce", type=count, metavar="ROUND", help="have its policy write its answers anew"
    )
    flags.add_argument("--round", type=count, help="default: the newest")
    flags.add_argument("--epoch", type=count, help="whose mask; default: the round's first")
    flags.add_argument("--count", type=count, default=2, help="of pairs to show (%(default)s)")
    return flags


# What to show


def _asked_for(
    data: "PreferenceDataModule", own: argparse.Namespace
) -> tuple[Path, list[PreferencePair], tuple[int, int]]:
    """The file, its pairs, and the round and the epoch of the masks they are shown with."""
    index, epochs = own.round, data.epochs_per_round
    if index is None and own.epoch is not None:
        index = own.epoch // epochs
    if own.pairs and not own.pairs.is_file():
        raise ConfigError(f"--pairs: {own.pairs} is no file")
    if not own.pairs:
        index = _round(data.run, index)
    path = own.pairs or round_folder(data.run, index) / "pairs.jsonl"
    pairs = _read(path)
    index = pairs[0].round if index is None else index  # -1, of held-out pairs, has epoch 0
    epoch = max(index, 0) * epochs if own.epoch is None else own.epoch
    if epoch // epochs != max(index, 0):
        raise ConfigError(f"--epoch {epoch} is of round {epoch // epochs}, not of round {index}")
    return path, pairs, (index, epoch)


def _round(run: Path, index: int | None) -> int:
    """A complete round of the run, the newest where ``index`` is None."""
    return complete_rounds(run, None if index is None else [index])[-1]


def _read(path: Path) -> list[PreferencePair]:
    pairs = read_pairs(path)
    if not pairs:
        raise CorpusError(f"{path} holds no pairs")
    return pairs


# Reproducing a round


def _reproduce(cli: "PreferenceCLI", index: int, console: Console) -> int:
    data = cli.datamodule
    _round(data.run, index)
    if not cli.model.settings.lora:
        raise ConfigError(
            "--reproduce: full fine-tuning (model.policy.lora: null) keeps no policies"
        )
    answers = reproduce(data, policy_at_start(cli), index)
    differing = {name: pair for name, pair in answers.items() if pair[0] != pair[1]}
    for name, (before, now) in differing.items():
        console.print(f"{escape_controls(name)} differs", style="bold")
        console.print(f"  then: {_excerpt(before, now)}\n  now:  {_excerpt(now, before)}")
    same = len(answers) - len(differing)
    console.print(f"{same} of {len(answers)} rejected answers are the same")
    return 1 if differing else 0


def reproduce(
    data: "PreferenceDataModule", policy: "Policy", index: int
) -> dict[str, tuple[str, str]]:
    """Rejected answers of a round as they are on disk, and as its policy writes them now.

    Args:
        data: of the run.
        policy: of the run; gets the trained weights of that round.
        index: of a complete round.

    Returns:
        Pair id -> (then, now); "" where one of the two has no such pair.

    Raises:
        ConfigError: the round's weights cannot be had, or the run was made with other settings.
    """
    from preflexor_pl.policy.adapters import load_adapter

    folder = round_folder(data.run, index)
    load_adapter(policy.model, folder / "policy")
    known = read_manifest(folder)
    again = data.rounds_of(policy).reproduce(index, known["wanted"], known["policy_step"])
    then, now = (
        {p.id: p.rejected for p in pairs} for pairs in (_read(folder / "pairs.jsonl"), again)
    )
    return {name: (then.get(name, ""), now.get(name, "")) for name in then | now}


def _excerpt(text: str, other: str) -> str:
    """Where ``text`` begins to differ from ``other``, in one line."""
    alike = takewhile(lambda letters: letters[0] == letters[1], zip(text, other, strict=False))
    start = max(0, len(list(alike)) - EXCERPT // 4)
    shown = escape_controls(text[start : start + EXCERPT]).replace("\n", "\\n")
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + EXCERPT else ''}"


if __name__ == "__main__":
    sys.exit(guarded(main))
