"""README and CONTRIBUTING say what is so: commands, keys, trees, links, printed numbers."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import networkx
import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIT = "python -m preflexor_pl.fit"


def blocks(language, text=README):
    return [body for name, body in BLOCK.findall(text) if name == language]


def block_with(language, part):
    [found] = [body for body in blocks(language) if part in body]
    return found


def fit_commands():
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line.removeprefix(FIT) for line in lines if line.startswith(FIT)]


def python(*args, cwd):
    done = subprocess.run(
        [sys.executable, *args], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Parse a command's arguments where configs/ and the README's mine.yaml are; build nothing."""
    from preflexor_pl.cli.parser import PreferenceCLI, default_run

    class Parsed(Exception):
        pass

    def keep(cli):
        raise Parsed(cli.config)

    def parsed(line):
        args = shlex.split(line, comments=True)
        with pytest.raises(Parsed) as caught:
            PreferenceCLI(args, default_run(args), before=keep)
        return caught.value.args[0]

    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for name in ("mine", "push"):
        text = block_with("yaml", f"# {name}.yaml")
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    return parsed


# Commands


def test_print_config_runs():
    command = "-m preflexor_pl.fit --config configs/orpo.yaml --print_config"
    assert f"{FIT} --config configs/orpo.yaml --print_config" in README
    printed = yaml.safe_load(python(*command.split(), cwd=ROOT))
    assert printed["run"] == "runs/orpo"


def test_every_command_of_a_verb_with_options_of_its_own_parses(monkeypatch):
    from preflexor_pl import dataset, doctor, evaluate, reason

    monkeypatch.chdir(ROOT)
    lines = "".join(blocks("bash")).splitlines()
    for module in (dataset, doctor, evaluate, reason):
        begin = f"python -m {module.__name__} "
        commands = [line.removeprefix(begin) for line in lines if line.startswith(begin)]
        assert commands
        for line in commands:
            assert module._parsed(shlex.split(line.split(" > ")[0], comments=True))


def test_every_command_with_keys_of_fit_and_flags_of_its_own_parses(parse):
    from preflexor_pl import estimate, generate, preview

    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    for module in (preview, estimate, generate):
        begin = f"python -m {module.__name__} "
        commands = [line.removeprefix(begin) for line in lines if line.startswith(begin)]
        assert commands
        for line in commands:
            _, rest = module._own_flags().split(shlex.split(line, comments=True))
            assert parse(shlex.join(rest))["model.policy.model_name"], line


def test_every_fit_command_parses(parse):
    commands = [line for line in fit_commands() if not re.search("--help|--print_config", line)]
    assert len(commands) >= 8
    for line in commands:
        assert parse(line)["model.policy.model_name"], line


def test_what_the_overrides_do(parse):
    [tuned] = [line for line in fit_commands() if "beta" in line]
    config = parse(tuned)
    assert config["trainer.max_epochs"] == 2
    assert config["model.loss.init_args.beta"] == 0.2
    [masked] = [line for line in fit_commands() if "masking" in line]
    assert parse(masked)["data.masking.init_args.fraction"] == 0.5


def test_a_second_config_lies_over_the_first(parse):
    first = parse("--config configs/orpo.yaml")
    both = parse("--config configs/orpo.yaml --config mine.yaml")
    mine = yaml.safe_load(block_with("yaml", "# mine.yaml"))
    assert both["data.topics"] == mine["data"]["topics"]
    assert both["data.thinking.categories"] == mine["data"]["thinking"]["categories"]
    assert both["data.thinking.sampling"] == first["data.thinking.sampling"]
    assert both["model.policy.lora.rank"] == 8 != first["model.policy.lora.rank"]
    questions = len(both["data.topics"]) * both["data.questions_per_topic"]
    assert questions >= both["data.pairs_per_round"]  # else the data refuse it


def test_a_callback_is_added_to_those_of_the_config(parse):
    callbacks = parse("--config configs/orpo.yaml --config push.yaml")["trainer.callbacks"]
    names = [callback.class_path.split(".")[-1] for callback in callbacks]
    assert names == ["SampleAnswers", "PushToHub"]
    assert callbacks[1].init_args.repo_id == "owner/name"


def test_every_key_mentioned_is_a_key(parse):
    keys = re.findall(r"`((?:model|data|trainer)\.[\w.]+)`", README + CONTRIBUTING)
    config = parse("--config configs/orpo.yaml")
    assert len(keys) >= 4
    assert [key for key in keys if key not in config] == []


