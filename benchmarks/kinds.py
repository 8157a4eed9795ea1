"""What each kind of result says in a table: see ``table.py``.

A kind is a few rows from one file, and a ``Kind`` at the end that says which files and which head.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
Rows = Iterator[Sequence[str]]


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


# Cells


def _number(value: float) -> str:
    """Three digits that count, or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return (
        f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    )


def _spread(value: Mapping[str, float]) -> str:
    least, most = _number(value["least"]), _number(value["most"])
    return f"**{_number(value['median'])}** ({least} to {most})"


# Rows of each kind


def _training(result: Result) -> Rows:
    ours, trl = result["ours"], result["trl"]
    yield (
        result["row"],
        _spread(result["TRL's time / ours"]),
        _spread(result["our memory / TRL's"]),
        *(_number(side["pairs/s"]["median"]) for side in (ours, trl)),
        *(_number(side["peak MB"]["median"]) for side in (ours, trl)),
        *(f"{side['padding']['median']:.0%}" for side in (ours, trl)),
    )


def _ablation(result: Result) -> Rows:
    for rung in result["rungs"]:
        gains = (_spread(rung[name]) for name in ("gain", "gain over the first"))
        sizes = (_number(rung["peak MB"]["median"]), f"{rung['padding']['median']:.0%}")
        yield (result["row"], rung["rung"], *gains, *sizes)


def _shipped(result: Result) -> Rows:
    yield (f"`configs/{result['run']}.yaml`", _spread(result["speed"]))


def _growth(result: Result) -> Rows:
    for side, over, curve in _curves(result):
        for point in curve["points"]:
            speeds = (_number(point[name]) for name in ("pairs/s", "peak MB"))
            yield (side, over, str(point["size"]), *speeds)


def _growth_exponents(result: Result) -> str:
    return " ".join(
        f"Exponents of {side} over {over}: {_grown(curve['exponents'])}."
        for side, over, curve in _curves(result)
        if curve["exponents"]
    )


def _curves(result: Result) -> Iterator[tuple[str, str, Result]]:
    for side, curves in result["curves"].items():
        for over in ("length", "pairs in a step"):
            yield side, over, curves[over]


def _grown(exponents: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_number(e)}" for name, e in exponents.items())


def _rounds(result: Result) -> Rows:
    other = result["batches of one"]
    yield ("`generate`, one call at a time", _spread(result["generate / rounds"]))
    yield ("our own generator, batches of one", f"**{_number(other['ratio'])}**")


def _rounds_growth(result: Result) -> Rows:
    for size in result["sizes"]:
        counts = (f"{size[name]:,}" for name in ("pairs", "texts", "tokens"))
        yield (*counts, _number(size["seconds"]))


def _exponents(result: Result) -> str:
    return f"Exponents: {_grown(result['exponents'])}." if result["exponents"] else ""


def _server(result: Result) -> Rows:
    for teacher, ratio in result["wall / bound"].items():
        yield (teacher, _spread(ratio))


def _overlap(result: Result) -> Rows:
    for run in result["runs"]:
        waited, hidden = (
            run[f"seconds of asking {what}, round 1"]
            for what in ("that training waited for", "hidden behind training")
        )
        yield ("on" if run["overlap"] else "off", _number(waited), _number(hidden))


def _kills(result: Result) -> Rows:
    same, rounds = result["rounds identical to the one left alone"], result["rounds"]
    lost, most = result["calls lost"], result["calls lost by one kill, at most"]
    again = result["recorded calls repeated"]
    yield (str(result["kills"]), f"{same} of {rounds}", str(again), str(lost), str(most))


def _retrieval(result: Result) -> Rows:
    ours = next(iter(result["sides"]))
    for side, made in result["sides"].items():
        for search in made["searches"]:
            compared = side != ours and search["ef"] in (0, result["ef"])
            ratio = result[f"{ours} / others"][side] if compared else {}
            yield (
                side,
                str(search["ef"] or "all"),
                f"{search['recall@10']:.4f}",
                *(
                    f"{_number(search[name])}" + (f"; {_spread(ratio[name])}" if ratio else "")
                    for name in ("queries/s together", "queries/s one at a time")
                ),
                _number(made["build seconds"]),
                _number(made["MB"]),
            )


