"""See a model think: ``python -m preflexor_pl.reason "Why is nacre tough?" --run runs/exo``.

The model answers; its thinking is criticised and rewritten, it answers again, and in the end its
answers are made into one. Steps are printed as they come, thinking dim, answers bright.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.errors import ConfigError, ResourceError
from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.special_tokens import escape_special_tokens

if TYPE_CHECKING:
    from preflexor_pl.reasoning import Reasoner, Trace
    from preflexor_pl.reasoning.settings import ReasoningSettings

TURNS = 8  # of a conversation that the model is shown again


def main(args: Sequence[str]) -> int:
    """Reason about what was asked, and return the exit code."""
    options = _parsed(args)
    questions = _questions(options)
    if options.out:
        _require_writable(options.out.parent)
    quiet_libraries()
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        reasoner = _reasoner(options)
    if options.chat:
        _chat(reasoner)
        return 0
    traces: list[Trace] = []
    if not options.json:
        traces = _show(reasoner, questions)
        _keep(traces, options)
        _require_read(traces)
        return 0
    for first in range(0, len(questions), options.batch_size):  # what is made is kept at once
        with contextlib.redirect_stdout(sys.stderr):
            made = reasoner.reason(questions[first : first + options.batch_size])
        sys.stdout.writelines(f"{trace.to_json()}\n" for trace in made)
        sys.stdout.flush()
        traces += made
        _keep(traces, options)
    _require_read(traces)
    return 0


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = Parser("reason", "Ask a model and see it think, criticise itself and revise.")
    add = parser.add_argument
    add("question", nargs="?", help="one question")
    add("--file", type=Path, help="questions, one a line, reasoned about side by side")
    add("--chat", action="store_true", help="a conversation: a question a line, empty to end")
    add(
        "--run",
        "--model",
        dest="model",
        metavar="MODEL",
        required=True,
        help="a run, the folder of an adapter, an exported folder, or a hub id",
    )
    add("--iterations", type=int, default=2, help="refinements after the first answer")
    add(
        "--variant",
        choices=["thinking", "reflection"],
        help="whose criticism: the critic's, or the model's own reflect section; "
        "default: what the model was trained for",
    )
    add("--critic", metavar="MODEL", help="who criticises; default: the model's base")
    add("--judge", metavar="MODEL", help="who keeps the best answer, in both orders; or: critic")
    add(
        "--key_env",
        metavar="NAME",
        help="variable that holds the key, where one of them is MODEL@http://HOST/v1",
    )
    add("--context", type=int, default=0, metavar="K", help="chunks retrieved from the run's graph")
    add("--no_integrate", action="store_true", help="end with the best answer as it is")
    add("--keep_going", action="store_true", help="do not stop where nothing changes or gets worse")
    add("--max_new_tokens", type=int, default=320, help="of a response")
    add("--critic_max_new_tokens", type=int, default=160, help="of a critic's text")
    add("--temperature", type=float, default=0.0, help="of the model; 0: the likeliest token")
    add("--critic_temperature", type=float, default=0.0, help="of the critic")
    add("--system_prompt", help="the model's; default: as in training")
    add(
        "--prompts",
        default="small",
        metavar="SET",
        help="what the critic is asked: small, large (for a strong critic), or a folder of yours",
    )
    add("--critic_prompt", help="the critic's system prompt")
    add("--integrator_prompt", help="the critic's, when it makes one answer of all")
    add("--thinking_prefix", metavar="TEXT", help="how the first thinking section must begin")
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the weights")
    add("--batch_size", type=int, default=16, help="texts made together")
    add("--seed", type=int, default=0, help="of every draw")
    add("--json", action="store_true", help="print one line of JSON a question, nothing else")
    add("--out", type=Path, help="keep the traces there: FILE.json, FILE.jsonl or FILE.md")
    options = parser.parse_args(args)
    given = [options.question is not None, options.file is not None, options.chat]
    if sum(given) != 1:
        parser.error("give one of: a question, --file, --chat")
    if options.chat and (options.json or options.out):
        parser.error("--chat goes with neither --json nor --out")
    if options.batch_size < 1:
        parser.error(f"--batch_size: got {options.batch_size}, must be >= 1")
    if options.out and options.out.suffix not in (".json", ".jsonl", ".md"):
        parser.error(f"--out: {options.out} must end in .json, .jsonl or .md")
    return options


def _questions(options: argparse.Namespace) -> list[str]:
    if options.chat:
        return []
    texts = [options.question]
    if options.file:
        try:
            texts = options.file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--file: {options.file} cannot be read: {error}") from error
    questions = [text.strip() for text in texts if text.strip()]
    if not questions:
        raise ConfigError(f"{options.file or 'the question'} is empty: write a question a line")
    return questions


def _reasoner(options: argparse.Namespace) -> "Reasoner":
    settings = _settings(options)  # refused before anything loads
    from preflexor_pl.pairs.judge import PairwiseJudge
    from preflexor_pl.reasoning import Reasoner
    from preflexor_pl.reasoning.models import load_model, load_reader, model_info

    size, key_env = options.batch_size, options.key_env
    named = {"critic": options.critic, "judge": options.judge}
    if options.judge == "critic":
        named.pop("judge")
    others = {
        name: load_reader(given, size, options.dtype, f"--{name}", key_env)
        for name, given in named.items()
        if given
    }
    library = model_info(options.model).library() if settings.chunks else None
    speaker = load_model(options.model, options.dtype)
    known = speaker.known
    trained: Literal["reflection", "thinking"] = "reflection" if known.reflects else "thinking"
    system = known.system_prompt if options.system_prompt is None else options.system_prompt
    settings = replace(
        settings,
        variant=options.variant or trained,
        system_prompt=system,
        trigger=speaker.thinks,
        markers=speaker.model.strings,
    )
    critic = others.get("critic") or speaker.base(size)
    if not options.critic and not speaker.has_base:
        log_line(f"{options.model} comes without its base: it is its own critic (--critic MODEL)")
    judge = None
    if options.judge:
        judge = PairwiseJudge(others.get("judge", critic), options.seed)
    return Reasoner(speaker.generator(size), critic, settings, judge, library)


def _settings(options: argparse.Namespace) -> "ReasoningSettings":
    from preflexor_pl.pairs.prompt_files import KEY, read_prompts
    from preflexor_pl.reasoning.settings import ReasoningSettings

    roles = {
        name: getattr(options, name)
        for name in ("critic_prompt", "integrator_prompt")
        if getattr(options, name) is not None
    }
    try:
        asked = read_prompts(options.prompts).critic
    except ConfigError as error:
        raise ConfigError(str(error).replace(KEY, "--prompts")) from error
    defaults = ReasoningSettings()
    model, critic = _drawn(defaults.model, options), _drawn(defaults.critic, options, "critic_")
    try:
        return ReasoningSettings(
            iterations=options.iterations,
            model=model,
            critic=critic,
            prompts=asked,
            thinking_prefix=options.thinking_prefix,
            integrate=not options.no_integrate,
            stop_when_unchanged=not options.keep_going,
            stop_when_worse=not options.keep_going,
            chunks=options.context,
            seed=options.seed,
            **roles,
        )
    except ValueError as error:
        raise ConfigError(f"--{str(error).replace('chunks', 'context')}") from error


def _drawn(default: Sampling, options: argparse.Namespace, whose: str = "") -> Sampling:
    names = "max_new_tokens", "temperature"
    try:
        return replace(default, **{name: getattr(options, whose + name) for name in names})
    except ValueError as error:
        raise ConfigError(f"--{whose}{error}") from error


def _show(
    reasoner: "Reasoner", questions: list[str], earlier: Sequence[tuple[str, str]] = ()
) -> "list[Trace]":
    from preflexor_pl.reasoning.terminal import Shown

    prefix, markers = reasoner.settings.thinking_prefix, reasoner.settings.markers
    given = "" if prefix is None else f"{markers.think_start}\n{escape_special_tokens(prefix)}"
    shown = Shown(questions, given=given, markers=markers)
    watch = shown.grow if len(questions) == 1 else None
    traces = reasoner.reason(questions, earlier, shown.step, watch)
    shown.end(traces)
    return traces


def _chat(reasoner: "Reasoner") -> None:
    earlier: list[tuple[str, str]] = []
    for question in _typed():
        [trace] = _show(reasoner, [question], earlier[-TURNS:])
        if trace.answer:  # a turn without one would ask for silence
            earlier.append((trace.question, trace.answer))


def _typed() -> Iterator[str]:
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            question = input(prompt).strip()
        except EOFError:
            return
        except UnicodeDecodeError as error:
            raise ConfigError(f"--chat: a question is not in UTF-8: {error}") from error
        if not question:
            return
        yield question


def _keep(traces: "Sequence[Trace]", options: argparse.Namespace) -> None:
    if not options.out:
        return
    if options.out.suffix == ".md":
        text = "\n".join(trace.to_markdown() for trace in traces)
    elif options.out.suffix == ".jsonl":
        text = "".join(f"{trace.to_json()}\n" for trace in traces)
    else:
        text = json.dumps([trace.to_dict() for trace in traces], ensure_ascii=False, indent=1)
    write_atomically(options.out, text)


def _require_read(traces: "Sequence[Trace]") -> None:
    """Refuse questions that the model could not read; the others have been answered."""
    long = [trace.question for trace in traces if "too_long" in trace.steps[0].problems]
    if long:
        raise ConfigError(
            f"{len(long)} of {len(traces)} questions are longer than the model can read "
            f"({long[0][:60]}...): shorten them, or lower --context"
        )


def _require_writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise ResourceError(f"--out: {folder} cannot be written: choose another folder")


if __name__ == "__main__":
    sys.exit(guarded(main))
