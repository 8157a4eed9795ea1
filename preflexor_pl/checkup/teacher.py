"""Who teaches, and who judges: the key of a server, and whether it answers."""

import time
from dataclasses import replace

from preflexor_pl.checkup.report import Report
from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.settings import Sampling
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.pairs.budget import GOES_ON
from preflexor_pl.pairs.generator import Request
from preflexor_pl.pairs.remote import RemoteGenerator

SHORT = 8  # tokens of the one answer
PASSING = "server_refusal", "server_no_text"  # of this text; others may be answered


def check_teacher(report: Report, data: PreferenceDataModule, call: bool) -> None:
    """Look for the teacher, and for the judge.

    Args:
        report: takes what is found.
        data: of the config.
        call: ask each server for one short answer.
    """
    teacher, judge = data.pair_settings.teacher, data.pair_settings.judge
    with report.check("teacher"):
        if data.server_teacher:
            _check_server(report, data.server_teacher, teacher.question, call)
        elif data.own_teacher:
            report.ok(f"{data.own_teacher.name}, an object of your own")
        else:
            report.ok(teacher.model_name or "the policy's own base, one copy of the weights")
    with report.check("judge"):
        if data.server_judge and judge:
            _check_server(report, data.server_judge, judge.sampling, call)


def _check_server(report: Report, remote: RemoteGenerator, sampling: Sampling, call: bool) -> None:
    variable, key = remote.settings.api_key_env, remote.key
    remote.require_ready()
    told = f"{variable} holds a key" if variable else "null, no key is sent"
    report.ok(f"{key}.api_key_env: {told}")
    if not call:
        report.note(f"{remote.name} was not asked", "leave out --no_teacher_call to do so")
        return
    remote = RemoteGenerator(replace(remote.settings, tries=1), key, remote.thinking_tags)
    sampling = replace(sampling, max_new_tokens=SHORT, min_new_tokens=0)
    began = time.monotonic()
    try:
        [answer] = remote.complete([Request("Say hello.", sampling=sampling)])
    except TeacherError as error:
        known = TeacherError(str(error).removesuffix(f"; {GOES_ON}"))
        report.bad(known, f"see that the server runs, and that {key} is right")
        return
    cost = f"1 call, {remote.budget.tokens} tokens, {time.monotonic() - began:.1f} s"
    who = f"{key}: {remote.name} ({cost})"
    if not answer.problem:
        report.ok(f"{who} answers")
    elif answer.problem in PASSING:
        advice = "a run asks again with another seed; if it stays so, take another model"
        report.note(f"{who} is there and gave no text ({answer.problem})", advice)
    else:
        strange = TeacherError(f"{who} sent nothing that can be read ({answer.problem})")
        report.bad(strange, f"check {key}.base_url, which mostly ends in /v1, and {key}.model")
