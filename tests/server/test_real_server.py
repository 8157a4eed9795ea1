"""A real server: ``transformers serve`` of the packaged model, in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import PolicySettings, Sampling
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.policy.model_source import find_model
from preflexor_pl.server.generator import RemoteGenerator

UP_SECONDS = 240


@pytest.fixture
def served(tmp_path):
    """Settings of a server that is up."""
    pytest.importorskip("uvicorn", reason="pip install -e '.[dev]'")
    folder = find_model(PolicySettings().model_name).location
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [str(Path(sys.executable).with_name("transformers")), "serve", folder]
    command += ["--device", "cpu", "--dtype", "bfloat16", "--port", port]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, tmp_path / "log")
        url = f"http://127.0.0.1:{port}/v1"
        yield ServerSettings(url, folder, timeout_seconds=240, in_flight=2)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url, process, log):
    end = time.monotonic() + UP_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                json.load(answer)
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server is not up: {log.read_text()[-2000:]}")


@pytest.mark.slow
def test_texts_of_a_real_server(served, capsys):
    short = Sampling(max_new_tokens=6, temperature=0.7)
    enough = Sampling(max_new_tokens=48, temperature=0)
    examples = (("Is water wet? Say yes or no.", "Yes."), ("Is ice hot? Say yes or no.", "No."))
    requests = [
        Request("Write a long essay about spider silk.", "Be thorough.", short, seed=1),
        Request("Is fire cold? Say yes or no.", "Be brief.", enough, 2, examples, ("\n",)),
    ]
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "no_such_field": 1}
    generator = RemoteGenerator(replace(served, extra_body=extra))
    cut, whole = generator.complete(requests)
    assert (cut.problem, whole.problem) == ("", "")
    assert (cut.finish_reason, cut.tokens) == ("length", 6)
    assert cut.text.strip()
    assert whole.finish_reason == "stop"
    assert 1 <= whole.tokens < 48
    assert "\n" not in whole.text
    assert "<|" not in cut.text + whole.text
    assert (
        3 <= generator.state.budget.calls <= 4
    )  # each in flight may learn what the server refuses
    [line] = capsys.readouterr().out.splitlines()
    assert "refuses no_such_field: it is left out" in line
    assert generator.state.budget.tokens > cut.tokens + whole.tokens  # prompts are counted too
