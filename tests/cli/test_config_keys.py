"""A misspelt key at any depth is answered with the nearest one."""

import pytest
import yaml
from jsonargparse import ArgumentParser

from losses import DPOLoss, PreferenceLoss
from preflexor_pl.cli.config_keys import ConfigKeys
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import PolicySettings
from tests.tiny import refused

MISSPELT = {
    "data.corpuss": "data.corpus",
    "trainer.max_epoch": "trainer.max_epochs",
    "modle.lr": "model.lr",
    "lr": "model.lr",
    "data.lr": "model.lr",
    "model.policy.modelname": "model.policy.model_name",
    "model.policy.lora.rnk": "model.policy.lora.rank",
    "model.loss.init_args.betta": "model.loss.init_args.beta",
    "data.teacher.sampling.temprature": "data.teacher.question.temperature",
    "data.teacher.question.temprature": "data.teacher.question.temperature",
    "data.teacher.server.base_ulr": "data.teacher.server.base_url",
    "data.thinking.sampling.temperatur": "data.thinking.sampling.temperature",  # not: taken for it
    "data.judge.server.mdoel": "data.judge.server.model",
}


@pytest.mark.parametrize(("key", "nearest"), MISSPELT.items())
def test_on_the_command_line(train, key, nearest):
    refused(train(f"--{key}=1"), 2, f"--{key} is no key: did you mean --{nearest}?")
    refused(train(f"--{key}", "1"), 2, f"--{key} is no key: did you mean --{nearest}?")


@pytest.mark.parametrize(("key", "nearest"), MISSPELT.items())
def test_in_a_file(train, key, nearest):
    tree = yaml.safe_load(train.ok)
    *groups, last = key.split(".")
    node = tree
    for group in groups:
        node = node.setdefault(group, {})
    node[last] = 1
    refused(
        train(text=yaml.safe_dump(tree)), 2, f"mine.yaml: {key} is no key: did you mean {nearest}?"
    )


def test_beside_a_class_path_and_in_its_short_form(train):
    refused(train("--model.loss.betta=1"), 2, "did you mean --model.loss.beta?")
    text = train.ok.replace(
        "class_path: losses.ORPOLoss", "class_path: losses.ORPOLoss\n    beta: 1"
    )
    refused(
        train(text=text), 2, "model.loss.beta is no key", "did you mean model.loss.init_args.beta?"
    )
    callbacks = "[{class_path: preflexor_pl.callbacks.SampleAnswers, init_args: {promts: []}}]"
    refused(
        train(f"--trainer.callbacks={callbacks}"),
        2,
        "--trainer.callbacks[0].init_args.promts",
        "did you mean --trainer.callbacks[0].init_args.prompts?",
    )


def test_nothing_is_near(train):
    refused(train("--data.xyzzy=1"), 2, "--data.xyzzy is no key: --help_all lists the keys")


@pytest.fixture
def keys():
    parser = ArgumentParser()
    parser.add_argument("--loss", type=PreferenceLoss)
    parser.add_argument("--policy", type=PolicySettings | None)
    parser.add_argument("--free", type=dict[str, int])
    return ConfigKeys(parser)


def test_the_class_that_was_named_last_says_which_keys_there_are(keys):
    keys.check({"loss.whatever": 1})  # no class is named: nothing is known of it
    keys.check({"loss": {"class_path": "losses.DPOLoss"}})
    keys.check({"loss.label_smoothing": 0.1})
    keys.check({"loss": "ORPOLoss"})
    with pytest.raises(ConfigError, match=r"loss\.label_smoothing is no key"):
        keys.check({"loss.label_smoothing": 0.1})
    assert DPOLoss(label_smoothing=0.1)


def test_what_is_no_class_has_any_key(keys):
    keys.check({"free": {"a.b": 1, "c": 2}, "policy": None})
    keys.check({"policy": {"lora": {"rank": 1}}, "policy.lora.alpha": 2})
    keys.check({"policy": {"lora": {"target_modules+": "q_proj"}}})  # + adds to a list


def test_nothing_is_imported(keys, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    keys.check({"loss": {"class_path": "evil_module.Loss", "init_args": {"x": 1}}})


def test_a_key_that_adds_to_a_list_is_that_list():
    parser = ArgumentParser()
    parser.add_argument("--names", type=list[str])
    parser.add_argument("--group.names", type=list[str])
    keys = ConfigKeys(parser)
    keys.check({"names+": ["a"], "group": {"names+": ["b"]}})
    with pytest.raises(ConfigError, match="nmes is no key: did you mean names"):
        keys.check({"nmes+": ["a"]})
