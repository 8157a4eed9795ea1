import os

import pytest

from preflexor_pl.core.csv_rows import read_rows, write_row
from preflexor_pl.core.errors import CorpusError, ResourceError


def metrics(folder, *rows):
    for row in rows:
        write_row(folder / "metrics.csv", row)


@pytest.mark.parametrize(
    "saved",
    [
        "\ufeffround;val/loss\r\n0;0,5\r\n",
        "round\tval/loss\n0\t0,5\n",
        "round,val/loss\r\n0,0.5\r\n",
    ],
)
def test_what_a_spreadsheet_saved_is_read(tmp_path, saved):
    (tmp_path / "metrics.csv").write_bytes(saved.encode())
    assert read_rows(tmp_path / "metrics.csv") == [{"round": "0", "val/loss": "0.5"}]
    write_row(tmp_path / "metrics.csv", {"round": 1, "val/loss": 0.25})
    assert (tmp_path / "metrics.csv").read_text() == "round,val/loss\n0,0.5\n1,0.25\n"


@pytest.mark.parametrize("saved", ["\0" * 40 + "\n", "Tabelle1\n1\n", "step,val/loss\n1,2\n"])
def test_a_file_without_rounds_is_named(tmp_path, saved):
    (tmp_path / "metrics.csv").write_text(saved)
    with pytest.raises(CorpusError, match=r"metrics\.csv is damaged.*'round'"):
        read_rows(tmp_path / "metrics.csv")


def test_rows_come_back_as_written(tmp_path):
    path = tmp_path / "new" / "metrics.csv"
    write_row(path, {"round": 0, "a": 0.1, "b": None})
    write_row(path, {"round": 1, "a": 1e-17, "b": "x,\ny"})
    assert read_rows(path) == [
        {"round": "0", "a": "0.1", "b": ""},
        {"round": "1", "a": "1e-17", "b": "x,\ny"},
    ]
    assert os.listdir(path.parent) == ["metrics.csv"]


def test_a_row_with_a_known_key_is_replaced_in_its_place(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics(tmp_path, {"round": 0, "a": 1}, {"round": 1, "a": 2}, {"round": 0, "a": 3})
    assert path.read_text() == "round,a\n0,3\n1,2\n"


def test_new_columns_extend_the_header_and_old_ones_stay(tmp_path):
    metrics(tmp_path, {"round": 0, "a": 1}, {"b": 2, "round": 1})
    assert (tmp_path / "metrics.csv").read_text() == "round,a,b\n0,1,\n1,,2\n"
    metrics(tmp_path, {"round": 0, "c": 3})
    assert (tmp_path / "metrics.csv").read_text() == "round,a,b,c\n0,,,3\n1,,2,\n"


def test_another_key(tmp_path):
    path = tmp_path / "steps.csv"
    for step in (1, 2, 1):
        write_row(path, {"step": step, "round": 0}, key="step")
    assert path.read_text() == "step,round\n1,0\n2,0\n"
    with pytest.raises(ValueError, match="needs a value under 'step'"):
        write_row(path, {"round": 0}, key="step")


def test_a_line_that_was_cut_off_is_dropped_and_then_rewritten_whole(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("round,a\n0,0.5\n1,0.2")  # was 0.25
    assert read_rows(path) == [{"round": "0", "a": "0.5"}]
    write_row(path, {"round": 1, "a": 0.25})
    assert path.read_text() == "round,a\n0,0.5\n1,0.25\n"


def test_odd_files_are_read_as_far_as_they_go(tmp_path):
    path = tmp_path / "metrics.csv"
    assert read_rows(path) == []
    path.write_bytes(b"")
    assert read_rows(path) == []
    path.write_bytes(b"round,a")
    assert read_rows(path) == []
    path.write_bytes(b"round,a\n0\n\n1,2,3\n2,\xff\n")
    assert [row["a"] for row in read_rows(path)] == ["", "2", "\N{REPLACEMENT CHARACTER}"]
    assert all(set(row) == {"round", "a"} for row in read_rows(path))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    metrics(tmp_path, {"round": 0})

    def no_space(_descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ResourceError, match="No space"):
        write_row(tmp_path / "metrics.csv", {"round": 1})
    assert (tmp_path / "metrics.csv").read_text() == "round\n0\n"
