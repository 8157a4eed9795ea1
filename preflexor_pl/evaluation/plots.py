"""Pictures of a run: what `steps.csv` and `metrics.csv` hold, as PNG files in `plots/`.

Training curves are drawn over optimiser steps, held-out values at the step of their evaluation;
what generated text looks like, and how many answers to a task's items are right, over rounds. A
column that a loss does not log leaves its panel with a note; nothing that can be in the files makes
a plot fail. pyplot is not used: it keeps global state, which a training process may need for
itself.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from preflexor_pl.core.csv_rows import Row, read_rows
from preflexor_pl.core.files import replaced
from preflexor_pl.evaluation.question_values import BY_LEVEL, PASS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 130
SMOOTH_FROM = 30  # points; below that the raw curve is legible by itself
LABELLED_ROUNDS = 12  # more numbers than that along the top edge would overlap

# Okabe and Ito's palette: told apart by colour-blind readers and in grey print.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, LIGHT = "#333333", "#DDDDDD"

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Run:
    steps: Sequence[Row]
    rounds: Sequence[Row]


_Panel = Callable[["Axes", _Run], bool]  # False where there was nothing to draw


def plot_run(run_folder: Path) -> list[Path]:
    """Draw what a run has logged so far.

    Args:
        run_folder: Holds `metrics.csv` (one row a round) and `steps.csv` (one row an optimiser
            step); either may be missing, partial, or lack columns.

    Returns:
        The files written, all in `plots/`; a picture without a single value is not written.
    """
    run = _Run(read_rows(run_folder / "steps.csv", "step"), read_rows(run_folder / "metrics.csv"))
    folder = run_folder / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "loss": [_loss],
        "log_odds": [_log_odds],
        "margins": [_margins],
        "accuracies": [_accuracies],
        "format_rate": [_form],
        "pass_at_1": [_checked],
        "overview": [_loss, _log_odds, _margins, _form, _accuracies, _logps],
    }
    if any(row.get(f"val/{PASS}") for row in run.rounds):
        pictures["overview"][-1] = _checked
    return [
        folder / f"{name}.png"
        for name, panels in pictures.items()
        if _picture(folder / f"{name}.png", run, panels)
    ]


def _picture(path: Path, run: _Run, panels: Sequence[_Panel]) -> bool:
    from matplotlib.figure import Figure

    rows, columns = (1, 1) if len(panels) == 1 else (2, 3)
    figure = Figure(figsize=(5.2 * columns, 3.7 * rows), layout="constrained", facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)  # inches
    drawn = [draw(figure.add_subplot(rows, columns, i), run) for i, draw in enumerate(panels, 1)]
    if not any(drawn):
        return False
    with replaced(path) as part:  # who looks during training never sees half a picture
        figure.savefig(part, format="png", dpi=DPI)
    return True


def _loss(axes: "Axes", run: _Run) -> bool:
    _curve(axes, _points(run.steps, "step", "train/loss"), BLUE, "train loss")
    _curve(axes, _points(run.steps, "step", "train/nll"), GREEN, "train NLL of chosen")
    _held_out(axes, _points(run.rounds, "step", "val/loss"), ORANGE, "held-out loss")
    return _finish_steps(axes, run, "Loss", "nats")


def _log_odds(axes: "Axes", run: _Run) -> bool:
    _curve(axes, _points(run.steps, "step", "train/log_odds_ratio"), BLUE, "train")
    _held_out(axes, _points(run.rounds, "step", "val/log_odds_ratio"), ORANGE, "held out")
    _level(axes, 0.0)
    return _finish_steps(axes, run, "Log odds ratio, chosen to rejected", "nats")


def _margins(axes: "Axes", run: _Run) -> bool:
    _curve(axes, _points(run.steps, "step", "train/rewards/margins"), BLUE, "train")
    _held_out(axes, _points(run.rounds, "step", "val/rewards/margins"), ORANGE, "held out")
    _level(axes, 0.0)
    return _finish_steps(axes, run, "Reward margin", "reward")


def _accuracies(axes: "Axes", run: _Run) -> bool:
    rejected = _points(run.rounds, "step", "val/rewards/accuracies")
    mismatched = _points(run.rounds, "step", "val/accuracy_mismatched")
    _curve(axes, _points(run.steps, "step", "train/rewards/accuracies"), BLUE, "train")
    _held_out(axes, rejected, ORANGE, "held out, against rejected")
    _held_out(axes, mismatched, PURPLE, "held out, against a mismatched answer")
    _level(axes, 0.5)
    _percent(axes)
    return _finish_steps(axes, run, "How often chosen is preferred", "share of pairs")


def _logps(axes: "Axes", run: _Run) -> bool:
    _curve(axes, _points(run.steps, "step", "train/logps/chosen"), GREEN, "chosen")
    _curve(axes, _points(run.steps, "step", "train/logps/rejected"), ORANGE, "rejected")
    return _finish_steps(axes, run, "Log-probability of a response, train", "nats")


def _form(axes: "Axes", run: _Run) -> bool:
    named = {
        "val/format_rate": (BLUE, "thinks, then answers"),
        "val/distinct": (GREEN, "distinct"),
        "val/on_topic": (ORANGE, "on topic"),
        "val/repetition": (PURPLE, "repetition (less is better)"),
        "val/unasked_thinking": (INK, "thinks unasked (less is better)"),
    }
    rounds = [0.0, 1.0]
    for column, (colour, label) in named.items():
        points = _points(run.rounds, "round", column)
        rounds += [x for x, _ in points]
        _held_out(axes, points, colour, label)
    axes.set_xlim(-0.25, max(rounds) + 0.25)
    _percent(axes)
    return _finish(axes, "Generated answers, held out", "share", "round (0: before training)")


def _checked(axes: "Axes", run: _Run) -> bool:
    """The learning curve of a task: over all held-out items, and by level."""
    named = {name for row in run.rounds for name in row if f"val/{BY_LEVEL}" in name}
    columns = sorted(named, key=lambda name: (len(name), name))  # level 10 after level 9
    colours = cycle((GREEN, ORANGE, PURPLE, INK))
    points = _points(run.rounds, "round", f"val/{PASS}")
    for column, colour in zip(columns, colours, strict=False):
        level = column.removeprefix(f"val/{BY_LEVEL}")
        _held_out(axes, _points(run.rounds, "round", column), colour, f"level {level}")
    _held_out(axes, points, BLUE, "all levels")
    axes.set_xlim(-0.25, max([1.0, *(x for x, _ in points)]) + 0.25)
    _percent(axes)
    title = "Right answers to held-out items"
    return _finish(axes, title, "pass@1", "round (0: before training)")


def _points(rows: Iterable[Row], x: str, y: str) -> Points:
    """Finite points in order of x; the last one counts where a resumed run logged an x twice."""
    points: dict[float, float] = {}
    for row in rows:
        try:
            point = float(row.get(x, "")), float(row.get(y, ""))
        except ValueError:
            continue
        if all(map(math.isfinite, point)):
            points[point[0]] = point[1]
    return sorted(points.items())


def _curve(axes: "Axes", points: Points, colour: str, label: str) -> None:
    if not points:
        return
    x, y = zip(*points, strict=True)
    if len(points) < SMOOTH_FROM:
        axes.plot(x, y, color=colour, lw=1.6, marker=".", label=label)
        return
    means = _running_mean(y, reach=max(2, len(y) // 30))
    axes.plot(x, y, color=colour, lw=0.8, alpha=0.3 if len(y) < 500 else 0.18)  # raw, behind it
    axes.plot(x, means, color=colour, lw=1.9, label=label)


def _running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Centred mean over ``reach`` values to either side, over fewer at the ends."""
    windows = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _held_out(axes: "Axes", points: Points, colour: str, label: str) -> None:
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=colour, lw=1.6, marker="o", ms=5, mec="white", label=label, zorder=4)


