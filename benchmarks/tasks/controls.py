"""What each part of a run whose answers are checked gives: the run as shipped, and without a part.

``python -m benchmarks.tasks.controls --seeds 0 1 2``, about an hour a run on two CPU cores. Every
run has as many pairs as the shipped one, and is measured on the same held-out items by
``preflexor evaluate``. A run that is there is not made again, so it can be stopped and resumed.

Writes ``results/task-controls.json``.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.report.record import RESULTS, read, save, setting
from preflexor_pl.core.files import write_atomically

CONFIG = "configs/verified.yaml"
ROUNDS, PAIRS = 4, 64
PARTS: dict[str, list[str]] = {
    "as shipped": [],
    "without thinking": ["--data.untriggered_share", "1"],
    "rejected from the frozen base": [],  # see changed_run
    "nothing verified": [],  # see changed_run
    "one big round": [
        *("--data.pairs_per_round", str(ROUNDS * PAIRS), "--data.topics", str(3 * ROUNDS * PAIRS)),
        *("--data.epochs_per_round", "2", "--trainer.max_epochs", "2", "--data.replay", "0"),
    ],
    "chosen alone (beta 0)": ["--model.loss.beta", "0"],
    "DPO": ["--model.loss", "losses.DPOLoss", "--model.lr", "2e-4"],
    "EXO": ["--model.loss", "losses.EXOLoss", "--model.lr", "2e-4"],
}


def main() -> int:
    """Make and measure the runs, part by part and seed by seed; the exit code."""
    options = _options()
    for seed in options.seeds:
        for part in options.parts:
            _measure(options, part, seed)
    return 0


def _measure(options: argparse.Namespace, part: str, seed: int) -> None:
    name = f"{part.replace(' ', '-').replace('(', '').replace(')', '')}-{seed}"
    run, out = options.runs / name, options.runs / "evaluations" / name
    known = read(RESULTS / "task-controls.json")
    if part in known.get("runs", {}) and str(seed) in known["runs"][part]:
        return
    minutes = _fit(run, part, seed, options.rounds)
    measured = out / "results.json"
    if not measured.exists():
        command = ["preflexor_pl.evaluate", str(run), "--held_out", str(options.items)]
        _call([*command, "--out", str(out), "--max_new_tokens", "96"])
    result = json.loads(measured.read_text())
    base, trained = result["models"].values()
    runs = known.setdefault("runs", {}).setdefault(part, {})
    runs[str(seed)] = {"minutes": minutes, "items": result["items"], "trained": trained}
    known.setdefault("base", {})[str(seed)] = base
    save("task-controls", setting("torch", "transformers") | known, RESULTS)


def _fit(run: Path, part: str, seed: int, rounds: int) -> float:
    """Minutes of the run; those of a run that is there are read."""
    told = run.with_suffix(".minutes")
    if not told.exists():
        started = time.monotonic()
        base = ["--config", CONFIG, "--run", str(run), "--seed_everything", str(seed)]
        args = [*base, "--trainer.max_epochs", str(rounds), *PARTS[part]]
        _call(["benchmarks.tasks.changed_run", part, *args])
        write_atomically(told, f"{(time.monotonic() - started) / 60:.1f}")
    return float(told.read_text())


def _call(args: list[str]) -> None:
    subprocess.run([sys.executable, "-m", *args], check=True)


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--items", type=int, default=200, help="held-out items")
    parser.add_argument("--runs", type=Path, default=Path("runs/controls"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
