"""Whatever a user's check does, the run gets a verdict in time and goes on."""

import gc
import os
import sys
import time

import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.tasks.checkers import MAX_CHARS
from preflexor_pl.tasks.task import Item
from preflexor_pl.tasks.user_check import UserCheck

ITEM = Item("one", "How many?", "4", level=2, group="g", details={"base": 2})
HEAD = "import os, sys, time\nfrom preflexor_pl.tasks.task import Item\nprint('imported')\n"


@pytest.fixture
def user_check(tmp_path, monkeypatch):
    """``user_check(body)`` is a check with that body, which may not take longer than a second."""
    monkeypatch.setattr("preflexor_pl.tasks.user_check.module_path", [str(tmp_path), *sys.path])

    def make(body="return answer == item.answer", path="my_checks:check", seconds=1.0):
        text = f"{HEAD}def check(answer: str, item: Item) -> bool:\n    {body}\n"
        (tmp_path / "my_checks.py").write_text(text)
        return UserCheck(path, seconds)

    return make


def lines(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("path", ["my_checks:check", "my_checks.check"])
def test_right_and_wrong_are_told_apart(user_check, capsys, path):
    check = user_check(path=path)
    answers = ["4", "5", "", " \n", "4" * (MAX_CHARS + 1)]
    assert [check.check(answer, ITEM) for answer in answers] == [
        *("right", "wrong", "unreadable", "unreadable", "unreadable")
    ]
    assert check._child.started == 1
    assert lines(capsys) == []


def test_it_is_given_the_whole_item(user_check):
    body = "return (item.id, item.level, item.group, item.details) == ('one', 2, 'g', {'base': 2})"
    assert user_check(body).check("4", ITEM) == "right"


@pytest.mark.parametrize(
    ("body", "told", "processes"),
    [
        ("while True: pass", "it takes too long", 2),
        ("time.sleep(60)", "it takes too long", 2),
        ("os.abort()", "it crashes", 2),
        ("os._exit(0)", "it crashes", 2),
        ("bytearray(2**40)", "MemoryError. Such", 1),
        ("raise ValueError('a\\nb\\x1b[31m')", "ValueError: a b [31m", 1),
        ("raise ValueError('x' * 1000)", f"ValueError: {'x' * 188}", 1),
        ("sys.exit('no')", "SystemExit: no", 1),
        ("check(answer, item)", "RecursionError: maximum recursion depth exceeded", 1),
        ("return 'wrong'", "TypeError: it returned 'wrong', must be True or False", 1),
        ("pass", "TypeError: it returned None, must be True or False", 1),
    ],
)
def test_an_answer_it_fails_on_is_unreadable_and_the_next_one_is_checked(
    user_check, capsys, body, told, processes
):
    check = user_check(f"if answer == '4': return True\n    {body}")
    start = time.perf_counter()
    assert [check.check(answer, ITEM) for answer in ("x", "4")] == ["unreadable", "right"]
    assert check._child.started == processes
    assert time.perf_counter() - start < 10
    [line] = lines(capsys)
    assert line.startswith("The check my_checks:check fails on an answer to one: ")
    assert told in line
    assert check.check("x", ITEM) == "unreadable"
    assert lines(capsys) == []  # said once


def test_what_it_prints_and_reads_is_no_message(user_check):
    body = "print('{}'); os.write(1, b'{}'); return sys.stdin.read() == ''"
    assert [user_check(body).check("4", ITEM) for _ in range(2)] == ["right", "right"]


def test_it_has_no_secrets(user_check, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_AVeryFakeSecret")
    assert user_check("return 'HF_TOKEN' in os.environ").check("4", ITEM) == "wrong"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no_such_module:check", "No module named 'no_such_module'"),
        ("my_checks:nothing", "has no attribute 'nothing'"),
        ("my_checks:HEAD", "has no attribute 'HEAD'"),
        ("my_checks:__name__", "my_checks:__name__ is a str, not a function"),
    ],
)
def test_a_check_that_is_not_there_is_named(user_check, path, told):
    with pytest.raises(ConfigError, match=rf"^data\.task: the check {path} .*{told}.*give module"):
        user_check(path=path).start()


def test_a_module_that_ends_its_process_is_named(user_check, tmp_path):
    check = user_check()
    (tmp_path / "my_checks.py").write_text("import os\nos.abort()\n")
    with pytest.raises(ConfigError, match="its import crashes"):
        check.start()
    assert check.check("4", ITEM) == "unreadable"


def test_no_process_is_left(user_check):
    check = user_check()
    check.start()
    process = check._child._process.pid
    del check
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