def _level(axes: "Axes", value: float) -> None:
    if axes.lines:
        axes.axhline(value, color=INK, lw=0.9, ls=(0, (4, 3)), zorder=1)


def _percent(axes: "Axes") -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(-0.04, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))


def _finish_steps(axes: "Axes", run: _Run, title: str, unit: str) -> bool:
    drawn = _finish(axes, title, unit, "optimiser step")
    rounds = _points(run.steps, "step", "round")
    starts = [(b[0], b[1]) for a, b in pairwise(rounds) if a[1] != b[1]] if drawn else []
    labelled = len(starts) <= LABELLED_ROUNDS
    for step, number in starts:
        axes.axvline(step - 0.5, color="#BBBBBB" if labelled else LIGHT, lw=0.9, zorder=0.5)
        if labelled:
            axes.annotate(
                f"round {number:.0f}" if number == starts[0][1] else f"{number:.0f}",
                (step - 0.5, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                fontsize=7.5,
                color="#777777",
            )
    return drawn


def _finish(axes: "Axes", title: str, unit: str, x_label: str) -> bool:
    """Titles, grid, legend; a note in place of an empty panel. Returns whether it has a curve."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#AAAAAA")
    if not axes.lines:
        axes.text(0.5, 0.5, "not logged", ha="center", color="#999999", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return False
    axes.set_xlabel(x_label, fontsize=9.5, color=INK)
    axes.set_ylabel(unit, fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8.5, colors=INK, color="#AAAAAA")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(color=LIGHT, lw=0.7)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8.5, frameon=True, framealpha=0.85, edgecolor="none", labelcolor=INK)
    return True
