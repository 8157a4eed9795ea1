"""The training command from its first check to its exit code, without a subprocess."""

import signal
import sys
from pathlib import Path

import pytest
import yaml

from preflexor_pl.cli import entry
from preflexor_pl.core import errors
from preflexor_pl.pairs.prompt_files import FILES
from tests.tiny import refused

ROOT = Path(__file__).parents[2]


def test_an_empty_corpus(train, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(train("--data.corpus", "empty"), 3, "data.corpus", "empty")
    (tmp_path / "empty/a.pdf").write_bytes(b"%PDF")
    refused(train("--data.corpus", "empty"), 3, ".pdf")


def test_a_mistake_can_be_mended_and_the_command_repeated(train, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(train("--data.corpus", "empty"), 3, "data.corpus")
    refused(
        train("--data.held_out", "3"), 2, "data.held_out", "of 3"
    )  # not: begun with other settings


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"\x80\x04."])
def test_a_checkpoint_that_cannot_be_read(train, tmp_path, content):
    (tmp_path / "bad.ckpt").write_bytes(content)
    refused(train("--ckpt_path", "bad.ckpt"), 2, "ckpt_path", "bad.ckpt")


def test_a_teacher_without_one_usable_question(train, tmp_path):
    short = "--data.teacher.question.max_new_tokens=1"  # one letter is no question
    told = train("--data.topics=2", "--data.pairs_per_round=2", short)
    refused(told, 3, "no pair came out", "question")
    assert not list(tmp_path.glob("runs/*/rounds/*/manifest.json"))


def test_a_finished_run_says_so_and_other_settings_are_refused(train, tmp_path):
    folder = tmp_path / "runs/ok"
    folder.mkdir(parents=True)
    (folder / "finished.json").write_text('{"epochs": 6}')
    (folder / "rounds").mkdir()
    code, stdout, stderr = train()
    assert (code, stderr) == (0, "")
    assert "runs/ok is finished" in stdout
    changed = train("--data.pairs_per_round", "7", "--model.loss.beta", "0.3")
    refused(changed, 2, "data.pairs_per_round (32 -> 7)", "model.loss.init_args.beta (0.1 -> 0.3)")
    assert train("--trainer.max_epochs", "5")[0] == 0


def test_prompts_that_cannot_work_are_refused_before_anything_loads(train, tmp_path):
    refused(train("--data.prompts", "mine"), 2, "data.prompts", "mine", "No such file")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/question.txt").write_text("{{facts}} Ask about {{topics}}.")
    refused(train("--data.prompts", "mine"), 2, "data.prompts", "question.txt", "{{topic}}")
    (tmp_path / "mine/question.txt").write_text("{{facts}} Ask.")
    topics = "--data.topics", "[rust, fatigue]", "--data.questions_per_topic", "16"
    refused(train("--data.prompts", "mine", *topics), 2, "data.topics", "question.txt")
    assert not (tmp_path / "runs").exists()  # which is made before corpus and model are read


def test_prompts_that_were_edited_are_not_mixed_with_those_of_earlier_rounds(train, tmp_path):
    (tmp_path / "mine").mkdir()
    text = tmp_path / "mine/question.txt"
    text.write_text("{{facts}} Ask.")
    folder = tmp_path / "runs/ok"
    folder.mkdir(parents=True)
    (folder / "finished.json").write_text('{"epochs": 6}')
    assert train("--data.prompts", "mine")[0] == 0
    assert (folder / "prompts/question.txt").read_text() == "{{facts}} Ask.\n"
    assert {path.name for path in (folder / "prompts").iterdir()} == {*FILES}
    (folder / "rounds").mkdir()
    assert train("--data.prompts", "mine")[0] == 0
    text.write_text("{{facts}} Ask, please.")
    refused(train("--data.prompts", "mine"), 2, "runs/ok", "other prompts: question.txt", "--fresh")


@pytest.mark.parametrize("config", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_print_config_shows_a_config_that_can_be_used(train, config, capfd):
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            train(
                "--print_config",
                "--data.held_out=3",
                "--model.policy.dtype=auto",  # an overlay may leave the policy out
                text=config.read_text(),
            )
        assert ended.value.code == 0
        shown = yaml.safe_load(capfd.readouterr().out)
        assert shown["data"]["held_out"] == 3
        lora = shown["model"]["policy"]["lora"]
        assert lora is None or lora["dropout"] == 0
        config = Path("shown.yaml")
        config.write_text(yaml.safe_dump(shown))


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (errors.ConfigError("data.x:\n  wrong"), 2, "error: data.x: wrong"),
        (errors.CorpusError("x"), 3, "error: x"),
        (errors.TeacherError("x"), 4, "error: x"),
        (errors.NumericalError("x"), 5, "error: x"),
        (errors.ResourceError("x"), 6, "error: x"),
        (
            OSError(28, "No space left on device", "a.csv"),
            6,
            "error: No space left on device: a.csv",
        ),
        (OSError("there is no card here"), 6, "error: there is no card here"),
        (OSError(), 6, "error: OSError"),
        (errors.Stopped(signal.SIGTERM), 143, "stopped by SIGTERM: the same command goes on"),
        (errors.Stopped(signal.SIGINT), 130, "stopped by SIGINT: the same command goes on"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT"),
    ],
)
def test_exit_codes(monkeypatch, capsys, raised, code, line):
    def main(args):
        raise raised

    monkeypatch.setattr(sys, "argv", ["fit"])
    assert entry.guarded(main) == code
    stderr = capsys.readouterr().err
    assert stderr.startswith(line)
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr


def test_debug_shows_where_it_happened(train):
    code, _, stderr = train("--data.corpus", "none", "--debug")
    assert code == 2
    assert "Traceback" in stderr
    assert stderr.splitlines()[-1].startswith("error: data.corpus")
