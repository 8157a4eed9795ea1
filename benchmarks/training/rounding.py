"""Error of bfloat16 gradients against float32, in packed and in plain batches.

``python -m benchmarks.training.rounding``: pair by pair with ORPO's loss, adapters and marker rows,
on the packaged model. Some pairs have a large error in every layout, so several are compared.

Writes ``results/rounding.json``.
"""

import argparse

from benchmarks.report.record import save, setting, spread
from benchmarks.training.layouts import RANK, by_layout, tokenized
from benchmarks.training.runner import add_options, opened
from benchmarks.training.workloads import Workload
from preflexor_pl.cli.entry import quiet_libraries


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", nargs="+", default=["W2/2", "W1/4"])
    parser.add_argument("--pairs", type=int, default=8, help="of each workload")
    add_options(parser, "model", "out")
    options = parser.parse_args()
    quiet_libraries()
    distances: dict[str, dict[str, list[float]]] = {}
    with opened(options.model) as bench:
        for name in options.workloads:
            for pair in tokenized(Workload.named(name).draw(options.pairs, 1, bench.vocabulary)):
                found = by_layout(str(bench.model), [pair], RANK)["adapters bfloat16"]
                for layout, far in found["from float32"].items():
                    for what, value in far.items():
                        distances.setdefault(layout, {}).setdefault(what, []).append(value)
                print(f"{name}: {found['from float32']}", flush=True)
    layouts = {
        layout: {what: spread(values) for what, values in far.items()}
        for layout, far in distances.items()
    }
    result = setting("torch", "transformers", "peft") | {"layouts": layouts, "pairs": distances}
    save("rounding", result, options.out)


if __name__ == "__main__":
    main()
