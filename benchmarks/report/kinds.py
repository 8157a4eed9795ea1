"""Every kind of result that has a table; ``tables.py`` writes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.report import rows
from benchmarks.report.rows import Result, Rows


@dataclass(frozen=True)
class Kind:
    """The table of one benchmark's results.

    Attributes:
        files: pattern of the names of the result files, without ``.json``.
        title: title of the section.
        command: command that measures them.
        head: column titles.
        rows: yields the rows of one result file.
        note: text under the table for one result file; "" for none.
    """

    files: str
    title: str
    command: str
    head: Sequence[str]
    rows: Callable[[Result], Rows]
    note: Callable[[Result], str] = lambda result: ""


NO_ROWS = {"training-tuned"}
KINDS = (
    Kind(
        "training-*",
        "A training step compared with TRL's",
        "make bench-train",
        [
            "what",
            "TRL's time / ours",
            "our memory / TRL's",
            *("pairs/s, ours", "TRL's"),
            *("peak MB, ours", "TRL's"),
            *("padding, ours", "TRL's"),
        ],
        rows.training,
    ),
    Kind(
        "ablation-*",
        "Gain of each part of a step",
        "python -m benchmarks.training.ablation",
        ["what", "step", "speed / the step before", "speed / the first", "peak MB", "padding"],
        rows.ablation,
        rows.reference_share,
    ),
    Kind(
        "rounding",
        "Error of bfloat16 against float32",
        "python -m benchmarks.training.rounding",
        ["layout", "pairs", "error of a pair's gradient", "error of its log-probs"],
        rows.rounding,
    ),
    Kind(
        "shipped-*",
        "Training of a finished run: time the plain way / time now",
        "python -m benchmarks.training.finished_run runs/orpo",
        ["config", "ratio"],
        rows.shipped,
    ),
    Kind(
        "allocator",
        "A step with `GLIBC_TUNABLES=glibc.malloc.tcache_count=0`, as in `make fit` / without",
        "python -m benchmarks.training.allocator",
        ["what", "time", "memory", "peak MB with", "without"],
        rows.allocator,
    ),
    Kind(
        "scaling-*",
        "Growth of a training step",
        "python -m benchmarks.training.scaling",
        ["side", "variable", "value", "pairs/s", "peak MB"],
        rows.growth,
        rows.growth_exponents,
    ),
    Kind(
        "making_rounds",
        "Making a round: time of another way / time of a round in batches",
        "make bench-rounds",
        ["other way", "ratio"],
        rows.rounds,
    ),
    Kind(
        "rounds-scaling",
        "Growth of making a round",
        "python -m benchmarks.rounds.scaling",
        ["pairs", "texts", "tokens", "seconds"],
        rows.rounds_growth,
        rows.exponents,
    ),
    Kind(
        "server_teacher",
        "A teacher behind HTTP: wall time / lower bound from its calls",
        "make bench-rounds",
        ["teacher", "ratio"],
        rows.server,
    ),
    Kind(
        "overlap",
        "Prefetching the next round during training",
        "python -m benchmarks.rounds.prefetch",
        ["`data.prefetch`", "seconds training waited", "seconds of calls during training"],
        rows.overlap,
    ),
    Kind(
        "kills",
        "Kills at random moments of a round",
        "python -m benchmarks.rounds.kill_recovery",
        [
            "kills",
            "rounds with unchanged files",
            "recorded calls repeated",
            "calls lost",
            "most calls lost by one kill",
        ],
        rows.kills,
    ),
    Kind(
        "retrieval",
        "Retrieval: queries/s, and CorpusGraph's queries/s / them",
        "make bench-retrieval",
        ["side", "ef", "recall@10", "queries at once", "one at a time", "build seconds", "MB"],
        rows.retrieval,
    ),
    Kind(
        "retrieval-scaling",
        "Growth of the graph",
        "python -m benchmarks.retrieval.scaling",
        ["vectors", "recall@10", "build seconds", "queries/s at once", "one at a time", "MB"],
        rows.retrieval_growth,
        rows.retrieval_exponents,
    ),
    Kind(
        "startup",
        "Start-up time / time of importing LightningCLI alone",
        "make bench-retrieval",
        ["command", "seconds", "ratio", "imported modules of policy or embedder"],
        rows.startup,
    ),
    Kind(
        "gpu",
        "On a GPU, a model of 1B parameters: targets",
        "make bench-gpu",
        ["what", "measured", "target", "met"],
        rows.gpu,
        lambda result: f"Card: {result['card']}.",
    ),
)
