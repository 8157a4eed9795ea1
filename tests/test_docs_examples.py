"""The examples of the pages run, and their figures are those of the committed results."""

import json
import re
import shutil
import subprocess
import sys
from decimal import ROUND_HALF_UP, Decimal

import networkx
import pytest
import yaml

from tests.doc_pages import EVERYTHING, PAGES, ROOT, block_with, blocks

PATH = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"


def python(*args, cwd):
    done = subprocess.run(
        [sys.executable, *args], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_print_config_runs():
    command = "python -m preflexor_pl.fit --config configs/orpo.yaml --print_config"
    assert command in EVERYTHING
    printed = yaml.safe_load(python(*command.split()[1:], cwd=ROOT))
    assert printed["run"] == "runs/orpo"


def test_every_example_compiles_and_imports_what_is_there():
    for example in blocks("python"):
        compile(example, "example", "exec")
        imports = re.findall(
            r"^(?:from (?:losses|preflexor_pl).* )?import .*$", example, re.MULTILINE
        )
        for line in imports:
            exec(line, {})


def test_no_number_is_left_to_fill_in():
    """What stands in two pairs of braces is a placeholder of a prompt."""
    from preflexor_pl.pairs.prompt_files import BUILT_IN, files_of

    place = re.compile(r"\{\{(.*?)\}\}")
    known = {*place.findall("".join(files_of(BUILT_IN).values()))}
    assert {*place.findall(EVERYTHING)} <= known


def test_the_prompt_shown_can_be_asked(tmp_path):
    from preflexor_pl.pairs.prompt_files import read_prompts

    (tmp_path / "category.txt").write_text(block_with("text", "{{wanted}}"), encoding="utf-8")
    asked = read_prompts(tmp_path).ask_category(["Facts."], "Why?", "the evidence").text
    assert asked.startswith("Facts.\n\n")
    assert "give the evidence" in asked


def test_the_losses_example_prints_its_numbers(tmp_path):
    example = block_with("python", "EXOLoss(")
    script = tmp_path / "example.py"
    script.write_text(PATH + example)
    printed = [float(n) for n in re.findall(r"tensor\(([\d.]+)\)", python(script, cwd=tmp_path))]
    told = [float(number) for number in re.findall(r"# ([\d.]+)$", example, re.MULTILINE)]
    assert len(told) == 3
    assert printed == pytest.approx(told, abs=1e-4)


def test_the_bank_shown_is_one_and_its_check_decides(tmp_path, monkeypatch):
    from preflexor_pl.tasks import QuestionBank

    monkeypatch.setattr("preflexor_pl.tasks.user_check.module_path", [str(tmp_path)])
    (tmp_path / "my_checks.py").write_text(block_with("python", "def is_prime"))
    (tmp_path / "questions.jsonl").write_text(block_with("jsonl", "my_checks:is_prime"))
    [settings] = [
        made["data"]["task"]["init_args"]
        for made in map(yaml.safe_load, blocks("yaml", PAGES["docs/tasks.md"]))
        if "init_args" in made["data"]["task"]
    ]
    settings |= {"source": str(tmp_path / "questions.jsonl"), "worked": 0}
    bank = QuestionBank(**settings)
    items = [item for split in ("train", "held_out") for item in bank.items(split, 1, 0, 9)]
    [prime] = [item for item in items if "prime" in item.question]
    said = {"13": "right", "7": "wrong", "15": "wrong", "thirteen": "unreadable"}
    assert {answer: bank.check(prime, answer) for answer in said} == said
    assert {bank.check(item, item.answer) for item in items} == {"right"}


def test_the_task_shown_is_one_and_keeps_its_splits_apart(tmp_path, monkeypatch):
    from jsonargparse import ArgumentParser

    from preflexor_pl.tasks import Task

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_tasks.py").write_text(block_with("python", "class Sums"))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--task", type=Task)
    parsed = parser.parse_object({"task": {"class_path": "my_tasks.Sums"}})
    task = parser.instantiate(parsed).task
    for level in task.levels:
        train, held = (task.items(split, level, 0, 500) for split in ("train", "held_out"))
        assert not {item.id for item in train} & {item.id for item in held}
        assert {task.check(item, item.answer) for item in [*train, *held]} == {"right"}
        assert task.items("train", level, 1, 2) == train[1:3]


