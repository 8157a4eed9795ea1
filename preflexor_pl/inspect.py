"""Show pairs as the model sees them: ``python -m preflexor_pl.inspect --config configs/exo.yaml``.

Which token is prompt, masked or supervised is read from the labels that training uses. A run's
folder may stand in the place of ``--config``, and the overrides are those of fit, so that
``--data.masking MaskThinking`` shows what another mask would do. No weights load, but for
``--replay ROUND``: it has the policy of a round, as it was saved, write its rejected answers anew
and compares them with those on disk, which holds on one machine with one number of threads.
"""

import argparse
import copy
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import groupby, takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from losses.logps import IGNORE_INDEX
from preflexor_pl.batches.collate import PairCollator, TokenizedPair
from preflexor_pl.cli import PreferenceCLI, default_run, guarded, quiet_libraries
from preflexor_pl.core.chat import end_of_turn_id
from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.hub import quiet_loading
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.policy.adapters import load_adapter
from preflexor_pl.policy.load import find_model
from preflexor_pl.policy.markers import register_tokens
from preflexor_pl.policy.policy import Policy
from preflexor_pl.policy.start import read_start
from preflexor_pl.rounds import round_folder

SIDES = "chosen", "rejected"
STYLES = {"prompt": "dim", "masked": "yellow", "supervised": "green"}
BRACKETS = {"prompt": ("[|", "|]"), "masked": ("{~", "~}")}  # where there is no colour
UNLIMITED = 2**31
ROUND_FILES = "rounds/round-[0-9][0-9][0-9][0-9]/manifest.json"
EXCERPT = 160  # letters of an answer that differs
# What would move a terminal's cursor, colour it or turn its text around is shown as an escape.
_CONTROLS = {*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {10}
_SHOWN = {code: ascii(chr(code))[1:-1] for code in _CONTROLS}


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
    console.print(_legend(_is_plain(console)))
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
    made = sorted(int(path.parent.name[6:]) for path in run.glob(ROUND_FILES))
    if not made:
        raise ConfigError(f"{run} has no complete round yet: run fit first, or give --pairs FILE")
    if index is not None and index not in made:
        raise ConfigError(f"{run} has no round {index}: its complete rounds are {made}")
    return made[-1] if index is None else index


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
    if start and start.is_whole:
        location = str(start.folder)
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


# A pair as the model sees it


@dataclass(frozen=True)
class Side:
    """One response: its ids, which of them are targets, and how many tokens did not fit."""

    ids: list[int]
    supervised: list[bool]
    cut: int


@dataclass(frozen=True)
class Seen:
    """A pair as ids; ``problem`` is why it is not trained on, "" where it is."""

    pair: PreferencePair
    problem: str
    prompt: list[int]
    sides: dict[str, Side]


def look(collator: PairCollator, pair: PreferencePair, draw: tuple[int, int]) -> Seen:
    """A pair with the masks of ``draw``, (round, epoch). Where its prompt is too long, uncut."""
    unlimited = copy.copy(collator)
    unlimited.max_length = unlimited.max_prompt_length = UNLIMITED
    whole = unlimited.tokenize(pair)
    assert whole is not None
    made = collator.tokenize(pair) or whole
    sides = {}
    for name in SIDES:
        ids = getattr(made, name)
        targets = _targets(collator, made, name, draw)
        sides[name] = Side(ids, targets, len(getattr(whole, name)) - len(ids))
    return Seen(pair, collator.problem(pair), made.prompt, sides)


def _targets(
    collator: PairCollator, made: TokenizedPair, side: str, draw: tuple[int, int]
) -> list[bool]:
    """Which tokens of a response are targets, by the labels of training."""
    ids = getattr(made, side)
    alone = replace(made, chosen=ids, rejected=ids)  # what the other side lacks is no concern here
    try:
        labels = collator([alone], draw).labels[SIDES.index(side)]
    except ValueError:  # the collator refuses a response without a target
        return [False] * len(ids)
    return (labels[len(made.prompt) :] != IGNORE_INDEX).tolist()


# Showing it


def show(console: Console, collator: PairCollator, seen: Seen) -> None:
    """Print a pair, coloured by what each token is, with its counts."""
    pair, plain = seen.pair, _is_plain(console)
    prompt = len(seen.prompt)
    title = f"{pair.id} · round {pair.round} · step {pair.policy_step}"
    console.rule(_inert(title), style="none")
    console.print(_painted(collator, seen.prompt, ["prompt"] * prompt, plain))
    for name, side in seen.sides.items():
        kinds = ["supervised" if target else "masked" for target in side.supervised]
        console.print(f"\n{name}:", style="bold")
        console.print(_painted(collator, side.ids, kinds, plain))
        counts = [prompt, kinds.count("masked"), kinds.count("supervised"), prompt + len(side.ids)]
        told = zip(("prompt", "masked", "supervised", "total"), counts, strict=True)
        cut = f" · truncated: {side.cut} more did not fit" if side.cut else ""
        console.print(f"tokens: {' · '.join(f'{kind} {n}' for kind, n in told)}{cut}")
    if seen.problem:
        console.print(f"not trained on: {seen.problem}", style="bold red")
    console.print()


def _painted(collator: PairCollator, ids: list[int], kinds: list[str], plain: bool) -> Text:
    """Tokens as text in the styles of their kinds; in brackets where there is no colour."""
    text, markers = Text(), astuple(collator.markers)
    read = _reader(collator.tokenizer, ids)
    for kind, run in groupby(range(len(ids)), key=kinds.__getitem__):
        before, after = BRACKETS.get(kind, ("", "")) if plain else ("", "")
        text.append(before)
        for marker, part in groupby(run, key=lambda place: ids[place] in markers):
            places = list(part)
            style = f"{STYLES[kind]} bold" if marker else STYLES[kind]
            text.append(_inert(read(places[0], places[-1] + 1)), style)
        text.append(after)
    return text


def _reader(tokenizer: Any, ids: list[int]) -> Callable[[int, int], str]:
    """A function that gives the text of ``ids[start:end]``, special tokens included.

    It comes from the decoded whole, since a token may lose its space, or its part of a letter, when
    it is decoded alone. A letter over two parts goes to the one that ends it.
    """

    def upto(end: int) -> str:
        text = tokenizer.decode(
            ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text if end == len(ids) else text.rstrip("\ufffd")

    return lambda start, end: upto(end)[len(upto(start)) :]


def _inert(text: str) -> str:
    return text.translate(_SHOWN)


def _is_plain(console: Console) -> bool:
    return console.color_system is None or console.no_color


def _legend(plain: bool) -> Text:
    text = Text()
    for kind, style in STYLES.items():
        before, after = BRACKETS.get(kind, ("", "")) if plain else ("", "")
        text.append(f"{before}{kind}{after}", style).append("  ")
    return text if plain else text.append("marker", "bold")


def summarise(console: Console, seen: Sequence[Seen]) -> None:
    """Print a table over all pairs; those that are not trained on are only counted."""
    used = [one for one in seen if not one.problem]
    table = Table("tokens", box=None, pad_edge=False)
    for name in ("mean", "max", "supervised", "truncated"):
        table.add_column(name, justify="right")
    if used:
        table.add_row("prompt", *_mean_and_max([len(one.prompt) for one in used]), "", "")
    for name in SIDES if used else ():
        sides = [one.sides[name] for one in used]
        targets, tokens = sum(sum(s.supervised) for s in sides), sum(len(s.ids) for s in sides)
        cut = sum(side.cut > 0 for side in sides)
        sizes = _mean_and_max([len(side.ids) for side in sides])
        table.add_row(name, *sizes, f"{targets / tokens:.0%}", f"{cut} of {len(used)}")
    console.print(table)
    reasons = Counter(one.problem for one in seen if one.problem).most_common()
    told = f" ({', '.join(f'{reason} {count}' for reason, count in reasons)})" if reasons else ""
    console.print(f"{len(seen)} pairs, {len(seen) - len(used)} unusable{told}")


def _mean_and_max(counts: list[int]) -> tuple[str, str]:
    return f"{sum(counts) / len(counts):.1f}", str(max(counts))


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
        console.print(f"{_inert(name)} differs", style="bold")
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
    shown = _inert(text[start : start + EXCERPT]).replace("\n", "\\n")
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + EXCERPT else ''}"


if __name__ == "__main__":
    sys.exit(guarded(main))
