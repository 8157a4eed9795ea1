"""Wall time of a round with a teacher behind HTTP, compared with the lower bound from its calls.

``python -m benchmarks.rounds.server_teacher``, about 3 minutes, little work for the CPU.

A round of 32 pairs over the sample corpus. A call to the teacher takes about a second, 16 calls run
at a time, and rejected answers take no time. Everything between prompt and pairs.jsonl is real:
client, journal, graph, embedder. No schedule is faster than

    bound = max(longest chain of dependent calls, seconds of all calls / calls in flight)

There are three teachers: one of constant time, one whose calls take 0.5 to 1.5 s, and the same with
a tenth of its texts unusable, so that they are requested again. The start of the process is not
timed.

Writes ``results/server_teacher.json``.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report.record import RESULTS, save, setting, spread
from benchmarks.rounds.fake_server import KINDS, Call, FakeServer, Teacher
from benchmarks.rounds.fakes import InstantPolicy, make_round, pair_maker
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import DEFAULT_EMBEDDER
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.server.generator import RemoteGenerator

PAIRS, IN_FLIGHT = 32, 16
TEACHERS = {
    "1 s a call": Teacher((1.0, 1.0)),
    "0.5 to 1.5 s a call": Teacher((0.5, 1.5)),
    "0.5 to 1.5 s a call, 1 text in 10 unusable": Teacher((0.5, 1.5), unusable=0.1),
}
TARGET = 1.2


def make(teacher: Teacher, library: CorpusIndex, pairs: int, folder: Path) -> dict[str, Any]:
    """One round: its wall time, the bound, and the time of each stage."""
    with FakeServer(teacher) as server:
        generator = RemoteGenerator(ServerSettings(server.url, "m", in_flight=IN_FLIGHT))
        maker = pair_maker(generator, InstantPolicy(), library, pairs)
        started, cpu = time.monotonic(), time.process_time()
        made = make_round(maker, folder, pairs)
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
    calls = server.calls
    chain = teacher.longest_chain(calls)
    work = sum(map(teacher.seconds_of, calls)) / IN_FLIGHT
    return {
        "pairs": len(made),
        "calls": len(calls),
        "most at once": server.most_at_once,
        "wall": round(wall, 3),
        "CPU seconds, the server's included": round(cpu, 3),
        "longest chain": round(chain, 3),
        "calls / in flight": round(work, 3),
        "wall / bound": round(wall / max(chain, work), 3),
        "stages": [stage(kind, teacher, calls) for kind in KINDS.values()],
    }


def stage(kind: str, teacher: Teacher, calls: list[Call]) -> dict[str, Any]:
    """Calls of one kind: time from the first start to the last end, and their work."""
    mine = [call for call in calls if call.kind == kind]
    ends = [call.time + teacher.seconds_of(call) for call in mine]
    seconds = max(ends) - min(call.time for call in mine)
    busy = sum(map(teacher.seconds_of, mine)) / IN_FLIGHT / seconds
    return {
        "kind": kind,
        "calls": len(mine),
        "seconds": round(seconds, 3),
        "share of in_flight used": round(busy, 3),
    }


def warm_up(library: CorpusIndex) -> None:
    """Import the client and run the embedder, as a process does once."""
    with FakeServer(Teacher((0.0, 0.0))) as server:
        RemoteGenerator(ServerSettings(server.url, "m")).complete([Request(next(iter(KINDS)))])
    library.search("toughness", 1)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in TEACHERS}
    with tempfile.TemporaryDirectory() as name:
        library = CorpusIndex.open("corpus", DEFAULT_EMBEDDER, 96, 12, Path(name) / "graph")
        warm_up(library)
        for repeat in range(options.repeats):
            for number, (title, teacher) in enumerate(TEACHERS.items()):
                folder = Path(name) / f"{repeat}-{number}"
                made = make(teacher, library, options.pairs, folder)
                measured[title].append(made)
                print(f"{title}: {made['wall']} s, {made['wall / bound']} of the bound", flush=True)
    ratios = {t: spread([one["wall / bound"] for one in made]) for t, made in measured.items()}
    packages = "torch", "openai", "httpx2", "anyio"
    facts = {"pairs": options.pairs, "in flight": IN_FLIGHT, "target": TARGET}
    result = setting(*packages) | facts | {"wall / bound": ratios, "repeats": measured}
    save("server_teacher", result, options.out)
    print(ratios)


if __name__ == "__main__":
    main()
