"""The models that a command names, ``MODEL`` or ``MODEL@N``, under labels of their own."""

import argparse
from dataclasses import dataclass
from pathlib import Path

BASE = "base"  # the name that stands for the base of the first model


@dataclass(frozen=True)
class Spec:
    """A model to measure.

    Attributes:
        label: in the tables and file names.
        name: a run, an adapter's folder, an exported folder, or a hub id.
        iterations: refinements after its first answer.
    """

    label: str
    name: str
    iterations: int


def parse_spec(text: str, default: int) -> tuple[str, int]:
    """Name and refinements of ``MODEL@N``; ``MODEL`` alone has the default number."""
    name, at, count = text.rpartition("@")
    return (name, int(count)) if at and count.isdecimal() else (text, default)


def model_specs(options: argparse.Namespace, base: str) -> list[Spec]:
    """Each model and number of refinements once, under a label of its own, the base first."""
    specs: list[Spec] = []
    for text in options.models:
        name, count = parse_spec(text, options.iterations)
        short = name if name != BASE and Path(name).name == BASE else Path(name).name or name
        name = base if name == BASE else name
        counts = [spec.iterations for spec in specs if spec.name == name]
        labels = [short, f"{short}@{count}" if counts else name, f"{name}@{count}"]
        free = [label for label in labels if label not in [spec.label for spec in specs]]
        if count not in counts:
            specs.append(Spec(free[0], name, count))
    if base not in [spec.name for spec in specs]:
        specs.insert(0, Spec(BASE, base, 0))
    return sorted(specs, key=lambda spec: spec.name != base)