def test_every_make_target_mentioned_is_a_target():
    told = set(re.findall(r"(?:^|`|&& |/cpu )make (\w+)", README + CONTRIBUTING, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^(\w+):", makefile, re.MULTILINE)
    assert {"fit", "test", "check", "venv"} <= told
    assert told <= set(targets)


# Files


def tree_paths():
    folder = ""
    for line in block_with("text", "constraints.txt").splitlines():
        name = line.split()[0]
        if line.endswith("/"):
            folder = name
        yield (folder if line.startswith(" ") else "") + name


def test_every_file_in_the_tree_exists():
    assert [path for path in tree_paths() if not (ROOT / path).exists()] == []


def test_everything_in_the_package_is_in_the_tree():
    package = ROOT / "preflexor_pl"
    there = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    there |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert there == {path.partition("/")[2] for path in tree_paths() if "preflexor_pl/" in path} - {
        ""
    }


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README + CONTRIBUTING)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_no_number_is_left_to_fill_in():
    """What stands in two pairs of braces is a placeholder of a prompt."""
    from preflexor_pl.pairs.prompt_files import BUILT_IN, files_of

    place = re.compile(r"\{\{(.*?)\}\}")
    assert {*place.findall(README)} <= {*place.findall("".join(files_of(BUILT_IN).values()))}


def test_the_prompt_shown_can_be_asked(tmp_path):
    from preflexor_pl.pairs.prompt_files import read_prompts

    (tmp_path / "category.txt").write_text(block_with("text", "{{wanted}}"), encoding="utf-8")
    asked = read_prompts(tmp_path).ask_category(["Facts."], "Why?", "the evidence").text
    assert asked.startswith("Facts.\n\n")
    assert "give the evidence" in asked


# Python


def test_the_losses_example_prints_its_numbers(tmp_path):
    example = block_with("python", "EXOLoss(")
    script = tmp_path / "example.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{example}")
    printed = [float(n) for n in re.findall(r"tensor\(([\d.]+)\)", python(script, cwd=tmp_path))]
    told = [float(number) for number in re.findall(r"# ([\d.]+)$", example, re.MULTILINE)]
    assert len(told) == 3
    assert printed == pytest.approx(told, abs=1e-4)


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
    code = block_with("python", "trainer.fit(")
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}")
    assert "'train/nll'" in python(script, cwd=tmp_path)
    run = tmp_path / "runs" / "script"
    made = [yaml.safe_load(path.read_text()) for path in sorted(run.glob("rounds/*/manifest.json"))]
    assert [round["policy_step"] for round in made] == [0, 1]
    assert [round["pairs"] for round in made] == [2, 2]
    assert (run / "adapter" / "adapter_model.safetensors").exists()

    code = block_with("python", "Reasoner(").replace("runs/exo", "runs/script")
    code = code.replace("iterations=2", "iterations=1")
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}")
    told = python(script, cwd=tmp_path)
    assert "# Why is nacre tough?" in told
    assert "## 1: rewrite" in told


def test_the_facts_in_writing_are_those_of_the_committed_results():
    from scipy.stats import fisher_exact

    from preflexor_pl.evaluation.text_metrics import wilson_interval

    found = {}
    for seed in (0, 1):
        results = json.loads((ROOT / f"benchmarks/results/evaluation-seed-{seed}.json").read_text())
        for row in results["rows"]:
            if row["stage"] != "0":
                continue
            kinds = [m for k, m in row["measures"].items() if k.endswith(("/short", "/choice"))]
            hits = sum(round(m["value"] * m["n"]) for m in kinds)
            n = sum(m["n"] for m in kinds)
            assert n == 60
            low, high = wilson_interval(hits, n)
            cell = f"| {100 * hits / n:.0f} % [{100 * low:.0f}, {100 * high:.0f}] |"
            [table] = [part for part in README.split("\n\n") if part.startswith(f"| seed {seed} ")]
            assert any(cell in line for line in table.split("\n")), (seed, row["model"], cell)
            found[row["model"]] = found.get(row["model"], 0) + hits
    prose = " ".join(README.split())
    said = (
        "Of 120 over both seeds the base answers {base}, phase I {orpo}, phase II {exo} and phase "
        "III {reflect}"
    )
    assert said.format(**found) in prose
    base, *phases = (found[name] for name in ("base", "orpo", "exo", "reflect"))
    p = [fisher_exact([[base, 120 - base], [hits, 120 - hits]]).pvalue for hits in phases]
    assert [round(p[0], 2), round(p[1], 2), round(p[2], 5)] == [0.03, 0.08, 0.00015]
    assert "p = .03, .08 and .00015" in prose
