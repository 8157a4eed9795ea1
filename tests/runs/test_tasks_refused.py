"""A task that cannot be had is refused in one line, before any weights load."""

import pytest
import yaml

from preflexor_pl import fit
from tests.small_task import in_folder, run_verb
from tests.tiny import refused

BANK = "preflexor_pl.tasks.QuestionBank"
MULTI_HOP = "preflexor_pl.tasks.MultiHop"


@pytest.fixture
def told(tmp_path, model_folder, monkeypatch, capfd):
    """``told(task)`` gives (exit code, stdout, stderr) of a training with ``data.task`` as that."""

    def refuse(*args):
        pytest.fail("a model was loaded")

    monkeypatch.setattr("preflexor_pl.policy.policy.load_base", refuse)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", refuse)

    def told(task):
        path = tmp_path / "sums.yaml"
        config = yaml.safe_load(path.read_text())
        config["data"]["task"] = task
        path.write_text(yaml.safe_dump(config))
        capfd.readouterr()
        return run_verb(fit), *capfd.readouterr()

    with in_folder(tmp_path, model_folder):
        yield told


@pytest.mark.parametrize(
    ("task", "named"),
    [
        ("none.jsonl", ["data.task: there is no 'none.jsonl'"]),
        ("bank.txt.gz", ["data.task: bank.txt.gz must be one of .jsonl"]),
        (MULTI_HOP, [f"there is no '{MULTI_HOP}'", "name a class as data.task.class_path"]),
        (5, ["data.task: Does not implement protocol Task, got 5"]),
        ({"class_path": "no.such.Module"}, ["data.task: ", "No module named 'no'"]),
        ({"class_path": "tests.small_task.No"}, ["data.task: ", "has no attribute 'No'"]),
        ({"class_path": "subprocess.Popen"}, ["data.task: ", "does not implement protocol Task"]),
        ({"class_path": BANK}, ["data.task: ", "required: source"]),
        (
            {"class_path": BANK, "init_args": {"source": "none.jsonl"}},
            ["data.task: there is no 'none.jsonl'"],
        ),
        (
            {"class_path": MULTI_HOP, "init_args": {"hops": [9]}},
            ["data.task.hops: got (9,), must be some of 1, 2, 3"],
        ),
        (
            {"class_path": MULTI_HOP, "init_args": {"hop": [1]}},
            ["data.task.init_args.hop is no key: did you mean data.task.init_args.hops?"],
        ),
        (
            {"class_path": "tests.small_task.Sums", "init_args": {"guesses": "perhaps"}},
            ["data.task.guesses", "Expected a <class 'bool'>", "perhaps"],
        ),
    ],
    ids=str,
)
def test_a_task_that_cannot_be_had(told, tmp_path, task, named):
    (tmp_path / "bank.txt.gz").write_bytes(b"\x1f\x8b")
    refused(told(task), 2, *named)
    assert not (tmp_path / "runs").exists()


def test_a_bank_that_cannot_be_read(told, tmp_path):
    bank = tmp_path / "bank.jsonl"
    for text, named in (
        ('{"question": ', "bank.jsonl:1 is not JSON"),
        ('{"question": "How many?"}', "bank.jsonl:1 is no question: it has no answer"),
        ("", "there is not one row in bank.jsonl"),
    ):
        bank.write_text(text)  # what is read as YAML would be none, a text or an object
        refused(told("bank.jsonl"), 3, f"data.task: {named}")
