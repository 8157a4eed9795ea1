"""The fastest options of each side of the training benchmark: ``compare_trl --tune`` finds them.

They are in ``results/training-tuned.json``, with every trial. One option after the other is varied;
the best value so far stays until another is clearly faster. For TRL in bfloat16 the first is
autocast, which takes the adapters' products in bfloat16 too; then the attention kernel, then the
size of a micro-batch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report.record import read, save, setting
from benchmarks.training.runner import OURS, Bench, How, Row

NAME = "training-tuned"
BUDGETS = (2048, 1, 4096)  # tokens: the default, one pair, and more
CLEARLY_FASTER = 0.95  # of the best time; a smaller gain may be noise
ATTENTIONS = ("sdpa", "eager")


def choices(side: str, row: Row, batching: str) -> dict[str, list[Any]]:
    """Values of each option of a side, the likeliest first."""
    if side == "ours":
        kernels = ["sdpa"] if batching == "packed" else [*ATTENTIONS]
        return {"attention": kernels, "budget": [*BUDGETS], "batching": [batching]}
    sizes = [n for n in range(1, row.pairs_per_step + 1) if row.pairs_per_step % n == 0]
    autocast = [False, True] if row.dtype == "bfloat16" and row.rank else [False]
    return {"autocast": autocast, "attention": [*ATTENTIONS], "micro": sizes}


def fastest(
    seconds: Callable[[How], float], free: dict[str, list[Any]]
) -> tuple[How, list[dict[str, Any]]]:
    """The best value of each option, one option after the other, and every trial.

    Args:
        seconds: time with some options.
        free: values of each option; the search starts with the first ones.
    """
    best: How = {name: values[0] for name, values in free.items()}
    tried = [best | {"seconds": seconds(best)}]
    least = tried[0]["seconds"]
    for name, values in free.items():
        for value in values[1:]:
            way = best | {name: value}
            took = seconds(way)
            tried.append(way | {"seconds": took})
            if took < CLEARLY_FASTER * least:
                best, least = way, took
    return best, tried


def tune(bench: Bench, row: Row, batching: str, folder: Path) -> None:
    """Find the fastest options of both sides for a row and save them."""
    saved = read(folder / f"{NAME}.json")
    here = saved.setdefault(row.slug, {})
    for side, key in (("ours", f"ours {batching}"), ("trl", "trl")):

        def seconds(way: How, side: str = side) -> float:
            how = OURS | way if side == "ours" else way
            took = sum(bench.run(side, row, how, steps=2, warm_up=1)["seconds"])
            print(f"{row.name} {side} {way}: {took:.2f} s", flush=True)
            return round(took, 3)

        best, tried = fastest(seconds, choices(side, row, batching))
        here[key] = {"best": best, "pairs a step": row.pairs_per_step, "tried": tried}
    saved["setting"] = setting("torch", "transformers", "peft")
    save(NAME, saved, folder)


def tuned(row: Row, batching: str, folder: Path) -> dict[str, How]:
    """The saved options of each side for a row.

    Raises:
        SystemExit: there are none, or they were found for steps of another size.
    """
    here = read(folder / f"{NAME}.json").get(row.slug, {})
    saved = {"ours": here.get(f"ours {batching}"), "trl": here.get("trl")}
    if any(way is None or way["pairs a step"] != row.pairs_per_step for way in saved.values()):
        raise SystemExit(
            f"error: {row.name}: not tuned for steps of this size: run with --tune first"
        )
    ways = {side: way["best"] for side, way in saved.items() if way}
    return ways | {"ours": OURS | ways["ours"]}
