"""The share of a server's time that passes during training, in a real run.

``python -m benchmarks.rounds.prefetch``, about 15 minutes.

``configs/orpo.yaml`` with a teacher on loopback that takes two seconds a call, four calls at a
time, for two rounds of 16 pairs: once with ``data.prefetch``, once without. The pairs must be
equal; the difference is how long training waits for the second round. Policy, training and rejected
answers are real.

Writes ``results/overlap.json``.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.report.record import RESULTS, save, setting
from benchmarks.rounds.fake_server import FakeServer, Teacher

SECONDS, IN_FLIGHT, ROUNDS = 2.0, 4, 2
SMALL = (
    "--data.held_out_questions=2",
    "--data.pairs_per_round=16",
    "--data.epochs_per_round=2",
    f"--trainer.max_epochs={2 * ROUNDS}",
)


def run(prefetch: bool, folder: Path) -> dict[str, Any]:
    """Run the whole command: its pairs, and the times it prints for the second round.

    Raises:
        SystemExit: it printed no time of that round: its messages have changed.
    """
    with FakeServer(Teacher((SECONDS, SECONDS))) as server:
        # The teacher's name in a pair has no port, so the pairs of two runs can be compared.
        settings = {"base_url": server.url, "model": "m", "in_flight": str(IN_FLIGHT)}
        command = [sys.executable, "-m", "preflexor_pl.fit", "--config", "configs/orpo.yaml"]
        command += [f"--data.teacher.server.{key}={value}" for key, value in settings.items()]
        command += [*SMALL, f"--data.prefetch={str(prefetch).lower()}", f"--run={folder}"]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        wall = time.monotonic() - started
    asked = re.findall(
        r"^  round 1 · (?:question|thinking|answer): .*?· (\d+) s", done.stdout, re.M
    )
    hidden = re.findall(r"^  round 1: (\d+) s of .* training$", done.stdout, re.M)
    if not asked and not hidden:
        raise SystemExit(f"error: no time of round 1 in what fit printed:\n{done.stdout[-2000:]}")
    return {
        "overlap": prefetch,
        "calls": len(server.calls),
        "seconds, the whole command": round(wall, 1),
        "seconds of asking that training waited for, round 1": sum(map(int, asked)),
        "seconds of asking hidden behind training, round 1": sum(map(int, hidden)),
        "pairs": [
            (folder / f"rounds/round-{n:04d}/pairs.jsonl").read_text(encoding="utf-8")
            for n in range(ROUNDS)
        ],
    }


def main() -> None:
    """Run both, compare, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        runs = [run(prefetch, Path(name, str(prefetch))) for prefetch in (True, False)]
    first, second = (one.pop("pairs") for one in runs)
    if first != second:
        raise SystemExit("error: the pairs with and without data.prefetch differ")
    teacher = {"seconds a call": SECONDS, "in flight": IN_FLIGHT}
    result = {**setting("torch", "lightning"), "teacher": teacher, "runs": runs}
    save("overlap", {**result, "pairs are the same": True}, out)
    print(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
