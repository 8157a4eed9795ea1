"""The command line: one parser for config files and overrides, and one line for every error.

``__init__`` values come from Lightning's CLI, without its subcommands: with them, a resumed run
would silently take the checkpoint's settings over the user's.
"""

import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, _loaders_dumpers, set_dumper, set_loader
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from preflexor_pl.callbacks import run_callbacks
from preflexor_pl.cli.checkpoint_writer import CheckpointFiles
from preflexor_pl.cli.config_keys import ConfigKeys
from preflexor_pl.cli.entry import command_line
from preflexor_pl.cli.fit_options import default_run, without_configs
from preflexor_pl.cli.short_help import short_help
from preflexor_pl.core.config_files import TypedLoader, dump_yaml, load_yaml, read_config
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.module import PreferenceModule

DATA_FILES = "data.pairs", "data.task"  # keys that a file may be named by
ONCE = "fresh", "ckpt_path", "debug"  # of a command, not of its run
SHOWS = "help", "help_all", "print_config"  # they show something and set no key
_REFUSED = re.compile(r".*Errors: - (.*?) - Expected a <class 'NoneType'>")  # the innermost
_NO_TEXT = "Expected a <class 'str'> - "  # of a key that takes a text or an object
_EXPLAINED = " Subclass types expect one of"
_GENERAL = "Expected", "Does not"  # they do not say what was given
_GIVEN = re.compile(r"Given value: (?!NestedArg)(\S+)")
_CLASS = re.compile(r"class_path='([\w.]+)'")
_KEY = re.compile(r'Parser key "([\w.]+)"')


class PreferenceCLI(LightningCLI):
    """Lightning's CLI for our module and our data, without subcommands.

    Args:
        args: what follows the command.
        before: called with the parsed config before anything is built.
    """

    def __init__(self, args: Sequence[str], before: Callable[["PreferenceCLI"], None]) -> None:
        self.default_run = default_run(args)
        self.before = before
        set_loader("yaml", _load_value, (yaml.YAMLError,))
        # What set_loader gives stays text where a number or a boolean is wanted, and is read again.
        _loaders_dumpers.yaml_default_loader = TypedLoader  # type: ignore[assignment]
        set_dumper("yaml", dump_yaml)
        super().__init__(
            PreferenceModule,
            PreferenceDataModule,
            save_config_callback=None,
            trainer_class=Trainer,
            trainer_defaults={
                "max_epochs": 6,
                "devices": 1,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
            },
            seed_everything_default=0,
            parser_kwargs={
                "allow_abbrev": False,
                "exit_on_error": False,
                "prog": "preflexor_pl.fit",
            },
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=list(args),
            run=False,
        )

    @property
    def kept(self) -> str:
        """The config as the run's folder keeps it: whole, as YAML."""
        kept = load_yaml(self.parser.dump(self.config, skip_unset=False))
        for key in ONCE:
            kept.pop(key, None)
        return dump_yaml(kept)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own keys, and what follows from them."""
        parser.add_argument(
            "--run",
            type=_folder,
            default=self.default_run,
            help="Folder of the run: runs/NAME of the first config, if not given.",
        )
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="Go on from this checkpoint, not the newest.",
        )
        parser.add_argument(
            "--fresh", type=bool, default=False, help="Set an older run in this folder aside."
        )
        parser.add_argument(
            "--debug", type=bool, default=False, help="Show the traceback of an error."
        )
        parser.set_defaults({"model.loss": {"class_path": "losses.ORPOLoss"}})
        parser.link_arguments("run", "data.run")
        for key in ("data.seed", "model.seed"):
            parser.link_arguments("seed_everything", key, compute_fn=int)
        parser.link_arguments("data.reflection", "model.reflection")
        for action in parser._actions:
            if action.dest in DATA_FILES:  # it would read the file as YAML, and keep all of it
                action._enable_path = False  # type: ignore[attr-defined]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; a key that does not exist is refused with the nearest one."""
        parser.usage = f"{command_line('fit')} --config FILE [--KEY VALUE ...]"
        if {"--help", "-h"} & set(args):
            sys.stdout.write(short_help(parser))
            parser.exit()
        rest, files = without_configs(args)
        keys = ConfigKeys(parser)
        for path in files:
            keys.check(read_config(path), f"{path}: ")  # before anything is built from it
        for tree in _as_trees(rest):
            keys.check(tree, dashes="--")
        args = [*(f"--config={path}" for path in files), *rest]
        args = ["--help" if a == "--help_all" else a for a in args]
        args = [f"{a}=true" if a in ("--fresh", "--debug") else a for a in args]
        sys.argv = sys.argv[:1]  # Lightning warns where it sees arguments in both places
        try:
            super().parse_arguments(parser, args)
        except (ArgumentError, ValueError) as error:
            raise ConfigError(_one_line(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with what every run has."""
        settings = self.config_init["trainer"]
        run = Path(self.config["run"])
        if settings["logger"] in (None, True):
            settings["logger"] = TensorBoardLogger(run, name="tensorboard", version="")
        if settings["max_epochs"] is None:
            settings["max_epochs"] = -1  # without end, where Lightning would take 1000
        settings["callbacks"] = [*run_callbacks(run), *(settings["callbacks"] or [])]
        # One process, whatever a scheduler's environment says of tasks: preflight allows no more.
        settings["plugins"] = settings["plugins"] or [LightningEnvironment(), CheckpointFiles()]
        return super().instantiate_trainer(**kwargs)

    def before_instantiate_classes(self) -> None:
        """Checks that need no weights."""
        self.before(self)

    def instantiate_classes(self) -> None:
        """Build module, data and trainer; what a constructor refuses is a config error."""
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise ConfigError(_one_line(str(error))) from error
        self.datamodule.policy_settings = self.model.settings

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as error:
            raise ConfigError(f"seed_everything: {error}") from error


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    refused = _REFUSED.search(line)
    if refused:  # what the first of several types said; the others are not what the user meant
        said, given = refused.group(1), _GIVEN.search(line, refused.end())
        named = _CLASS.search(line)
        owner = ".".join(_KEY.findall(line)) or (named.group(1) if named else "")
        said = said.partition(_EXPLAINED)[0].removeprefix(_NO_TEXT)
        if said.startswith(_GENERAL) and given:
            said += f", got {given.group(1)}"
        line = f"{owner}: {said}" if owner and not said.startswith("data.") else said
    return line[:400]


def _as_trees(args: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each key of the command line with its value."""
    for place, arg in enumerate(args):
        key, equals, text = arg.partition("=")
        key = key.removeprefix("--")
        if not arg.startswith("--") or key in SHOWS or key.endswith(".help"):
            continue
        if not equals:
            text = args[place + 1] if place + 1 < len(args) else ""
        try:
            yield {key: _load_value(text)}
        except yaml.YAMLError:  # words
            yield {key: text}


def _load_value(text: str) -> Any:
    """A value of the command line, or a config file, in YAML 1.2."""
    value = load_yaml(text)
    if isinstance(value, dict) and value and all(one is None for one in value.values()):
        return text  # "{a, b}" or "Note:": words, not a mapping
    return value


def _folder(text: str) -> str:
    """A folder's name, its ``~`` expanded: a shell leaves it alone in ``--run=~/x``."""
    if not text:
        raise ArgumentTypeError("the name is empty: give a folder")
    return str(Path(text).expanduser())
