"""Growth of a training step's time and memory with the length of a text and the pairs in a step.

``python -m benchmarks.training.scaling``. All pairs have one length on both sides: half of it is
prompt, half response. Each point runs in its own process. The exponent is the slope of a straight
line through the logarithms: 1 is linear, 2 quadratic. On a slow machine give fewer ``--lengths``.

Writes ``results/scaling-<loss>-<dtype>-<lora or full>.json``.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.report.record import exponent, save, setting
from benchmarks.training.runner import BATCHINGS, OURS, Bench, How, Row, add_options, opened
from benchmarks.training.workloads import Workload
from preflexor_pl.cli.entry import quiet_libraries


def curve(
    bench: Bench, side: str, points: Sequence[tuple[int, Row]], how: How, steps: int
) -> dict[str, Any]:
    """Time and memory of one side at each point, and their exponents.

    Args:
        bench: runs the sides.
        side: ours or trl.
        points: (size, row) of each point.
        how: options of the side.
        steps: timed steps, after one warm-up step.
    """
    made = []
    for size, row in points:
        result = bench.run(side, row, how, steps, warm_up=1)
        made.append({"size": size} | result)
        print(f"{side} {row.name}, {row.pairs_per_step} pairs: {result['seconds']} s", flush=True)
    sizes = [one["size"] for one in made]
    grows = {}
    if len(set(sizes)) > 1:
        grows = {
            "seconds a step": exponent(sizes, [sum(one["seconds"]) for one in made]),
            "peak MB": exponent(sizes, [one["peak MB"] for one in made]),
        }
    return {"exponents": grows, "points": made}


def parsed() -> argparse.Namespace:
    """The command-line options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", nargs="+", type=int, default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--pairs", nargs="+", type=int, default=[1, 2, 4, 8], help="in a step")
    parser.add_argument("--length", type=int, default=256, help="of a text in the curve over pairs")
    parser.add_argument("--loss", default="dpo", choices=["dpo", "exo", "orpo"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--sides", nargs="+", default=["ours", "trl"], choices=["ours", "trl"])
    parser.add_argument("--ours", default="packed", choices=BATCHINGS)
    parser.add_argument("--budget", type=int, default=4096, help="tokens in our micro-batch")
    parser.add_argument("--micro", type=int, default=1, help="pairs in TRL's micro-batch")
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--steps", type=int, default=2, help="timed steps, after one warm-up step")
    add_options(parser, "rank", "model", "peer_python", "out")
    return parser.parse_args()


def main() -> None:
    """Measure both curves of both sides, print and write."""
    options = parsed()
    quiet_libraries()

    def row(length: int, pairs: int) -> Row:
        half = length // 2
        workload = Workload.named(f"{half}+{half}+{half}")
        return Row(workload, options.loss, options.dtype, options.rank, pairs)

    hows = {
        "ours": OURS | {"batching": options.ours, "budget": options.budget},
        "trl": {"micro": options.micro, "autocast": False},
    }
    over_lengths = [(length, row(length, 1)) for length in options.lengths]
    over_pairs = [(pairs, row(options.length, pairs)) for pairs in options.pairs]
    curves: dict[str, Any] = {}
    with opened(options.model, options.peer_python) as bench:
        for side in options.sides:
            how = hows[side] | {"attention": options.attention}
            curves[side] = {
                "how": how,
                "length": curve(bench, side, over_lengths, how, options.steps),
                "pairs in a step": curve(bench, side, over_pairs, how, options.steps),
            }
            print(
                side,
                {over: curves[side][over]["exponents"] for over in ("length", "pairs in a step")},
            )
    trained = "lora" if options.rank else "full"
    result = setting("torch", "transformers", "peft", "lightning") | {"curves": curves}
    save(f"scaling-{options.loss}-{options.dtype}-{trained}", result, options.out)


if __name__ == "__main__":
    main()
