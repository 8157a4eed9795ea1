"""Every command that a page shows can be given as it stands: its flags, keys and values exist."""

import re
import shlex
import shutil
import sys
from importlib import import_module

import pytest
import yaml

from preflexor_pl.__main__ import COMMANDS
from tests.doc_pages import PAGES, ROOT, commands, configs, shell_lines

OF_FIT = "preview", "estimate", "generate", "inspect"  # take keys of fit beside their own flags


class Parsed(Exception):
    pass


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Parse fit's arguments where configs/ and the pages' YAML files are; build nothing."""
    from preflexor_pl.cli.parser import PreferenceCLI

    def keep(cli):
        raise Parsed(cli.config)

    def parsed(args):
        with pytest.raises(Parsed) as caught:
            PreferenceCLI(args, before=keep)
        return caught.value.args[0]

    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for name, text in configs().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for run in ("orpo", "exo"):  # whose config stands for --config
        (tmp_path / "runs" / run).mkdir(parents=True)
        shutil.copy(ROOT / f"configs/{run}.yaml", tmp_path / "runs" / run / "config.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    return parsed


def test_every_line_is_a_command_that_is_tested_here():
    for line in (line for page in PAGES.values() for line in shell_lines(page)):
        ours = re.match(r"(?:python -m preflexor_pl\.|preflexor )(\w+)", line)
        module = re.match(r"python -m (tests|benchmarks)\.([\w.]+)", line)
        if ours:
            assert ours[1] in COMMANDS, line
        elif module:
            assert (ROOT / module[1] / f"{module[2].replace('.', '/')}.py").exists(), line
        else:
            assert line.startswith(("make ", "pip install ")), line


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if commands("fit", text)])
def test_fit_takes_every_call(page, parse):
    for line in commands("fit", PAGES[page]):
        if not re.search("--help|--print_config", line):
            assert parse(shlex.split(line))["model.policy.model_name"], line


@pytest.mark.parametrize("name", OF_FIT)
def test_commands_with_keys_of_fit_take_every_call(name, parse):
    assert commands(name)
    for line in commands(name):
        _, rest = import_module(f"preflexor_pl.{name}")._own_flags().split(shlex.split(line))
        assert parse(rest)["model.policy.model_name"], line


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"fit", "phases", *OF_FIT}))
def test_commands_with_options_of_their_own_take_every_call(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert commands(name)
    for line in commands(name):
        assert import_module(f"preflexor_pl.{name}")._parsed(shlex.split(line)), line


def test_phases_takes_every_call(tmp_path, monkeypatch):
    from preflexor_pl import phases
    from preflexor_pl.core.errors import ConfigError

    monkeypatch.chdir(tmp_path)
    for line in commands("phases"):
        with pytest.raises(ConfigError, match="runs/orpo is no finished run"):
            phases.main(shlex.split(line))


def test_what_the_overrides_do(parse):
    [tuned] = [line for line in commands("fit") if "beta" in line]
    config = parse(shlex.split(tuned))
    assert config["trainer.max_epochs"] == 2
    assert config["model.loss.init_args.beta"] == 0.2
    [masked] = [line for line in commands("fit") if "masking" in line]
    assert parse(shlex.split(masked))["data.masking.init_args.fraction"] == 0.5


def test_a_second_config_lies_over_the_first(parse):
    first = parse(["--config", "configs/orpo.yaml"])
    both = parse(["--config", "configs/orpo.yaml", "--config", "mine.yaml"])
    mine = yaml.safe_load(configs()["mine.yaml"])
    assert both["data.topics"] == mine["data"]["topics"]
    assert both["data.thinking.categories"] == mine["data"]["thinking"]["categories"]
    assert both["data.thinking.sampling"] == first["data.thinking.sampling"]
    assert both["model.policy.lora.rank"] == 8 != first["model.policy.lora.rank"]
    questions = len(both["data.topics"]) * both["data.questions_per_topic"]
    assert questions >= both["data.pairs_per_round"]  # else the data refuse it


def test_a_callback_is_added_to_those_of_the_config(parse):
    config = parse(["--config", "configs/orpo.yaml", "--config", "push.yaml"])
    callbacks = config["trainer.callbacks"]
    names = [callback.class_path.split(".")[-1] for callback in callbacks]
    assert names == ["SampleAnswers", "PushToHub"]
    assert callbacks[1].init_args.repo_id == "owner/name"


def test_every_config_shown_parses(parse):
    assert {"mine.yaml", "push.yaml", "early.yaml", "schedule.yaml", "own.yaml"} == {*configs()}
    for name in configs():
        assert parse(["--config", "configs/orpo.yaml", "--config", name])["run"] == "runs/orpo"


def test_every_make_target_mentioned_is_a_target():
    text = "\n".join(PAGES.values())
    told = set(re.findall(r"(?:^|`|&& |/cpu )make ([\w-]+)", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    assert {"fit", "test", "check", "venv"} <= told
    assert told <= set(targets)
