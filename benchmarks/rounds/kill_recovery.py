"""What is lost when a process that makes a round is killed.

``python -m benchmarks.rounds.kill_recovery``, about 4 minutes.

A process makes 24 pairs with a teacher behind HTTP, 8 calls in flight, and a tiny policy for the
rejected answers. SIGKILL comes at a random moment and another process continues, until 30 kills are
done, over as many rounds as that takes. Each round must end with the same files as an undisturbed
one. The server records every call, and each text contains the tag of its call, so the journal says
which calls were on disk at the time of the kill: none of them may be made again.

Processes come from a forkserver that has imported the libraries, so that kills hit the round and
not the imports. Writes ``results/kills.json``.
"""

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.random_model import save_random_model
from benchmarks.report.record import RESULTS, save, setting
from benchmarks.rounds.fake_server import TAG, FakeServer, Teacher
from benchmarks.rounds.fakes import HashEmbedder, make_round, pair_maker
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.core.progress import stage
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.policy import Policy
from preflexor_pl.server.generator import RemoteGenerator

PAIRS, IN_FLIGHT = 24, 8
TEACHER = Teacher((0.05, 0.15), unusable=0.1)
KILLS_PER_ROUND = 3  # a process lives for a third of a round's time on average
FILES = "plan.json", "pairs.jsonl", "drops.jsonl", "manifest.json"
PRELOADED = [
    "benchmarks.rounds.fakes", "openai", "peft", "transformers",
    "preflexor_pl.policy.generation", "preflexor_pl.policy.policy",
    "preflexor_pl.server.concurrent_calls",
]  # fmt: skip


def small_index() -> CorpusIndex:
    """The paragraphs of the sample corpus as chunks, with random vectors."""
    chunks = {}
    for path in sorted(Path("corpus").glob("*.md")):
        for number, text in enumerate(path.read_text(encoding="utf-8").split("\n\n")):
            chunk = Chunk(f"{path.name}#{number}", path.name, text, 0, len(text), path.stem)
            chunks[chunk.id] = chunk
    embedder: Any = HashEmbedder()
    vectors = embedder.encode([chunk.text for chunk in chunks.values()])
    return CorpusIndex(chunks, CorpusGraph.build(list(chunks), vectors), embedder, [])


