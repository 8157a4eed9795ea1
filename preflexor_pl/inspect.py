"""Show pairs as the model sees them: ``python -m preflexor_pl.inspect --config configs/exo.yaml``.

Which token is prompt, masked or supervised is read from the labels that training uses. A run's
folder may stand in the place of ``--config``, and the overrides are those of fit, so that
``--data.masking MaskThinking`` shows what another mask would do. No weights load, but for
``--replay ROUND``: it has the policy of a round, as it was saved, write its rejected answers anew
and compares them with those on disk, which holds on one machine with one number of threads.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from preflexor_pl.batches.show import UNLIMITED, inert, is_plain, legend, look, show, summarise
from preflexor_pl.cli import PreferenceCLI, default_run
from preflexor_pl.core.chat import end_of_turn_id
from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.hub import quiet_loading
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.entry import guarded, quiet_libraries
from preflexor_pl.pairs.journal import complete_rounds, round_folder
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.policy.adapters import load_adapter
from preflexor_pl.policy.load import find_model
from preflexor_pl.policy.markers import register_tokens
from preflexor_pl.policy.policy import Policy
from preflexor_pl.policy.start import read_start

EXCERPT = 160  # letters of an answer that differs


def main(args: Sequence[str]) -> int:
    """Show pairs, or replay a round, and return the exit code."""
    quiet_libraries()
    own, rest = _own_flags(args)
    cli = PreferenceCLI(rest, default_run(rest), before=lambda cli: None)
    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    if own.replay is not None:
        return _replay(cli, own.replay, console)
    data: PreferenceDataModule = cli.datamodule
    path, pairs, draw = _asked_for(data, own)
    collator = data.collator_of(tokenizer_of(cli.model.settings))
    seen = [look(collator, pair, draw) for pair in pairs]
    console.print(f"{path}, masks of round {draw[0]}, epoch {draw[1]}: {data.masking}")
    console.print(legend(is_plain(console)))
    for one in seen[: own.count]:
        show(console, collator, one)
    summarise(console, seen)
    return 0


def _own_flags(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own flags, and what is left for fit's parser."""
    parser = argparse.ArgumentParser(
        "python -m preflexor_pl.inspect",
        "python -m preflexor_pl.inspect (RUN | --config FILE) [--KEY VALUE ...] [flags below]",
        "Show pairs as the model sees them.",
        "All other keys: python -m preflexor_pl.fit --help",
        allow_abbrev=False,
        exit_on_error=False,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--pairs", type=Path, metavar="FILE", help="show the pairs of this file")
    what.add_argument(
        "--replay", type=_count, metavar="ROUND", help="have its policy write its answers anew"
    )
    parser.add_argument("--round", type=_count, help="default: the newest")
    parser.add_argument("--epoch", type=_count, help="whose mask; default: the round's first")
    parser.add_argument("--count", type=_count, default=2, help="of pairs to show (%(default)s)")
    try:
        own, rest = parser.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error
    if rest and not rest[0].startswith("-"):
        run, *rest = rest
        if not Path(run, "config.yaml").is_file():
            raise ConfigError(f"{run} holds no config.yaml: give the folder of a run, or --config")
        rest = ["--config", f"{run}/config.yaml", "--run", run, *rest]
    return own, rest


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number >= 0")
    return int(text)


# What to show


def _asked_for(
    data: PreferenceDataModule, own: argparse.Namespace
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


def tokenizer_of(settings: PolicySettings) -> Any:
    """What a collator needs of the policy: its tokenizer with the markers, and its limits.

    Raises:
        ConfigError: the tokenizer cannot be had, or does not do.
    """
    from transformers import AutoConfig, AutoTokenizer

    location = find_model(settings.model_name).location
    start = read_start(settings.start_from) if settings.start_from else None
    if start and start.under:
        location = start.under
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(location)
            config = AutoConfig.from_pretrained(location).get_text_config()
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise ConfigError(f"{settings.model_name}: its tokenizer did not load: {error}") from error
    markers, _ = register_tokens(tokenizer, settings.add_tokens)
    end_id = end_of_turn_id(tokenizer)
    if end_id is None:
        raise ConfigError(f"{settings.model_name}: its tokenizer has no token that ends a turn")
    longest = getattr(config, "max_position_embeddings", None) or UNLIMITED
    return SimpleNamespace(
        tokenizer=tokenizer, markers=markers, end_id=end_id, max_positions=longest
    )


# Replaying a round


def _replay(cli: PreferenceCLI, index: int, console: Console) -> int:
    module, data = cli.model, cli.datamodule
    _round(data.run, index)
    if not module.settings.lora:
        raise ConfigError("--replay: full fine-tuning (model.policy.lora: null) keeps no policies")
    module.configure_model()
    module.to(cli.trainer.strategy.root_device)
    answers = replay(data, module.policy, index)
    differing = {name: pair for name, pair in answers.items() if pair[0] != pair[1]}
    for name, (before, now) in differing.items():
        console.print(f"{inert(name)} differs", style="bold")
        console.print(f"  then: {_excerpt(before, now)}\n  now:  {_excerpt(now, before)}")
    same = len(answers) - len(differing)
    console.print(f"{same} of {len(answers)} rejected answers are the same")
    return 1 if differing else 0


def replay(data: PreferenceDataModule, policy: Policy, index: int) -> dict[str, tuple[str, str]]:
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
    folder = round_folder(data.run, index)
    load_adapter(policy.model, folder / "policy")
    known = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    again = data.rounds_of(policy).replay(index, known["wanted"], known["policy_step"])
    then, now = (
        {p.id: p.rejected for p in pairs} for pairs in (_read(folder / "pairs.jsonl"), again)
    )
    return {name: (then.get(name, ""), now.get(name, "")) for name in then | now}


def _excerpt(text: str, other: str) -> str:
    """Where ``text`` begins to differ from ``other``, in one line."""
    alike = takewhile(lambda letters: letters[0] == letters[1], zip(text, other, strict=False))
    start = max(0, len(list(alike)) - EXCERPT // 4)
    shown = inert(text[start : start + EXCERPT]).replace("\n", "\\n")
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + EXCERPT else ''}"


if __name__ == "__main__":
    sys.exit(guarded(main))
