"""A folder of prompts: what it replaces, and what is refused of it, in one line."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.pairs.prompt_files import (
    BUILT_IN,
    FILES,
    LARGE,
    MAX_BYTES,
    files_of,
    read_prompts,
)
from preflexor_pl.pairs.prompts import Template

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "preflexor_pl/pairs/templates/small"
LARGE_FILES = TEMPLATES.with_name("large")
EXAMPLE = yaml.safe_load((TEMPLATES / "examples.yaml").read_text())[0]


RULING = "{{facts}} {{question}} {{reference}} {{answer}}"


def folder_of(folder, files):
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(data)
    return folder


def examples(**changes):
    return yaml.safe_dump([EXAMPLE | changes])


@pytest.mark.parametrize("folder", [TEMPLATES, LARGE_FILES])
def test_the_built_in_files_are_those_that_can_be_replaced(folder):
    assert {path.name for path in folder.iterdir()} == set(FILES)


@pytest.mark.parametrize(("name", "prompts"), [("small", BUILT_IN), ("large", LARGE)])
def test_a_copy_of_a_set_is_that_set_with_its_stops(tmp_path, name, prompts):
    assert read_prompts(name) == prompts
    for path in (TEMPLATES.parent / name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert read_prompts(tmp_path) == prompts


def test_the_large_set_has_no_examples_and_no_stops():
    assert LARGE.examples == LARGE.critic.examples == ()
    for name, text in files_of(LARGE).items():
        assert "stop:" not in text, name
    assert BUILT_IN.category.stop == (". ", "\n")
    assert BUILT_IN.critic.feedback.stop == ("\n",)


def test_a_folder_names_the_set_that_it_is_based_on(tmp_path):
    made = read_prompts(folder_of(tmp_path, {"ruling.txt": RULING, "base.txt": "large\n"}))
    assert made == replace(LARGE, ruling=Template(RULING))
    (tmp_path / "base.txt").unlink()
    assert read_prompts(tmp_path) == replace(BUILT_IN, ruling=Template(RULING))


def test_a_critics_prompt_is_replaced_like_any_other(tmp_path):
    text = "{{facts}} {{question}} {{answers}} Combine."
    made = read_prompts(folder_of(tmp_path, {"integration.txt": text}))
    assert made.critic == replace(BUILT_IN.critic, integration=Template(text))
    assert replace(made, critic=BUILT_IN.critic) == BUILT_IN
    assert repr(made) == repr(BUILT_IN)  # no pair depends on it


def test_a_folder_called_as_a_set_is_meant_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large").mkdir()
    folder_of(tmp_path / "large", {"ruling.txt": RULING})
    assert read_prompts("large") == LARGE
    assert read_prompts("./large").ruling == Template(RULING)


def test_stops_stand_at_the_head_of_a_file(tmp_path):
    text = '---\nstop: ["END", "\\n\\n"]\n---\n' + RULING
    made = read_prompts(folder_of(tmp_path, {"ruling.txt": text}))
    assert made.ruling == Template(RULING, ("END", "\n\n"))


def test_a_file_replaces_the_built_in_one_and_the_others_stay(tmp_path):
    text = "\ufeffFakten: {{facts}}\r\nFrag nach {{ topic }}: {a} $\\sigma$\r\n\r\n"  # of Windows
    made = read_prompts(folder_of(tmp_path, {"question.txt": text, ".DS_Store": b"\0\xff"}))
    mine = Template("Fakten: {{facts}}\nFrag nach {{ topic }}: {a} $\\sigma$")
    assert made == replace(BUILT_IN, question=mine)
    assert made.ask_question(["F"], "Rost").text == "Fakten: F\nFrag nach Rost: {a} $\\sigma$"


def test_replies_to_a_text_of_ones_own_end_by_themselves(tmp_path):
    text = "{{facts}} {{question}} In three sentences, give {{wanted}}."
    built_in = (TEMPLATES / "answer.txt").read_text()
    made = read_prompts(folder_of(tmp_path, {"category.txt": text, "answer.txt": built_in}))
    assert made.category.stop == ()
    assert made.answer.stop == BUILT_IN.answer.stop == ("\n",)


def test_examples_replace_all_others(tmp_path):
    told = examples(question="Why?", steps=" It {{bends}}.\n", wanted={})
    [made] = read_prompts(folder_of(tmp_path, {"examples.yaml": told})).examples
    assert made == replace(BUILT_IN.examples[0], question="Why?", steps="It {{bends}}.", wanted=())


def test_an_empty_list_gives_no_examples(tmp_path):
    made = read_prompts(folder_of(tmp_path, {"examples.yaml": "[]"}))
    critic = replace(BUILT_IN.critic, examples=())
    assert made == replace(BUILT_IN, examples=(), critic=critic)


def test_a_topic_need_not_be_named(tmp_path):
    made = read_prompts(folder_of(tmp_path, {"question.txt": "{{facts}} Ask."}))
    assert made.ask_question(["F"], "rust").text == "F Ask."


FINE = "{{facts}} {{question}}"
HEAD = "---\nstop: %s\n---\n" + FINE


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds none of question.txt, category.txt, critique.txt"),
        ({"questions.txt": "x"}, r"holds 'questions.txt', .*\(did you mean question.txt\?\)"),
        ({"Answer.md\n\x1b": "x"}, r"holds 'Answer.md\\n\\x1b', .*\(did you mean answer.txt\?\)"),
        ({"answer.txt": FINE}, r"answer.txt lacks \{\{thinking\}\}; there are \{\{facts\}\}, "),
        ({"answer.txt": ""}, r"answer.txt lacks \{\{facts\}\}"),
        (
            {"wrong_answer.txt": f"{FINE} {{{{fact}}}}"},
            r"wrong_answer.txt has '\{\{fact\}\}', .*mean \{\{facts\}\}\?\); "
            r"there are \{\{facts\}\}, \{\{question\}\}; braces that are text need a space",
        ),
        ({"question.txt": "{{facts}} {{reference}}"}, r"question.txt has '\{\{reference\}\}'"),
        ({"answer.txt": "{{facts}}".encode("utf-16")}, "answer.txt is not UTF-8"),
        ({"examples.yaml": b"- \xe9"}, "examples.yaml is not UTF-8"),
        ({"answer.txt": "x" * (MAX_BYTES + 1)}, "answer.txt is longer than 100000 bytes"),
        ({"base.txt": "medium"}, "base.txt must say small or large, got 'medium'"),
        ({"wrong_answer.txt": HEAD % "END"}, "wrong_answer.txt: stop must be a list of texts"),
        ({"wrong_answer.txt": HEAD % "[a, 1]"}, "wrong_answer.txt: stop must be a list of texts"),
        ({"wrong_answer.txt": HEAD % "[a, b, c, d, e]"}, "stop has 5 texts; 4 are possible"),
        ({"wrong_answer.txt": HEAD.replace("stop", "stops") % "[]"}, r"has 'stops', .*mean stop"),
        ({"wrong_answer.txt": f"---\nSay:\n- x: [\n---\n{FINE}"}, "wrong_answer.txt, line "),
        ({"examples.yaml": ""}, r"examples.yaml must be a list of .*; \[\] gives none"),
        ({"examples.yaml": "facts: x"}, "examples.yaml must be a list"),
        ({"examples.yaml": "- a: [b"}, "examples.yaml, line 1: "),
        ({"examples.yaml": "- \x07"}, "examples.yaml is not YAML: "),
        ({"examples.yaml": "[" * 1000}, "examples.yaml is nested too deep"),
        ({"examples.yaml": "- !!python/object:os.x {}"}, "examples.yaml, line 1: "),
        ({"examples.yaml": "- concrete"}, "examples.yaml, example 1 must have facts, question, "),
        ({"examples.yaml": "- facts: x"}, "example 1 lacks question; an example has facts, "),
        ({"examples.yaml": examples(answers="x")}, r"example 1 has 'answers', .* answer\?\)"),
        ({"examples.yaml": examples(wrong=" ")}, "example 1: wrong must be a text, got ' '"),
        ({"examples.yaml": examples(steps=[1])}, r"example 1: steps must be a text, got \[1\]"),
        ({"examples.yaml": examples(ruling="No.")}, "ruling must begin with Right or Wrong"),
        ({"examples.yaml": examples(wanted="x")}, "example 1, wanted must have steps, concepts"),
        ({"examples.yaml": examples(wanted={"step": "x"})}, r"wanted has 'step', .* steps\?\)"),
        ({"examples.yaml": examples(wanted={"steps": None})}, "steps must be a text, got None"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path, files, said):
    with pytest.raises(ConfigError, match=rf"^(data\.prompts: )?{tmp_path}.*{said}") as caught:
        read_prompts(folder_of(tmp_path, files))
    assert "\n" not in str(caught.value)


def test_folders_and_files_are_told_apart(tmp_path):
    (tmp_path / "answer.txt").mkdir()
    with pytest.raises(ConfigError, match=r"data\.prompts: .*answer\.txt is no file"):
        read_prompts(tmp_path)
    with pytest.raises(ConfigError, match=r"nowhere cannot be read \(No such file or directory\)"):
        read_prompts(tmp_path / "nowhere")
    with pytest.raises(
        ConfigError, match=r"test_prompt_files.py cannot be read \(Not a directory\)"
    ):
        read_prompts(Path(__file__))


def test_what_a_run_keeps_reads_as_the_same_prompts(tmp_path):
    told = (
        examples(answer='Caf\u00e9: "a"\n\n<|x|> \\sigma', wrong="\x85\ud800 x"),
        "{{facts}}: ask",
    )
    mine = folder_of(tmp_path, dict(zip(("examples.yaml", "question.txt"), told, strict=True)))
    for number, prompts in enumerate((BUILT_IN, LARGE, read_prompts(mine))):
        kept = tmp_path / str(number)
        kept.mkdir()
        assert read_prompts(folder_of(kept, files_of(prompts))) == prompts


@pytest.mark.parametrize("wrong", ["1e5", "08", "0o17", "off", "1:30"])
def test_a_kept_text_that_looks_like_a_number_stays_a_text(tmp_path, wrong):
    text = examples(wrong="QUOTED").replace("QUOTED", f'"{wrong}"')
    prompts = read_prompts(folder_of(tmp_path, {"examples.yaml": text}))
    (tmp_path / "kept").mkdir()
    assert read_prompts(folder_of(tmp_path / "kept", files_of(prompts))) == prompts


def test_a_wheel_has_the_built_in_files(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("preflexor_pl", "losses"):
        (tmp_path / name).symlink_to(ROOT / name)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    wheel = zipfile.ZipFile(tmp_path / done.stdout.split()[-1])
    for path in (folder / name for folder in (TEMPLATES, LARGE_FILES) for name in FILES):
        assert wheel.read(str(path.relative_to(ROOT))) == path.read_bytes()
