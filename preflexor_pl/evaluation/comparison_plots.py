"""Pictures of an evaluation: scores against iterations, and models side by side."""

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from preflexor_pl.core.files import replaced
from preflexor_pl.evaluation.comparison import INTEGRATED, Row
from preflexor_pl.evaluation.intervals import Estimate
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

_Panel = dict[str, dict[str, Estimate]]  # series -> stage -> value; empty: nothing to draw
_Gather = Callable[[Sequence[Row], str], _Panel]
_Draw = Callable[["Axes", _Panel], None]


def plot_comparison(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw the curves and the bars; a picture without a value is not written.

    Args:
        rows: of an evaluation.
        folder: where the pictures go.

    Returns:
        The files written.
    """
    pictures: dict[str, tuple[dict[str, str], _Gather, _Draw]] = {
        "iterations": (CURVES, _series, _curves),
        "models": (BARS, _firsts, _bars),
    }
    made = []
    for name, (panels, gather, draw) in pictures.items():
        found = {title: gather(rows, measure) for measure, title in panels.items()}
        found = {title: series for title, series in found.items() if series}
        if found:
            made.append(folder / f"{name}.png")
            _picture(made[-1], found, draw)
    return made


def _picture(path: Path, panels: dict[str, _Panel], draw: _Draw) -> None:
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.7 * lines), layout="constrained", facecolor="white")
    for number, (title, panel) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(lines, columns, number)
        draw(axes, panel)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#EEEEEE")
    with replaced(path) as part:
        figure.savefig(part, format="png", dpi=DPI)


def _series(rows: Sequence[Row], measure: str) -> _Panel:
    """Values by stage for each model and variant with more than one stage."""
    found: _Panel = {}
    for row in rows:
        if row.stage != INTEGRATED and measure in row.measures and row.measures[measure].n:
            values = found.setdefault(f"{row.model}, {row.variant}", {})
            values[row.stage] = row.measures[measure]
    return {label: values for label, values in found.items() if len(values) > 1}


def _firsts(rows: Sequence[Row], measure: str) -> _Panel:
    """The value of each model's first answers."""
    found: _Panel = {}
    for row in rows:
        if row.stage == "0" and measure in row.measures and row.measures[measure].n:
            found.setdefault(row.model, {"0": row.measures[measure]})
    return found


def _curves(axes: "Axes", panel: _Panel) -> None:
    """A line for each series, with its interval."""
    for colour, (label, values) in zip(cycle(COLOURS), panel.items(), strict=False):
        x, found = [int(stage) for stage in values], list(values.values())
        axes.plot(x, [v.value for v in found], "o-", color=colour, label=label)
        axes.fill_between(
            x, [v.low for v in found], [v.high for v in found], color=colour, alpha=0.12
        )
    axes.set_xticks(sorted({int(stage) for values in panel.values() for stage in values}))
    axes.set_xlabel("refinements")
    axes.legend(fontsize=8, frameon=False)


def _bars(axes: "Axes", panel: _Panel) -> None:
    """A bar for each model, with its interval."""
    values = [value for found in panel.values() for value in found.values()]
    middle = [v.value for v in values]
    reach = [
        [max(0.0, v.value - v.low) for v in values],
        [max(0.0, v.high - v.value) for v in values],
    ]
    axes.bar(list(panel), middle, color=BLUE, alpha=0.8)
    axes.errorbar(list(panel), middle, yerr=reach, fmt="none", ecolor="#333333", capsize=3)
    axes.tick_params(axis="x", labelsize=8)
