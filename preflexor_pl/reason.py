"""See a model think: ``python -m preflexor_pl.reason "Why is nacre tough?" --run runs/exo``.

The model answers; a critic criticises and rewrites its thinking, it answers again, and in the end
the critic makes one answer of all. Steps are printed as they come, thinking dim, answers bright.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.errors import ConfigError, ResourceError

if TYPE_CHECKING:
    from preflexor_pl.reasoning import Reasoner, Trace


def main(args: Sequence[str]) -> int:
    """Reason about what was asked, and return the exit code."""
    options = _parsed(args)
    questions = _questions(options)
    if options.out:
        _check_writable(options.out.parent)
    quiet_libraries()
    from preflexor_pl.reasoning.build import build_reasoner
    from preflexor_pl.reasoning.terminal import chat, show

    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        reasoner = build_reasoner(options)
    if options.chat:
        chat(reasoner)
        return 0
    if options.json:
        traces = _print_json(reasoner, questions, options)
    else:
        traces = show(reasoner, questions)
        _save(traces, options.out)
    _check_read(traces)
    return 0


def _parser() -> Parser:
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
        help="source of the criticism: the critic, or the model's own reflect section; "
        "default: what the model was trained for",
    )
    add("--critic", metavar="MODEL", help="criticises; default: the model's base")
    add("--judge", metavar="MODEL", help="compares answers, in both orders; or: critic")
    add(
        "--key_env",
        metavar="NAME",
        help="variable that holds the key, where one of them is MODEL@http://HOST/v1",
    )
    add("--context", type=int, default=0, metavar="K", help="chunks retrieved from the run's graph")
    _add_recursion_options(parser)
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the weights")
    add("--batch_size", type=int, default=16, help="texts generated together")
    add("--seed", type=int, default=0, help="of the sampling")
    add("--json", action="store_true", help="print one line of JSON a question, nothing else")
    add("--out", type=Path, help="keep the traces there: FILE.json, FILE.jsonl or FILE.md")
    return parser


def _add_recursion_options(parser: Parser) -> None:
    add = parser.add_argument
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
        help="of the critic: small, large (for a strong critic), or a folder of yours",
    )
    add("--critic_prompt", help="the critic's system prompt")
    add("--integrator_prompt", help="the critic's system prompt when it makes one answer of all")
    add("--thinking_prefix", metavar="TEXT", help="beginning of the first thinking section")


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
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


def _print_json(
    reasoner: "Reasoner", questions: list[str], options: argparse.Namespace
) -> "list[Trace]":
    """Print and save batch by batch, so that an interrupted command keeps what it has made."""
    traces: list[Trace] = []
    for first in range(0, len(questions), options.batch_size):
        with contextlib.redirect_stdout(sys.stderr):
            batch = reasoner.reason(questions[first : first + options.batch_size])
        sys.stdout.writelines(f"{trace.to_json()}\n" for trace in batch)
        sys.stdout.flush()
        traces += batch
        _save(traces, options.out)
    return traces


def _save(traces: "Sequence[Trace]", out: Path | None) -> None:
    from preflexor_pl.reasoning.trace import save_traces

    if out:
        save_traces(traces, out)


def _check_read(traces: "Sequence[Trace]") -> None:
    """Refuse questions that were too long for the model; the others have been answered."""
    long = [trace.question for trace in traces if "too_long" in trace.steps[0].problems]
    if long:
        raise ConfigError(
            f"{len(long)} of {len(traces)} questions are longer than the model can read "
            f"({long[0][:60]}...): shorten them, or lower --context"
        )


def _check_writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise ResourceError(f"--out: {folder} cannot be written: choose another folder")


if __name__ == "__main__":
    sys.exit(guarded(main))