def test_the_graph_example_prints_the_best_connected(tmp_path):
    made = networkx.Graph([("pair:0", "a.md#0"), ("pair:0", "b.md#0")])
    networkx.set_node_attributes(made, {"pair:0": {"question": "Why?"}})
    path = tmp_path / "runs/orpo/graph/graph.graphml"
    path.parent.mkdir(parents=True)
    networkx.write_graphml(made, path)
    printed = python("-c", block_with("python", "read_graphml"), cwd=tmp_path)
    assert printed.startswith("[{'question': 'Why?'}")


@pytest.mark.slow
def test_the_scripts_train_two_rounds_and_reason(tmp_path):
    shutil.copytree(ROOT / "corpus", tmp_path / "corpus")
    script = tmp_path / "script.py"
    script.write_text(PATH + block_with("python", "trainer.fit("))
    assert "'train/nll'" in python(script, cwd=tmp_path)
    run = tmp_path / "runs" / "script"
    made = [yaml.safe_load(path.read_text()) for path in sorted(run.glob("rounds/*/manifest.json"))]
    assert [round["policy_step"] for round in made] == [0, 1]
    assert [round["pairs"] for round in made] == [2, 2]
    assert (run / "adapter" / "adapter_model.safetensors").exists()

    code = block_with("python", "Reasoner(").replace("runs/exo", "runs/script")
    script.write_text(PATH + code.replace("iterations=2", "iterations=1"))
    told = python(script, cwd=tmp_path)
    assert "# Why is nacre tough?" in told
    assert "## 1: rewrite" in told


def _facts_in_writing(seed, text):
    """Hits of each model over 60 items; each must stand in the seed's table."""
    from preflexor_pl.evaluation.text_metrics import wilson_interval

    path = ROOT / f"benchmarks/results/evaluation-seed-{seed}.json"
    [table] = [part for part in text.split("\n\n") if part.startswith(f"| seed {seed} ")]
    found = {}
    for row in json.loads(path.read_text())["rows"]:
        if row["stage"] != "0":
            continue
        kinds = [m for k, m in row["measures"].items() if k.endswith(("/short", "/choice"))]
        hits = sum(round(m["value"] * m["n"]) for m in kinds)
        assert sum(m["n"] for m in kinds) == 60
        low, high = wilson_interval(hits, 60)
        cell = f"| {100 * hits / 60:.0f} % [{100 * low:.0f}, {100 * high:.0f}] |"
        assert any(cell in line for line in table.split("\n")), (seed, row["model"], cell)
        found[row["model"]] = hits
    return found


def test_the_facts_in_writing_are_those_of_the_committed_results():
    from scipy.stats import fisher_exact

    text = PAGES["docs/evaluation.md"]
    first, second = (_facts_in_writing(seed, text) for seed in (0, 1))
    found = {name: first[name] + second[name] for name in first}
    said = (
        "Of 120 over both seeds the base answers {base}, phase I {orpo}, phase II {exo} and phase "
        "III {reflect}"
    )
    assert said.format(**found) in " ".join(text.split())
    base, *phases = (found[name] for name in ("base", "orpo", "exo", "reflect"))
    p = [fisher_exact([[base, 120 - base], [hits, 120 - hits]]).pvalue for hits in phases]
    assert [round(p[0], 2), round(p[1], 2), round(p[2], 5)] == [0.03, 0.08, 0.00015]
    assert "p = .03, .08 and .00015" in text
    readme = " ".join(PAGES["README.md"].split())
    assert f"of 120 factual questions the base answers {base} in writing" in readme
    assert f"the trained models {min(phases)} to {max(phases)}" in readme


def _rounded(number, digits):
    return str(Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def test_ratios_against_trl_are_those_of_the_benchmarks():
    """The page rounds what benchmarks/README.md has, whose tables are made from the results."""
    table = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    measured = [
        (f"{_rounded(a, 1)} ({_rounded(b, 1)} to {_rounded(c, 1)})", _rounded(m, 2))
        for a, b, c, m in re.findall(
            r"dpo \w+ lora, packed \| \*\*([\d.]+)\*\* \(([\d.]+) to ([\d.]+)\) \| \*\*([\d.]+)",
            table,
        )
    ]
    rows = [line for line in PAGES["docs/performance.md"].splitlines() if "float" in line[:60]]
    told = [tuple(cell.strip() for cell in line.split("|")[3:5]) for line in rows if line[0] == "|"]
    assert len(told) == 4
    assert sorted(told) == sorted(measured)
