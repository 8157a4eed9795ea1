"""Whether two ways of making a step compute the same: before that no time counts."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.training.runner import Bench, How, Row

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
"""Largest relative difference, by the dtype of the weights."""

ROUNDED = 0.1
"""The same of a gradient's norm in bfloat16, where each way is that far from float32 by rounding
alone (``rounding.py``)."""

SEEN = "loss", "gradient norm"  # of the first step; the norm is that before clipping


def gate(bench: Bench, row: Row, hows: Mapping[str, How]) -> dict[str, Any]:
    """The first step's loss and gradient norm on both sides, by dtype.

    In bfloat16 rounding hides much, so both sides must agree in float32 first.

    ORPO's NLL is the mean over the chosen response of each pair here, and over all tokens of prompt
    and response of the batch in TRL. Where a prompt is one token, which nothing predicts, and a
    micro-batch one pair, the two are equal: there ORPO is compared.

    Raises:
        SystemExit: they differ.
    """
    bare = row.loss == "orpo"
    seen = {}
    for dtype in dict.fromkeys(["float32", row.dtype]):
        theirs = hows["trl"] | ({"micro": 1} if bare else {})
        if dtype == "float32":
            theirs |= {"autocast": False}
        same = replace(row, dtype=dtype)
        first = {
            "ours": bench.run("ours", same, hows["ours"] | {"masked": 0.0}, 1, 0, bare),
            "trl": bench.run("trl", same, theirs, 1, 0, bare),
        }
        found = {name: {side: first[side][name] for side in first} for name in SEEN}
        wrong = disagreements(row.loss, found, dtype)
        if wrong:
            raise SystemExit(f"error: {same.name}: no time counts, {' and '.join(wrong)}: {found}")
        seen[dtype] = found
    return seen


def disagreements(loss: str, found: Mapping[str, Mapping[str, float]], dtype: str) -> list[str]:
    """What differs, in words.

    Args:
        loss: dpo, exo or orpo.
        found: of each of ``SEEN``, the value of every way that is compared.
        dtype: of the weights.
    """
    wrong = []
    tolerance = TOLERANCE[dtype]
    norms = tolerance if dtype == "float32" else ROUNDED
    for name, most in zip(SEEN, (tolerance, norms), strict=True):
        first, *others = found[name].values()
        if any(apart(first, other) > most for other in others):
            wrong.append(f"the {name} differs")
    if loss == "dpo" and any(apart(one, math.log(2)) > tolerance for one in found["loss"].values()):
        wrong.append("DPO does not start at ln 2")
    return wrong


def apart(one: float, other: float) -> float:
    """Relative difference; NaN differs from everything."""
    difference = abs(one - other) / max(abs(one), abs(other))
    return math.inf if math.isnan(difference) else difference