def continue_round(url: str, model: Path, folder: Path, begun: Connection) -> None:
    """What each process does: make the missing part of the round in ``folder``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # hides the progress of the processes
    quiet_libraries()
    library = small_index()
    teacher = RemoteGenerator(ServerSettings(url, "scripted", in_flight=IN_FLIGHT))
    lora = LoRASettings(rank=4, alpha=8)
    policy = Policy(PolicySettings(model_name=str(model), dtype="float32", lora=lora))
    writer = LocalGenerator(policy, "policy", batch_size=8, name="tiny (policy)")
    maker = pair_maker(teacher, writer, library, PAIRS)
    begun.send(True)
    make_round(maker, folder, PAIRS)


@dataclass
class Rounds:
    """Makes rounds in processes that may be killed.

    Attributes:
        server: the teacher.
        model: folder of the policy.
        context: starts the processes.
    """

    server: FakeServer
    model: Path
    context: Any

    def run(self, folder: Path, limit: float | None) -> tuple[bool, float]:
        """Run a process and kill it after ``limit`` seconds; whether it was killed, and its age."""
        receiver, sender = self.context.Pipe(duplex=False)
        made = self.context.Process(
            target=continue_round, args=(self.server.url, self.model, folder, sender)
        )
        made.start()
        sender.close()
        receiver.recv()
        started = time.monotonic()
        made.join(limit)
        killed, age = made.exitcode is None, time.monotonic() - started
        made.kill()
        made.join()
        if not killed and made.exitcode:
            raise RuntimeError(f"{folder}: a process ended by itself: exit code {made.exitcode}")
        time.sleep(0.2)  # until the server has read what the process sent
        return killed, age

    def tags(self, since: int) -> list[str]:
        """Tags of the calls with number ``since`` and later."""
        return [call.tag for call in self.server.calls[since:]]


def recorded(folder: Path) -> list[tuple[str, str]]:
    """(call, tag of its text) of each whole line of a journal; "" for texts of the policy."""
    path = folder / "calls.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    records = [json.loads(line) for line in lines]
    tags = [TAG.search(record["text"]) for record in records]
    return [
        (record["call"], "" if record["call"].startswith("rejected/") or not tag else tag.group())
        for record, tag in zip(records, tags, strict=True)
    ]


def interrupted(rounds: Rounds, folder: Path, wait: Any, kills: int) -> list[dict[str, Any]]:
    """Kill one round after each ``wait()`` seconds, at most ``kills`` times: the cost of each."""
    made: list[dict[str, Any]] = []
    on_disk: set[str] = set()  # tags, when the process began
    while True:
        since = len(rounds.server.calls)
        killed, age = rounds.run(folder, wait() if len(made) < kills else None)
        asked = rounds.tags(since)
        if made:
            made[-1]["recorded calls repeated"] = len(on_disk.intersection(asked))
        journal = recorded(folder)
        on_disk = {tag for _, tag in journal if tag}
        if not killed:
            return made
        last = journal[-1][0].split("/")[0] if journal else "nothing"
        made.append(
            {
                "after": round(age, 3),
                "calls on disk": len(journal),
                "last of them": last,
                "calls lost": len(set(asked) - on_disk),
            }
        )


def cost(rounds: Rounds, folder: Path, since: int, kills: list[dict[str, Any]]) -> dict[str, Any]:
    """Kills and repeated calls of a whole round, whose first call has number ``since``."""
    times = Counter(rounds.tags(since))
    lines = Counter(call for call, _ in recorded(folder))
    return {
        "kills": kills,
        "calls": times.total(),
        "calls made again": times.total() - len(times),
        "calls recorded twice": lines.total() - len(lines),
    }


def run(rounds: Rounds, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """An undisturbed round, then interrupted ones until there were so many kills."""
    whole = folder / "undisturbed"
    _, seconds = rounds.run(whole, None)
    left_alone = {"calls": len(rounds.server.calls), "seconds": round(seconds, 3)}
    print(f"undisturbed: {left_alone}", flush=True)
    draw = random.Random(seed)
    made: list[dict[str, Any]] = []
    with stage("kills", kills) as progress:
        while (done := sum(len(one["kills"]) for one in made)) < kills:
            again, since = folder / f"killed-{len(made)}", len(rounds.server.calls)
            costs = interrupted(
                rounds, again, lambda: draw.expovariate(KILLS_PER_ROUND / seconds), kills - done
            )
            same = {n: (again / n).read_bytes() == (whole / n).read_bytes() for n in FILES}
            made.append(cost(rounds, again, since, costs) | {"identical": same})
            progress.advance(len(costs))
    return {"left alone": left_alone, "each round": made}


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Totals over all rounds."""
    kills = [kill for one in rounds for kill in one["kills"]]
    lost = [kill["calls lost"] for kill in kills]
    return {
        "kills": len(kills),
        "rounds": len(rounds),
        "rounds identical to the one left alone": sum(all(o["identical"].values()) for o in rounds),
        "recorded calls repeated": sum(kill["recorded calls repeated"] for kill in kills),
        "calls recorded twice": sum(one["calls recorded twice"] for one in rounds),
        "calls lost": sum(lost),
        "calls lost by one kill, at most": max(lost),
        "calls made again": sum(one["calls made again"] for one in rounds),
        "last on disk": dict(Counter(kill["last of them"] for kill in kills)),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as name, FakeServer(TEACHER) as server:
        model = save_random_model("tiny", Path(name) / "model", "cpu")
        result = run(Rounds(server, model, context), Path(name), options.kills, options.seed)
    totals = summary(result["each round"])
    facts = {"pairs": PAIRS, "in flight": IN_FLIGHT, "seed": options.seed}
    save("kills", setting("torch", "openai", "httpx2") | facts | totals | result, options.out)
    print(totals)


if __name__ == "__main__":
    main()