def _retrieval_growth(result: Result) -> Rows:
    names = "build seconds", "queries/s together", "queries/s one at a time", "MB"
    for size in result["sizes"]:
        recall = f"{size['recall@10']:.4f}"
        yield (f"{size['vectors']:,}", recall, *(_number(size[name]) for name in names))


def _retrieval_exponents(result: Result) -> str:
    told = _grown(result["exponents"])
    return f"Exponents over the sizes above 5,000: {told}." if told else ""


def _startup(result: Result) -> Rows:
    [ratios] = [value for name, value in result.items() if name.startswith("seconds /")]
    for name, seconds in result["seconds"].items():
        heavy = result["modules of the policy and the embedder"][name]
        ratio = _spread(ratios[name]) if name in ratios else ""
        yield (name, _number(seconds), ratio, ", ".join(heavy) or "none")


def _gpu(result: Result) -> Rows:
    for name, one in result["targets"].items():
        yield (name, _number(one["measured"]), one["target"], "met" if one["met"] else "missed")


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
        _training,
    ),
    Kind(
        "ablation-*",
        "What each part of it gains",
        "PYTHONPATH=. python benchmarks/ablation.py",
        ["what", "rung", "gain over the one before", "over the first", "peak MB", "padding"],
        _ablation,
    ),
    Kind(
        "shipped-*",
        "The training part of a run: the plain way's time / that of now",
        "PYTHONPATH=. python benchmarks/shipped.py runs/orpo",
        ["config", "ratio"],
        _shipped,
    ),
    Kind(
        "scaling-*",
        "How a step grows",
        "PYTHONPATH=. python benchmarks/scaling.py",
        ["side", "over", "of it", "pairs/s", "peak MB"],
        _growth,
        _growth_exponents,
    ),
    Kind(
        "making_rounds",
        "Making a round: the other's time / that of a round in batches",
        "make bench-rounds",
        ["other", "ratio"],
        _rounds,
    ),
    Kind(
        "rounds-scaling",
        "How making a round grows",
        "PYTHONPATH=. python benchmarks/rounds_scaling.py",
        ["pairs", "texts", "tokens", "seconds"],
        _rounds_growth,
        _exponents,
    ),
    Kind(
        "server_teacher",
        "A teacher behind HTTP: wall time / the least that its calls can take",
        "make bench-rounds",
        ["teacher", "ratio"],
        _server,
    ),
    Kind(
        "overlap",
        "Asking while training",
        "PYTHONPATH=. python benchmarks/overlap.py",
        ["`data.overlap`", "seconds that training waited for", "seconds hidden behind it"],
        _overlap,
    ),
    Kind(
        "kills",
        "Kills at random moments of a round",
        "PYTHONPATH=. python benchmarks/kills.py",
        ["kills", "rounds as if left alone", "calls repeated", "calls lost", "by one, at most"],
        _kills,
    ),
    Kind(
        "retrieval",
        "Retrieval: queries a second, and CorpusGraph's as a multiple of them",
        "make bench-retrieval",
        ["side", "ef", "recall@10", "all at once", "one at a time", "build seconds", "MB"],
        _retrieval,
    ),
    Kind(
        "retrieval-scaling",
        "How the graph grows",
        "PYTHONPATH=. python benchmarks/retrieval_scaling.py",
        ["vectors", "recall@10", "build seconds", "queries/s at once", "one at a time", "MB"],
        _retrieval_growth,
        _retrieval_exponents,
    ),
    Kind(
        "startup",
        "Start-up, against the bare import of LightningCLI",
        "make bench-retrieval",
        ["command", "seconds", "ratio", "imports of policy and embedder"],
        _startup,
    ),
    Kind(
        "gpu",
        "On a GPU, a model of 1B: what was aimed at",
        "make bench-gpu",
        ["what", "measured", "target", ""],
        _gpu,
        lambda result: f"Card: {result['card']}.",
    ),
)
