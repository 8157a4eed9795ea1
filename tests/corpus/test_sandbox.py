"""Whatever a parser does to its process, the reader gets a reason in time and goes on."""

import os
import time
from pathlib import Path

import pytest

from preflexor_pl.core import child_process
from preflexor_pl.core.errors import ResourceError
from preflexor_pl.corpus import sandbox as module
from preflexor_pl.corpus.records import Unusable
from preflexor_pl.corpus.sandbox import Piece, Sandbox

FINE = [Piece("T", "one"), Piece("T", "two")]


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """``parse(body)`` makes ``body`` what the parser does with a file called bad.pdf."""
    real = module.PARSERS.parent

    def write(body):
        script = tmp_path / "parsers.py"
        script.write_text(
            f"import os, sys, time\nsys.path.insert(0, {str(real)!r})\nimport parsers\n"
            "def parse(path):\n"
            "    if path.endswith('bad.pdf'):\n"
            f"        {body}\n"
            "    yield {'title': 'T', 'text': 'one'}\n"
            "    yield {'title': 'T', 'text': 'two'}\n"
            "parsers.PARSERS['pdf'] = ('json', parse)\nparsers.main()\n"
        )
        monkeypatch.setattr(module, "PARSERS", script)

    return write


def reason(sandbox):
    with pytest.raises(Unusable) as error:
        list(sandbox.read(Path("bad.pdf"), "pdf"))
    return str(error.value)


@pytest.mark.parametrize(
    ("body", "told", "processes"),
    [
        ("time.sleep(60)", "takes too long", 2),
        ("while True: pass", "takes too long", 2),
        ("while True: yield {'text': ''}", "takes too long", 2),
        ("os.abort()", "crashes its parser", 2),
        ("parsers.json.dumps = lambda *a, **k: 'no JSON'; yield {}", "crashes its parser", 2),
        ("bytearray(2**33)", "takes too much memory", 2),
        ("yield {'text': 'x' * 600_000}", "too large unpacked", 2),
        ("raise ValueError", "damaged", 1),
        ("raise parsers.Refused('encrypted')", "encrypted", 1),
        ("parse(path).__next__()", "nested too deeply", 1),
    ],
)
def test_a_bad_file_has_its_reason_and_the_next_one_is_read(
    parse, monkeypatch, body, told, processes
):
    parse(body)
    monkeypatch.setattr(child_process, "MAX_MESSAGE_BYTES", 500_000)
    start = time.perf_counter()
    with Sandbox(seconds=0.5) as sandbox:
        assert reason(sandbox) == told
        assert list(sandbox.read(Path("good.pdf"), "pdf")) == FINE
        assert sandbox._child.started == processes
    assert time.perf_counter() - start < 5


def test_text_earns_time(parse):
    parse("for _ in range(4): time.sleep(0.3); yield {'text': 'x' * 1000}")
    with Sandbox(seconds=0.8) as sandbox:  # four times 0.3 s are more
        assert len(list(sandbox.read(Path("bad.pdf"), "pdf"))) == 6


def test_one_process_serves_many_files_until_it_has_grown(parse, tmp_path):
    parse("parsers.WORN_BYTES = 0")
    with Sandbox() as sandbox:
        for _ in range(3):
            assert list(sandbox.read(Path("good.pdf"), "pdf")) == FINE
        assert sandbox._child.started == 1
        assert list(sandbox.read(Path("bad.pdf"), "pdf")) == FINE
        assert list(sandbox.read(Path("good.pdf"), "pdf")) == FINE
        assert sandbox._child.started == 2


def test_a_process_that_is_gone_is_replaced(parse):
    parse("pass")
    with Sandbox() as sandbox:
        assert list(sandbox.read(Path("good.pdf"), "pdf")) == FINE
        sandbox._child._process.kill()
        assert list(sandbox.read(Path("good.pdf"), "pdf")) == FINE


def test_pieces_that_nobody_wanted_do_not_come_with_the_next_file(parse):
    parse("pass")
    with Sandbox() as sandbox:
        pieces = sandbox.read(Path("good.pdf"), "pdf")
        assert next(pieces) == FINE[0]
        pieces.close()
        assert list(sandbox.read(Path("good.pdf"), "pdf")) == FINE


def test_it_has_no_secrets_and_writes_no_files(parse, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_AVeryFakeSecret")
    parse("yield {'text': ' '.join(os.environ)}")
    with Sandbox() as sandbox:
        names = next(iter(sandbox.read(Path("bad.pdf"), "pdf"))).text.split()
    assert "PATH" in names
    assert "HF_TOKEN" not in names
    parse(f"os.write(os.open({str(tmp_path / 'made')!r}, os.O_CREAT | os.O_WRONLY), b'x')")
    with Sandbox() as sandbox:
        assert reason(sandbox) == "damaged"
    assert (tmp_path / "made").read_bytes() == b""


def test_what_a_library_prints_is_no_answer(parse):
    parse("print('{}'); os.write(1, b'{}')")
    with Sandbox() as sandbox:
        assert list(sandbox.read(Path("bad.pdf"), "pdf")) == FINE


def test_no_process_is_left(parse):
    parse("pass")
    with Sandbox() as sandbox:
        list(sandbox.read(Path("good.pdf"), "pdf"))
        process = sandbox._child._process
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_parser_that_is_not_installed_is_no_fault_of_the_file(parse, tmp_path, monkeypatch):
    parse("pass")
    script = module.PARSERS
    script.write_text(script.read_text().replace("'json'", "'no_such_library'"))
    with Sandbox() as sandbox, pytest.raises(ResourceError, match=r"no_such_library.*pip install"):
        list(sandbox.read(Path("good.pdf"), "pdf"))
    script.write_text("raise SystemExit")
    with Sandbox() as sandbox, pytest.raises(ResourceError, match="does not start"):
        list(sandbox.read(Path("good.pdf"), "pdf"))
