"""What ``python -m preflexor_pl.reason`` refuses, in one line, and its help."""

import io
import subprocess
import sys
from functools import partial

import pytest

from preflexor_pl import reason
from preflexor_pl.export import export
from tests.run_helpers import leave_run
from tests.tiny import refused, tiny_policy

SHORT = ["--dtype", "float32", "--max_new_tokens", "24", "--iterations", "0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_folder):
    return leave_run(tmp_path_factory.mktemp("runs") / "one", tiny_policy(model_folder))


@pytest.fixture
def call(run_command):
    """``call(*args)`` gives (exit code, stdout, stderr)."""
    return partial(run_command, reason)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ([], ["give one of: a question, --file, --chat"]),
        (["Why?", "--chat"], ["give one of"]),
        (["Why?", "--file", "asked.txt"], ["give one of"]),
        (["--file", "asked.txt", "--chat"], ["give one of"]),
        ([" "], ["the question is empty"]),
        (["--file", "none.txt"], ["--file: none.txt cannot be read", "No such file"]),
        (["--file", "."], ["--file: . cannot be read"]),
        (["--file", "empty.txt"], ["empty.txt is empty"]),
        (["--file", "latin.txt"], ["latin.txt cannot be read", "utf-8"]),
        (["Why?", "--iterations", "-1"], ["--iterations: got -1", ">= 0"]),
        (["Why?", "--iterations", "two"], ["--iterations", "'two'"]),
        (["Why?", "--context", "-1"], ["--context: got -1"]),
        (["Why?", "--temperature", "-1"], ["--temperature: got -1"]),
        (["Why?", "--critic_temperature", "nan"], ["--critic_temperature: got nan"]),
        (["Why?", "--max_new_tokens", "0"], ["--max_new_tokens: got 0"]),
        (["Why?", "--critic_max_new_tokens", "0"], ["--critic_max_new_tokens: got 0"]),
        (["Why?", "--batch_size", "0"], ["--batch_size: got 0"]),
        (["Why?", "--variant", "both"], ["--variant", "both"]),
        (["Why?", "--prompts", "medium"], ["--prompts: medium cannot be read", "small, large, or"]),
        (["Why?", "--out", "kept.txt"], ["--out: kept.txt must end in .json, .jsonl or .md"]),
        (["--chat", "--json"], ["--chat goes with neither"]),
        (["--chat", "--out", "kept.md"], ["--chat goes with neither"]),
        (["Why?", "--iter", "1"], ["--iter", "--help"]),
        (["Why?", "--run", "./none"], ["--run: there is no folder './none'"]),
        (["Why?", "--run", "begun"], ["begun is a run that is not finished"]),
        (["Why?", "--run", "exported", "--context", "1"], ["exported is no run with a graph"]),
    ],
    ids=lambda value: " ".join(value) if len(value) != 1 else "",
)
def test_a_mistake_is_one_line_before_anything_loads(call, run, tmp_path, monkeypatch, args, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asked.txt").write_text("Why?")
    (tmp_path / "empty.txt").write_bytes(b"\xef\xbb\xbf\n \n")
    (tmp_path / "latin.txt").write_bytes("Wofür?".encode("latin-1"))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/config.yaml").write_text("run: begun\n")
    if "exported" in args:
        export(run, tmp_path / "exported", "float32")
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained",
        lambda *args, **options: pytest.fail("a model was loaded"),
    )
    there = sorted(tmp_path.rglob("*"))
    refused(call("--run", run, *args), 2, *named)
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("option", ["--critic", "--judge"])
def test_an_unknown_helper_is_named_by_its_option(call, run, option):
    refused(
        call("Why?", "--run", run, option, "./none", *SHORT), 2, f"{option}: there is no folder"
    )


@pytest.mark.parametrize(
    ("server", "named"),
    [
        ("m@http://", "base_url"),
        ("m@http://u:secret@host/v1", "base_url"),
        ("@http://host/v1", "model"),
        ("m@http://host/v1", "NO_SUCH_KEY"),
    ],
)
def test_a_server_that_cannot_be_asked_is_refused_before_a_model_loads(
    call, run, server, named, monkeypatch
):
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained",
        lambda *args, **options: pytest.fail("a model was loaded"),
    )
    done = call("Why?", "--run", run, "--judge", server, "--key_env", "NO_SUCH_KEY", *SHORT)
    refused(done, 2, "--judge", named)
    assert "secret" not in done[2]


def test_a_question_that_is_too_long(call, run):
    done = call("Why " * 1500, "--run", run, *SHORT)
    refused(done, 2, "1 of 1 questions are longer than the model can read", "shorten them")


def test_a_chat_that_is_not_in_utf8(call, run, monkeypatch):
    typed = io.TextIOWrapper(io.BytesIO("Wofür?\n".encode("latin-1")), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", typed)
    refused(call("--chat", "--run", run, *SHORT), 2, "--chat: a question is not in UTF-8")


def test_what_cannot_be_written_is_said(call, run, tmp_path):
    (tmp_path / "file").write_text("")
    refused(call("Why?", "--run", run, "--out", tmp_path / "file/kept.md", *SHORT), 6, "file")


def test_a_model_must_be_named(call):
    refused(call("Why?"), 2, "--run/--model")


def test_help_loads_nothing_heavy():
    code = """
import sys
from preflexor_pl.reason import main
try:
    main(["--help"])
except SystemExit as ended:
    heavy = {"torch", "transformers", "peft", "lightning", "numpy", "rich"} & sys.modules.keys()
    sys.exit(f"loaded {heavy}" if heavy else ended.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--thinking_prefix TEXT" in done.stdout
