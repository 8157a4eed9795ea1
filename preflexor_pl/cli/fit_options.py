"""What the verbs share that take fit's configs and overrides beside flags of their own.

Lightning is imported once these flags are parsed: ``--help`` and a wrong flag need not wait for it.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.cli.entry import Parser, command_line, quiet_libraries
from preflexor_pl.core.errors import ConfigError

if TYPE_CHECKING:
    from preflexor_pl.cli.parser import PreferenceCLI
    from preflexor_pl.policy.policy import Policy

CONFIG_FLAGS = "--config", "-c"
JOINED_CONFIG = re.compile(r"(?:--config=|-c=?)(.*)")


class OwnFlags(Parser):
    """The parser of a verb's own flags; whatever else it is given is for fit's parser.

    Args:
        verb: the command.
        told: what it does.
    """

    def __init__(self, verb: str, told: str) -> None:
        super().__init__(
            verb,
            told,
            usage="(RUN | --config FILE) [--KEY VALUE ...] [flags below]",
            epilog=f"All other keys: {command_line('fit')} --help",
        )

    def split(self, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Our own flags, and what is left for fit's parser.

        A run's folder in the first place that no flag takes stands for its config.

        Raises:
            ConfigError: a flag's value does not do, or the folder is no run.
        """
        own, rest = self.parse_known_args(args)
        if rest and not rest[0].startswith("-"):
            run, *rest = rest
            run = str(Path(run).expanduser())
            if not Path(run, "config.yaml").is_file():
                raise ConfigError(
                    f"{run} holds no config.yaml: give the folder of a run, or --config"
                )
            rest = ["--config", f"{run}/config.yaml", "--run", run, *rest]
        return own, rest


def count(text: str) -> int:
    """A flag's value as a whole number >= 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number >= 0")
    return int(text)


def at_least_one(text: str) -> int:
    """A flag's value as a whole number >= 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number >= 1")
    return int(text)


def config_files(args: Sequence[str]) -> list[Path]:
    """The config files named on the command line, in order."""
    return without_configs(args)[1]


def without_configs(args: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The other arguments, and the config files.

    What is said on the command line wins over files wherever it stands.
    """
    rest, files, todo = list[str](), list[str](), iter(args)
    for arg in todo:
        if arg in CONFIG_FLAGS:
            files.append(next(todo, ""))
        elif joined := JOINED_CONFIG.fullmatch(arg):
            files.append(joined[1])
        else:
            rest.append(arg)
    if "" in files:
        raise ConfigError("--config: the name is empty: give a file, such as configs/orpo.yaml")
    return rest, [Path(path).expanduser() for path in files]


def default_run(args: Sequence[str]) -> str:
    """``runs/<name of the first config>``, ``runs/default`` without one."""
    return f"runs/{next((path.stem for path in config_files(args)), 'default')}"


def cli_of(
    rest: Sequence[str], refused: Sequence[str] = (), check: Callable[[Any], None] | None = None
) -> "PreferenceCLI":
    """Module, data and trainer of the config.

    Args:
        rest: what follows the command, without our own flags.
        refused: keys of fit that mean nothing here.
        check: of the parsed config, before anything is built.

    Raises:
        ConfigError: a key or value is wrong, or refused.
    """
    from preflexor_pl.cli.parser import PreferenceCLI

    quiet_libraries()  # importing Lightning gave its loggers their levels back

    def before(cli: PreferenceCLI) -> None:
        for key in refused:
            if cli.config[key]:
                raise ConfigError(f"--{key} is for fit: leave it out here")
        if check:
            check(cli.config)

    return PreferenceCLI(rest, before)


def policy_at_start(cli: "PreferenceCLI") -> "Policy":
    """The policy that a run of this config begins with, where fit would have it."""
    cli.model.configure_model()
    cli.model.to(cli.trainer.strategy.root_device)
    return cli.model.policy
