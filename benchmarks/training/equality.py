"""Whether two ways of computing a step give the same result: no time counts otherwise."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.training.runner import Bench, How, Row

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
"""Largest relative difference, by the dtype of the weights."""

ROUNDED = 0.1
"""The same for a gradient norm in bfloat16: rounding alone moves it that far from float32
(``rounding.py``)."""

COMPARED = "loss", "gradient norm"  # of the first step; the norm before clipping


def check_equality(bench: Bench, row: Row, hows: Mapping[str, How]) -> dict[str, Any]:
    """Loss and gradient norm of the first step on both sides, by dtype.

    Rounding in bfloat16 hides differences, so both sides must agree in float32 first.

    ORPO's NLL is the mean over the chosen response of each pair here, and over all tokens of prompt
    and response of the batch in TRL. The two are equal if a micro-batch has one pair and each
    prompt one token, which is never a target: ORPO is compared on such pairs.

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
        values = {name: {side: first[side][name] for side in first} for name in COMPARED}
        wrong = disagreements(row.loss, values, dtype)
        if wrong:
            raise SystemExit(f"error: {same.name}: no time counts, {' and '.join(wrong)}: {values}")
        seen[dtype] = values
    return seen


def disagreements(loss: str, values: Mapping[str, Mapping[str, float]], dtype: str) -> list[str]:
    """The differences, in words.

    Args:
        loss: dpo, exo or orpo.
        values: for each of ``COMPARED``, the value of every way.
        dtype: of the weights.
    """
    wrong = []
    tolerance = TOLERANCE[dtype]
    norms = tolerance if dtype == "float32" else ROUNDED
    for name, most in zip(COMPARED, (tolerance, norms), strict=True):
        first, *others = values[name].values()
        if any(relative_difference(first, other) > most for other in others):
            wrong.append(f"the {name} differs")
    if loss == "dpo" and any(
        relative_difference(one, math.log(2)) > tolerance for one in values["loss"].values()
    ):
        wrong.append("DPO does not start at ln 2")
    return wrong


def relative_difference(one: float, other: float) -> float:
    """Relative difference; infinite if one is NaN."""
    difference = abs(one - other) / max(abs(one), abs(other))
    return math.inf if math.isnan(difference) else difference
