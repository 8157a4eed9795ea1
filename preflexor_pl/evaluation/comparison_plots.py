"""Pictures of an evaluation: scores against iterations, and models side by side."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from preflexor_pl.core.files import replaced
from preflexor_pl.evaluation.comparison import INTEGRATED, Row
from preflexor_pl.evaluation.plots import BLUE, DPI, GREEN, ORANGE, PURPLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#E69F00", "#000000")
CURVES = {
    "similarity": "similarity to the teacher's answer",
    "f1": "F1 with the teacher's answer",
    "wins_over_first": "wins over the first answer (judge)",
    "repetition": "repeated 4-grams",
    "facts/held out/short": "facts of held-out documents, written",
    "facts/held out/choice": "facts of held-out documents, letter chosen",
}
BARS = {
    "format_rate": "in its form",
    "on_topic": "on topic",
    "similarity": "similarity to the teacher's answer",
    "wins_over_base": "wins over the first model (judge)",
    "facts/training/likelihood": "facts of training documents, likeliest",
    "facts/held out/likelihood": "facts of held-out documents, likeliest",
    "facts/control/likelihood": "facts of neither, likeliest",
}


def plot_comparison(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw the curves and the bars; a picture without a value is not written.

    Args:
        rows: of an evaluation.
        folder: where the pictures go.

    Returns:
        The files written.
    """
    pictures = {"iterations": (CURVES, _curves), "models": (BARS, _bars)}
    made = []
    for name, (panels, draw) in pictures.items():
        used = {m: t for m, t in panels.items() if draw(None, rows, m)}
        if used:
            made.append(folder / f"{name}.png")
            _picture(made[-1], rows, used, draw)
    return made


def _picture(path: Path, rows: Sequence[Row], panels: dict[str, str], draw) -> None:  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.7 * lines), layout="constrained", facecolor="white")
    for number, (measure, title) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(lines, columns, number)
        draw(axes, rows, measure)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#EEEEEE")
    with replaced(path) as part:
        figure.savefig(part, format="png", dpi=DPI)


def _curves(axes: "Axes | None", rows: Sequence[Row], measure: str) -> bool:
    """A line for each model and variant with more than one stage, with its interval."""
    series: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.stage != INTEGRATED and measure in row.measures and row.measures[measure].n:
            series.setdefault((row.model, row.variant), []).append(row)
    series = {key: found for key, found in series.items() if len(found) > 1}
    if axes is None or not series:
        return bool(series)
    for colour, ((model, variant), found) in zip(cycle(COLOURS), series.items(), strict=False):
        x = [int(row.stage) for row in found]
        values = [row.measures[measure] for row in found]
        axes.plot(x, [v.value for v in values], "o-", color=colour, label=f"{model}, {variant}")
        axes.fill_between(
            x, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.12
        )
    axes.set_xticks(sorted({int(row.stage) for found in series.values() for row in found}))
    axes.set_xlabel("refinements")
    axes.legend(fontsize=8, frameon=False)
    return True


def _bars(axes: "Axes | None", rows: Sequence[Row], measure: str) -> bool:
    """A bar for each model's first answers, with its interval."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.stage == "0" and measure in row.measures and row.measures[measure].n:
            found.setdefault(row.model, row)
    if axes is None or not found:
        return bool(found)
    values = [row.measures[measure] for row in found.values()]
    middle = [v.value for v in values]
    reach = [
        [max(0.0, v.value - v.low) for v in values],
        [max(0.0, v.high - v.value) for v in values],
    ]
    axes.bar(list(found), middle, color=BLUE, alpha=0.8)
    axes.errorbar(list(found), middle, yerr=reach, fmt="none", ecolor="#333333", capsize=3)
    axes.tick_params(axis="x", labelsize=8)
    return True
