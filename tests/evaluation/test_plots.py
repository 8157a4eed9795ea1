import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from preflexor_pl.evaluation.plots import _points, _running_mean, plot_run

STEPS = (
    "step,epoch,round,train/loss,train/nll,train/log_odds_ratio,train/rewards/margins,"
    "train/rewards/accuracies,train/logps/chosen,train/logps/rejected\n"
)
ROUNDS = (
    "round,epoch,step,val/loss,val/log_odds_ratio,val/rewards/margins,val/rewards/accuracies,"
    "val/accuracy_mismatched,val/format_rate,val/distinct,val/on_topic,val/repetition\n"
)
NAMES = ["loss", "log_odds", "margins", "accuracies", "format_rate", "overview"]


def write_run(folder, steps=40):
    lines = [
        f"{i},0,{2 * i // steps},{3 - i / 40},2,{i / 40},0.1,0.5,-90,-95" for i in range(steps)
    ]
    (folder / "steps.csv").write_text(STEPS + "\n".join(lines) + "\n")
    lines = [f"{i},{i},{20 * i},2,0.5,0.1,0.6,0.9,{i / 2},1,0.7,0.1" for i in range(3)]
    (folder / "metrics.csv").write_text(ROUNDS + "\n".join(lines) + "\n")


def colours(path):
    """The number of clearly coloured (neither white nor grey) pixels of a PNG."""
    pixels = imread(path)[..., :3]  # [height, width, 3] in [0, 1]
    return int((np.ptp(pixels, axis=-1) > 0.3).sum())


def train_blue(path):
    """The number of pixels of a PNG in the full colour of the training curve, #0072B2."""
    return int(np.isclose(imread(path)[..., :3], [0, 0x72 / 255, 0xB2 / 255]).all(axis=-1).sum())


@pytest.mark.parametrize("steps", [6, 40])  # below and above the length that is smoothed
def test_a_full_run_gives_every_picture_with_curves_in_it(tmp_path, steps):
    write_run(tmp_path, steps)
    paths = plot_run(tmp_path)
    assert paths == [tmp_path / "plots" / f"{name}.png" for name in NAMES]
    assert sorted(tmp_path.glob("plots/*")) == sorted(paths)
    for path in paths:
        height, width, _ = imread(path).shape
        assert width > height > 400
        assert colours(path) > 500
    assert train_blue(paths[0]) > 200  # the curve; its line in the legend alone is about 100
    assert imread(paths[-1]).shape[1] > 2 * imread(paths[0]).shape[1]


def test_a_run_with_a_task_has_a_learning_curve(tmp_path):
    write_run(tmp_path)
    plain = [path.read_bytes() for path in plot_run(tmp_path)]
    head, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    head += ",val/pass_at_1,val/pass_at_1/level_1,val/pass_at_1/level_2"
    rows = [f"{row},{i / 4},{i / 2},0" for i, row in enumerate(rows)]
    (tmp_path / "metrics.csv").write_text("\n".join([head, *rows]) + "\n")
    paths = plot_run(tmp_path)
    assert [path.stem for path in paths] == [*NAMES[:-1], "pass_at_1", "overview"]
    assert colours(paths[-2]) > 500
    assert [path.read_bytes() for path in paths[:5]] == plain[:5]
    assert paths[-1].read_bytes() != plain[-1]


def test_no_file_no_picture(tmp_path):
    assert plot_run(tmp_path) == []
    assert list(tmp_path.glob("plots/*")) == []


def test_before_training_there_are_only_held_out_values(tmp_path):
    (tmp_path / "metrics.csv").write_text("round,step,val/format_rate,val/loss\n0,0,0.25,2.5\n")
    assert [path.stem for path in plot_run(tmp_path)] == ["loss", "format_rate", "overview"]
    assert colours(tmp_path / "plots" / "format_rate.png") > 20


def test_a_missing_column_leaves_its_picture_out(tmp_path):
    (tmp_path / "steps.csv").write_text("step,train/loss\n1,2.5\n2,2.0\n")
    assert [path.stem for path in plot_run(tmp_path)] == ["loss", "overview"]


def test_empty_cells_odd_values_and_a_cut_off_line_are_left_out(tmp_path):
    (tmp_path / "steps.csv").write_text(
        "step,round,train/loss\n1,0,2.5\n2,0,\n3,0,nan\n4,1,inf\n,1,9\n5,1,x\n6,1\n7,1,2.0\n8,1,1"
    )
    assert [path.stem for path in plot_run(tmp_path)] == ["loss", "overview"]


def test_points_are_finite_and_in_order_and_the_last_of_two_counts():
    cells = [("2", "1"), ("1", "5"), ("1", "4"), ("3", "nan"), ("", "1"), ("4", ""), ("x", "1")]
    rows = [{"step": x, "loss": y} for x, y in cells]
    assert _points(rows, "step", "loss") == [(1, 4), (2, 1)]
    assert _points(rows, "step", "absent") == []


def test_running_mean_by_hand():
    assert _running_mean([0, 3, 6, 0], reach=1) == [1.5, 3, 3, 3]


def test_a_second_look_replaces_the_first(tmp_path):
    (tmp_path / "steps.csv").write_text("step,train/loss\n1,2.5\n2,2.0\n")
    before = plot_run(tmp_path)[0].read_bytes()
    (tmp_path / "steps.csv").write_text("step,train/loss\n1,2.5\n2,2.0\n3,2.5\n")
    assert plot_run(tmp_path)[0].read_bytes() != before


def test_importing_loads_no_matplotlib_and_plotting_no_pyplot(tmp_path):
    (tmp_path / "steps.csv").write_text("step,train/loss\n1,2.5\n2,2.0\n")
    code = (
        "import sys, pathlib\n"
        "from preflexor_pl.evaluation.plots import plot_run\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"assert plot_run(pathlib.Path({str(tmp_path)!r}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
