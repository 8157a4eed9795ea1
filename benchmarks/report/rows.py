"""Rows and notes of each kind of table, made from one result file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
Rows = Iterator[Sequence[str]]


# Cells


def _number(value: float) -> str:
    """Three significant digits, or all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return (
        f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    )


def _spread(value: Mapping[str, float]) -> str:
    least, most = _number(value["least"]), _number(value["most"])
    return f"**{_number(value['median'])}** ({least} to {most})"


# Rows of each kind


def training(result: Result) -> Rows:
    """One row: ratios, then both sides."""
    ours, trl = result["ours"], result["trl"]
    yield (
        result["row"],
        _spread(result["TRL's time / ours"]),
        _spread(result["our memory / TRL's"]),
        *(_number(side["pairs/s"]["median"]) for side in (ours, trl)),
        *(_number(side["peak MB"]["median"]) for side in (ours, trl)),
        *(f"{side['padding']['median']:.0%}" for side in (ours, trl)),
    )


def ablation(result: Result) -> Rows:
    """One row for each step of the ablation."""
    for rung in result["rungs"]:
        gains = (_spread(rung[name]) for name in ("gain", "gain over the first"))
        sizes = (_number(rung["peak MB"]["median"]), f"{rung['padding']['median']:.0%}")
        yield (result["row"], rung["rung"], *gains, *sizes)


def reference_share(result: Result) -> str:
    """The share of training time that the reference takes."""
    [name] = [name for name in result if name.startswith("reference's share")]
    return f"The {name}: {_spread(result[name])} of training time."


def rounding(result: Result) -> Rows:
    """One row for each layout."""
    for layout, far in result["layouts"].items():
        pairs = str(len(result["pairs"][layout]["gradient"]))
        yield (layout, pairs, *(_spread(far[what]) for what in ("gradient", "logps")))


def shipped(result: Result) -> Rows:
    """One row: the config of the run."""
    yield (f"`configs/{result['run']}.yaml`", _spread(result["speed"]))


def allocator(result: Result) -> Rows:
    """One row for each workload and loss."""
    for name, found in result["rows"].items():
        peaks = (_number(found[f"peak MB {way}"]["median"]) for way in ("with", "without"))
        yield (name, _spread(found["time"]), _spread(found["memory"]), *peaks)


def growth(result: Result) -> Rows:
    """One row for each side and size."""
    for side, over, curve in _curves(result):
        for point in curve["points"]:
            speeds = (_number(point[name]) for name in ("pairs/s", "peak MB"))
            yield (side, over, str(point["size"]), *speeds)


def growth_exponents(result: Result) -> str:
    """Exponents of each side, if two or more sizes were measured."""
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


def rounds(result: Result) -> Rows:
    """One row for each way that a round in batches is compared with."""
    other = result["batches of one"]
    yield ("`generate`, one call at a time", _spread(result["generate / rounds"]))
    yield ("our own generator, batches of one", f"**{_number(other['ratio'])}**")


def rounds_growth(result: Result) -> Rows:
    """One row for each number of pairs."""
    for size in result["sizes"]:
        counts = (f"{size[name]:,}" for name in ("pairs", "texts", "tokens"))
        yield (*counts, _number(size["seconds"]))


def exponents(result: Result) -> str:
    """Exponents of a single curve."""
    return f"Exponents: {_grown(result['exponents'])}." if result["exponents"] else ""


def server(result: Result) -> Rows:
    """One row for each teacher."""
    for teacher, ratio in result["wall / bound"].items():
        yield (teacher, _spread(ratio))


def overlap(result: Result) -> Rows:
    """One row with prefetching and one without."""
    for run in result["runs"]:
        waited, hidden = (
            run[f"seconds of asking {what}, round 1"]
            for what in ("that training waited for", "hidden behind training")
        )
        yield ("on" if run["overlap"] else "off", _number(waited), _number(hidden))


def kills(result: Result) -> Rows:
    """One row for all kills."""
    same, rounds = result["rounds identical to the one left alone"], result["rounds"]
    lost, most = result["calls lost"], result["calls lost by one kill, at most"]
    again = result["recorded calls repeated"]
    yield (str(result["kills"]), f"{same} of {rounds}", str(again), str(lost), str(most))


def retrieval(result: Result) -> Rows:
    """One row for each side and ef; a ratio where ef equals that of CorpusGraph."""
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


def retrieval_growth(result: Result) -> Rows:
    """One row for each number of vectors."""
    names = "build seconds", "queries/s together", "queries/s one at a time", "MB"
    for size in result["sizes"]:
        recall = f"{size['recall@10']:.4f}"
        yield (f"{size['vectors']:,}", recall, *(_number(size[name]) for name in names))


def retrieval_exponents(result: Result) -> str:
    """Exponents over the sizes that are not searched exhaustively."""
    listed = _grown(result["exponents"])
    return f"Exponents over the sizes above 5,000: {listed}." if listed else ""


def startup(result: Result) -> Rows:
    """One row for each command."""
    [ratios] = [value for name, value in result.items() if name.startswith("seconds /")]
    for name, seconds in result["seconds"].items():
        heavy = result["modules of the policy and the embedder"][name]
        ratio = _spread(ratios[name]) if name in ratios else ""
        yield (name, _number(seconds), ratio, ", ".join(heavy) or "none")


def gpu(result: Result) -> Rows:
    """One row for each target."""
    for name, one in result["targets"].items():
        yield (name, _number(one["measured"]), one["target"], "yes" if one["met"] else "no")
