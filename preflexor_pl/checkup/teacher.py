"""Who teaches, and who judges: the key of a server, whether it answers, and how it is asked."""

import re
import time
from dataclasses import replace

from preflexor_pl.checkup.report import Report
from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.generator import Request
from preflexor_pl.core.model_thinking import ONLY_THINKING, THINKING_CUT
from preflexor_pl.core.settings import Sampling
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.pairs.prompt_files import BUILT_IN, LARGE
from preflexor_pl.server.budget import RESUME
from preflexor_pl.server.generator import RemoteGenerator

SHORT = 8  # tokens of the one answer
PASSING = "server_refusal", "server_no_text", ONLY_THINKING  # of this text, not of every one
STRONG, WEAK = 3.0, 1.0  # billions of parameters: large is for as many, small for fewer
LARGE_THINKING, LARGE_ANSWER = 192, 512  # tokens that replies to large may need
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)


def check_teacher(report: Report, data: PreferenceDataModule, policy: str, call: bool) -> None:
    """Look for the teacher, and for the judge.

    Args:
        report: takes what is found.
        data: of the config.
        policy: name of the model in training.
        call: ask each server for one short answer.
    """
    teacher, judge = data.pair_settings.teacher, data.pair_settings.judge
    with report.check("teacher"):
        if data.sources.server_teacher:
            _check_server(report, data.sources.server_teacher, teacher.question, call)
        elif data.own_teacher:
            report.ok(f"{data.own_teacher.name}, an object of your own")
        else:
            report.ok(teacher.model_name or "the policy's own base, one copy of the weights")
        if data.own_teacher is None:
            _check_prompts(report, data, policy)
    with report.check("judge"):
        if data.sources.server_judge and judge:
            _check_server(report, data.sources.server_judge, judge.sampling, call)


def _check_server(report: Report, remote: RemoteGenerator, sampling: Sampling, call: bool) -> None:
    variable, key = remote.settings.api_key_env, remote.key
    remote.require_ready()
    told = f"{variable} holds a key" if variable else "null, no key is sent"
    report.ok(f"{key}.api_key_env: {told}")
    if not call:
        report.note(f"{remote.name} was not asked", "leave out --no_teacher_call to do so")
        return
    settings, lines = replace(remote.settings, tries=1), list[str]()
    remote = RemoteGenerator(settings, key, remote.thinking_tags, lines.append)
    sampling = replace(sampling, max_new_tokens=SHORT, min_new_tokens=0)
    began = time.monotonic()
    try:
        [answer] = remote.complete([Request("Say hello.", sampling=sampling)])
    except TeacherError as error:
        known = TeacherError(str(error).removesuffix(f"; {RESUME}"))
        report.bad(known, f"see that the server runs, and that {key} is right")
        return
    cost = f"1 call, {remote.state.budget.tokens} tokens, {time.monotonic() - began:.1f} s"
    who = f"{key}: {remote.name} ({cost})"
    if answer.problem == THINKING_CUT:
        switch = remote.state.thinking_switch
        off = f"switch it off by {switch}, or " if switch else ""
        report.note(f"{who} thinks before it answers", f"{off}let max_new_tokens have room for it")
    elif not answer.problem:
        report.ok(f"{who} answers")
        for line in lines:
            report.note(line.strip(), "a run finds this out by itself and goes on")
    elif answer.problem in PASSING:
        advice = "a run asks again with another seed; if it stays so, take another model"
        report.note(f"{who} is there and gave no text ({answer.problem})", advice)
    else:
        strange = TeacherError(f"{who} sent nothing that can be read ({answer.problem})")
        report.bad(strange, f"check {key}.base_url, which mostly ends in /v1, and {key}.model")


def _check_prompts(report: Report, data: PreferenceDataModule, policy: str) -> None:
    """Whether the prompts and the room for replies suit a teacher of the size that its name has."""
    settings = data.pair_settings
    teacher, category = settings.teacher, settings.prompts.category
    name = teacher.server.model if teacher.server else teacher.model_name or policy
    size = _billions(name)
    strong = teacher.server is not None if size is None else size >= STRONG
    if strong and category == BUILT_IN.category:
        report.note(
            f"data.prompts: {name} is asked as a small teacher is, for a sentence at a time",
            "set data.prompts to large; configs/server.yaml has the lengths that go with it",
        )
    if category != LARGE.category:
        return
    if size is not None and size < WEAK:
        report.note(
            f"data.prompts: {name} is asked without examples, as a large teacher is",
            "set data.prompts to small",
        )
    for key, given, tokens in (
        ("thinking.sampling", settings.thinking.sampling, LARGE_THINKING),
        ("teacher.answer", teacher.answer, LARGE_ANSWER),
    ):
        if given.max_new_tokens < tokens:
            report.note(
                f"data.{key}.max_new_tokens: {given.max_new_tokens} are few for what large asks "
                "for, and replies that are cut are dropped",
                f"raise it to {tokens} or more",
            )


def _billions(name: str) -> float | None:
    """Parameters of a model, by its name; None where that does not tell."""
    found = [float(number) / (1 if unit in "bB" else 1000) for number, unit in _SIZE.findall(name)]
    return max(found, default=None)
