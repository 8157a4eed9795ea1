"""What a run's pairs will cost, before anything is asked: ``... preflexor_pl.estimate --config F``.

Calls, tokens, time and money of the held-out pairs and of every round, by stage. Calls a pair and
lengths are means over the journals of the run's complete rounds, else of its preview, or of
``--like RUN``. Without any, every text is assumed to be usable and to have half its
``max_new_tokens``. The corpus is indexed where the run has no graph yet; no weights are loaded.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preflexor_pl.cli.entry import guarded, quiet_libraries
from preflexor_pl.cli.fit_options import OwnFlags, cli_of
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.pairs.round_folders import is_complete, round_folders

if TYPE_CHECKING:
    from preflexor_pl.datamodule import PreferenceDataModule


def main(args: Sequence[str]) -> int:
    """Estimate, print, and return the exit code."""
    quiet_libraries()
    own, rest = _own_flags().split(args)
    if (own.price_in is None) != (own.price_out is None):
        raise ConfigError("--price_in and --price_out go together: give both, 0 for none")
    cli = cli_of(rest, refused=["fresh", "ckpt_path"])
    from preflexor_pl.cli.run_folder import RunFolder
    from preflexor_pl.core.chat import encode
    from preflexor_pl.estimation.cost import run_costs
    from preflexor_pl.estimation.journal_means import journal_means
    from preflexor_pl.estimation.report import Rates, report
    from preflexor_pl.estimation.round_cost import ASSUMED
    from preflexor_pl.policy.tokenizer import tokenizer_of

    data: PreferenceDataModule = cli.datamodule
    epochs = cli.trainer.max_epochs
    if epochs is None or epochs < 1:
        raise ConfigError("trainer.max_epochs: a run without end has no estimate: give a number")
    journals = _journals(data.run, own.like)
    known = tokenizer_of(cli.model.settings)
    means = journal_means(journals, lambda text: len(encode(known.tokenizer, text)))
    with RunFolder(data.run).taken():
        costs = run_costs(data, known, means, -(-epochs // data.epochs_per_round))
    rates = Rates(own.price_in, own.price_out, own.seconds_per_call, own.tokens_per_second)
    done = [path.name for path in _complete(data.run)]
    for line in report(costs, done, _servers(data), rates):
        log_line(line)
    names = ", ".join(path.name for path in journals)
    log_line(
        f"Means over {means.calls} calls of {own.like or data.run} ({names}); prompts are counted "
        "with the policy's tokenizer; calls that a server fails are not counted"
        if journals
        else f"Assumed, as no journal is there: every text is usable and has {ASSUMED:.0%} of its "
        "max_new_tokens; after a preview both are measured"
    )
    return 0


def _own_flags() -> OwnFlags:
    flags = OwnFlags("estimate", "What a run's pairs will cost; asks nothing, loads no weights.")
    add = flags.add_argument
    add("--price_in", type=_number, metavar="P", help="of a million prompt tokens")
    add("--price_out", type=_number, metavar="P", help="of a million completion tokens")
    add("--seconds_per_call", type=_number, metavar="S", help="of the server")
    add("--tokens_per_second", type=_number, metavar="T", help="of this machine, in a batch")
    add("--like", type=Path, metavar="RUN", help="take the means over this run's journals")
    return flags


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number >= 0")
    return value


def _journals(run: Path, like: Path | None) -> list[Path]:
    """Folders of the complete rounds of a run, else of its preview; none where it has neither."""
    folder = like or run
    found = _complete(folder) or [path for path in [folder / "preview"] if is_complete(path)]
    if like and not found:
        raise ConfigError(f"--like: {like} has no complete round, and no preview")
    return found


def _complete(run: Path) -> list[Path]:
    folders = [run / "held_out", *round_folders(run)]
    return [path for path in folders if is_complete(path)]


def _servers(data: "PreferenceDataModule") -> dict[str, tuple[str, ServerSettings]]:
    """By model, the key of its server's settings, and these."""
    teacher, judge = data.pair_settings.teacher, data.pair_settings.judge
    servers = {"teacher": teacher.server, "judge": judge.server if judge else None}
    return {name: (server.key, server) for name, server in servers.items() if server}


if __name__ == "__main__":
    sys.exit(guarded(main))
