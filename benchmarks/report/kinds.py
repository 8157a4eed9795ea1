"""Every kind of result that has a table: see ``table.py``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.report import rows
from benchmarks.report.rows import Result, Rows


@dataclass(frozen=True)
class Kind:
    """Results of one benchmark.

    Attributes:
        files: pattern of their names.
        title: of the section.
        command: that makes them.
        head: of the table.
        rows: of the table, from one file.
        note: under the table, from one file; "" for none.
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
        "A training step, against TRL",
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
        "What each part of it gains",
        "python -m benchmarks.training.ablation",
        ["what", "rung", "gain over the one before", "over the first", "peak MB", "padding"],
        rows.ablation,
        rows.reference_share,
    ),
    Kind(
        "rounding",
        "How far bfloat16 is from float32",
        "python -m benchmarks.training.rounding",
        ["layout", "pairs", "of a pair's gradient", "of its log-probs"],
        rows.rounding,
    ),
    Kind(
        "shipped-*",
        "The training part of a run: the plain way's time / that of now",
        "python -m benchmarks.training.finished_run runs/orpo",
        ["config", "ratio"],
        rows.shipped,
    ),
    Kind(
        "allocator",
        "A step under `GLIBC_TUNABLES=glibc.malloc.tcache_count=0`, as in `make fit` / without",
        "python -m benchmarks.training.allocator",
        ["what", "time", "memory", "peak MB with", "without"],
        rows.allocator,
    ),
    Kind(
        "scaling-*",
        "How a step grows",
        "python -m benchmarks.training.scaling",
        ["side", "over", "of it", "pairs/s", "peak MB"],
        rows.growth,
        rows.growth_exponents,
    ),
    Kind(
        "making_rounds",
        "Making a round: the other's time / that of a round in batches",
        "make bench-rounds",
        ["other", "ratio"],
        rows.rounds,
    ),
    Kind(
        "rounds-scaling",
        "How making a round grows",
        "python -m benchmarks.rounds.scaling",
        ["pairs", "texts", "tokens", "seconds"],
        rows.rounds_growth,
        rows.exponents,
    ),
    Kind(
        "server_teacher",
        "A teacher behind HTTP: wall time / the least that its calls can take",
        "make bench-rounds",
        ["teacher", "ratio"],
        rows.server,
    ),
    Kind(
        "overlap",
        "Asking while training",
        "python -m benchmarks.rounds.prefetch",
        ["`data.overlap`", "seconds that training waited for", "seconds hidden behind it"],
        rows.overlap,
    ),
    Kind(
        "kills",
        "Kills at random moments of a round",
        "python -m benchmarks.rounds.kill_recovery",
        ["kills", "rounds as if left alone", "calls repeated", "calls lost", "by one, at most"],
        rows.kills,
    ),
    Kind(
        "retrieval",
        "Retrieval: queries a second, and CorpusGraph's as a multiple of them",
        "make bench-retrieval",
        ["side", "ef", "recall@10", "all at once", "one at a time", "build seconds", "MB"],
        rows.retrieval,
    ),
    Kind(
        "retrieval-scaling",
        "How the graph grows",
        "python -m benchmarks.retrieval.scaling",
        ["vectors", "recall@10", "build seconds", "queries/s at once", "one at a time", "MB"],
        rows.retrieval_growth,
        rows.retrieval_exponents,
    ),
    Kind(
        "startup",
        "Start-up, against the bare import of LightningCLI",
        "make bench-retrieval",
        ["command", "seconds", "ratio", "imports of policy and embedder"],
        rows.startup,
    ),
    Kind(
        "gpu",
        "On a GPU, a model of 1B: what was aimed at",
        "make bench-gpu",
        ["what", "measured", "target", ""],
        rows.gpu,
        lambda result: f"Card: {result['card']}.",
    ),
)
