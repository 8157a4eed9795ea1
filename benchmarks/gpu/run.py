"""Training and generation on a GPU, compared with targets: 20 minutes on one card.

``python -m benchmarks.gpu.run``, or ``make bench-gpu``. The model has the shape of Llama 3.2 1B and
random weights; nothing is downloaded. ``--config tiny`` tries the script itself, on a CPU too. Each
section runs in its own process with its own time limit:

- equality: packed batches compute the same as plain ones, or nothing is timed. It always runs.
- adapters, weights: our steps, their useful-FLOP MFU, and the cost of the reference.
- generation, continuous: texts in our batches, one at a time, and in transformers' own batches.
- peer: our step compared with TRL's if ``--peer_python`` has it; skipped if not.
- compiled_weights, compiled_adapters: steps after ``torch.compile``.

Writes ``results/gpu.json`` piece by piece, so an interrupted run leaves what it has. A later call
with ``--only`` adds to a file of the same card and versions, and replaces any other.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu.job import SIZES, Job, card
from benchmarks.processes import PEER_PYTHON, ROOT, command
from benchmarks.report.record import RESULTS, read, setting, write
from benchmarks.training.protocol import device
from preflexor_pl.cli.entry import quiet_libraries

SHAPE = "llama-3.2-1b"
MFU, REFERENCE = "useful-FLOP MFU", "reference / training, 3 epochs"
GRACE = 30  # seconds that a section may run beyond its limit
PREPARE = "run:prepare", 1.0
SECTIONS = {  # function, and its largest share of the minutes
    "equality": ("equality:measure", 0.15),
    "adapters": ("steps:measure_adapters", 0.1),
    "weights": ("steps:measure_weights", 0.15),
    "generation": ("generation:measure", 0.15),
    "continuous": ("generation:measure_continuous", 0.1),
    "peer": ("compare_trl:measure", 0.6),
    "compiled_weights": ("steps:measure_compiled_weights", 0.2),
    "compiled_adapters": ("steps:measure_compiled_adapters", 0.2),
}


def prepare(job: Job) -> None:
    """Save the model; start a new file unless there is one of this card and these versions."""
    from benchmarks.random_model import save_random_model

    if card() == "cpu" and job.shape == SHAPE:
        raise SystemExit("error: no CUDA device: --config tiny tries the script on a processor")
    path = Path(job.results)
    facts = setting("torch", "transformers", "peft", "lightning")
    here = {"card": card(), "shape": job.shape, "versions": facts["versions"]}
    before = read(path)
    if {name: before.get(name) for name in here} != here:
        if before:
            print(f"{path} is of another card, shape or version: it is replaced", flush=True)
        write(path, here | {"machine": facts["machine"]})
    save_random_model(job.shape, Path(job.model), device())


def run(section: str, job: Job, allowed: float) -> str:
    """Run one section in its own process; why it failed, or "".

    Args:
        section: a name of ``SECTIONS``, or ``prepare``.
        job: the job of the section.
        allowed: limit in seconds.
    """
    task = json.dumps(asdict(replace(job, seconds=allowed)))
    process = subprocess.Popen(
        command("gpu.run", "--section", section, "--job", task),
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, so that its children are killed too
    )
    try:
        _, errors = process.communicate(timeout=allowed + GRACE)
    except subprocess.TimeoutExpired:
        return f"took more than {allowed:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        print(errors[-3000:], file=sys.stderr, flush=True)
        return (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1][:500]
    return ""


def targets(found: dict[str, Any]) -> Iterator[tuple[str, float, str, float]]:
    """Targets that were measured: name, measured value, ">=" or "<=", target."""
    for row, what, way, target in (
        ("W2 dpo bfloat16 lora", "TRL's time / ours", ">=", 2.0),
        ("W1 dpo bfloat16 lora", "TRL's time / ours", ">=", 1.6),
        ("W2 orpo bfloat16 lora", "our memory / TRL's", "<=", 0.4),
    ):
        if what in found.get("peer", {}).get(row, {}):
            yield f"{row}: {what}", found["peer"][row][what]["median"], way, target
    for section, what, way, target in (
        ("weights", MFU, ">=", 0.35),
        ("adapters", MFU, ">=", 0.32),
        ("compiled_weights", MFU, ">=", 0.42),
        ("weights", REFERENCE, "<=", 0.12),
        ("adapters", REFERENCE, "<=", 0.18),
        ("generation", "batches / one at a time", ">=", 10.0),
    ):
        for name, row in found.get(section, {}).items():
            value = row.get(what) if isinstance(row, dict) else None
            if isinstance(value, dict):  # no share on an unknown card
                yield f"{section} {name}: {what}", value["median"], way, target


def check_targets(path: Path) -> None:
    """Add whether each target is met to the file, and print it."""
    found = read(path)
    found["targets"] = {
        name: {
            "measured": value,
            "target": f"{way} {target}",
            "met": value >= target if way == ">=" else value <= target,
        }
        for name, value, way, target in targets(found)
    }
    write(path, found)
    for name, one in found["targets"].items():
        print(f"{'met   ' if one['met'] else 'MISSED'} {name}: {one['measured']} ({one['target']})")


def parsed() -> argparse.Namespace:
    """The command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", default=SHAPE, choices=list(SIZES))
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="besides equality")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--peer_python", type=Path, default=PEER_PYTHON)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--section", help=argparse.SUPPRESS)  # in the process of a section
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(options: argparse.Namespace, job: Job) -> bool:
    """Run every section that was asked for; whether none failed.

    Raises:
        SystemExit: there is no model, or packed and plain batches differ.
    """
    until = time.monotonic() + 60 * options.minutes
    failed = run("prepare", job, 60 * options.minutes)
    if failed:
        raise SystemExit(failed)
    good = True
    wanted = options.only or list(SECTIONS)
    for section in ["equality", *(name for name in wanted if name != "equality")]:
        left = until - time.monotonic()
        allowed = min(left, 60 * options.minutes * SECTIONS[section][1])
        print(f"== {section}, at most {allowed:.0f} s", flush=True)
        found = read(Path(job.results))
        found.pop(section, None)
        write(Path(job.results), found)
        failed = run(section, job, allowed) if allowed > 0 else "no time left"
        job.keep(section, "wall s", round(left - (until - time.monotonic()), 1))
        if failed:
            job.keep(section, "failed", failed)
            good = False
        if not read(Path(job.results))["equality"].get("passed"):
            raise SystemExit("error: packed batches do not equal plain ones: nothing counts")
    return good


def main() -> None:
    """Measure, compare with the targets, print and write."""
    options = parsed()
    quiet_libraries()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: stopped"))  # and the section with it
    if options.section:
        job = Job(**json.loads(options.job))
        module, _, function = SECTIONS.get(options.section, PREPARE)[0].partition(":")
        getattr(import_module(f"benchmarks.gpu.{module}"), function)(job)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    name = "gpu" if options.config == SHAPE else f"gpu-{options.config}"
    path = (options.out / f"{name}.json").absolute()
    with TemporaryDirectory() as folder:
        peer = str(options.peer_python.absolute())
        job = Job(options.config, str(Path(folder) / "model"), str(path), peer, 0.0)
        good = measured(options, job)
    check_targets(path)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
