"""Time of ``--help`` and of config errors, compared with importing LightningCLI alone.

``make bench-retrieval`` or ``python -m benchmarks.startup``, about 10 minutes.

The help and errors of ``fit`` come from Lightning's CLI, so importing it is their lower bound; a
process that does nothing else is timed beside them. Each time is that of a fresh process from start
to end. The order is that of the commands, then backwards; a ratio compares two times of one pass.
The first pass fills the disk cache and does not count. The result also lists the modules of the
policy and the embedder that were imported; there should be none.

Writes ``results/startup.json``.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.processes import ROOT
from benchmarks.report.record import RESULTS, save, setting, spread
from preflexor_pl.core.progress import stage

BARE = "import of LightningCLI"
FIT = ("-m", "preflexor_pl.fit")
CONFIG = (*FIT, "--config", "configs/orpo.yaml")
COMMANDS: dict[str, tuple[str, ...]] = {  # exit code: 0 for --help, 2 for an error
    BARE: ("-c", "from lightning.pytorch.cli import LightningCLI"),
    "fit --help": (*FIT, "--help"),
    "fit, an unknown key": (*CONFIG, "--trainer.max_epoch", "2"),
    "fit, a value of the wrong type": (*CONFIG, "--model.loss.beta", "x"),
    "fit, a value that a loss refuses": (*CONFIG, "--model.loss.beta", "-1"),
    "fit, no such corpus": (*CONFIG, "--data.corpus", "nowhere/"),
}
VERBS = (
    "index",
    "doctor",
    "preview",
    "estimate",
    "generate",
    "inspect",
    "dataset",
    "export",
    "phases",
    "reason",
    "evaluate",
)
HELP = {f"{verb} --help": ("-m", f"preflexor_pl.{verb}", "--help") for verb in VERBS}
TARGET = 1.3
HEAVY = re.compile(
    r"peft|sentence_transformers|bitsandbytes"
    r"|transformers\.(modeling_utils|models\.(?!auto\.)\w+\.modeling_\w+)"
)


def run(command: Sequence[str], *options: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Seconds of a fresh process, and the finished process.

    Raises:
        SystemExit: it ended with another exit code than expected.
    """
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *options, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    expected = 2 if command[: len(CONFIG)] == CONFIG else 0
    if done.returncode != expected:
        last = done.stderr.strip().splitlines()[-1:]
        raise SystemExit(f"error: {' '.join(command)} exited {done.returncode}: {last}")
    return seconds, done


def imported(command: Sequence[str]) -> list[str]:
    """Every module that ``command`` imports, in order."""
    _, done = run(command, "-X", "importtime")
    return re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE)


def heavy(modules: Sequence[str]) -> list[str]:
    """The modules that belong to the policy or the embedder."""
    return [name for name in modules if HEAVY.fullmatch(name)]


def timed(commands: dict[str, tuple[str, ...]], passes: int) -> list[dict[str, float]]:
    """Seconds of every command in each pass."""
    order, made = list(commands), []
    with stage("passes", passes + 1) as progress:
        for _ in range(passes + 1):
            made.append({name: round(run(commands[name])[0], 3) for name in order})
            order.reverse()
            progress.advance()
    return made[1:]


def main() -> None:
    """Measure, check, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    commands = COMMANDS | HELP
    passes = timed(commands, options.passes)
    modules = {name: imported(command) for name, command in commands.items()}
    result = setting("lightning", "jsonargparse", "torch", "transformers") | {
        "target": TARGET,
        "seconds": {name: median(one[name] for one in passes) for name in commands},
        f"seconds / {BARE}": {
            name: spread([one[name] / one[BARE] for one in passes])
            for name in COMMANDS
            if name != BARE
        },
        "modules imported": {name: len(found) for name, found in modules.items()},
        "modules of the policy and the embedder": {
            name: heavy(found) for name, found in modules.items()
        },
        "passes": passes,
    }
    save("startup", result, options.out)
    del result["passes"]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
