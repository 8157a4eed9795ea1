"""What is written is there whole, or not at all; a full disk is played by a limit on files."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preflexor_pl.core.errors import ResourceError
from preflexor_pl.core.files import readable_size, replaced, replaced_folder, writing


def left(folder):
    """All files under a folder, with what they hold."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_file_takes_its_place_at_the_end(tmp_path):
    for text in ("old", "new"):
        with replaced(tmp_path / "a/file") as part:
            part.write_text(text)
            assert not (tmp_path / "a/file").exists() or text == "new"
    assert left(tmp_path) == {"a/file": "new"}


def test_a_folder_takes_the_place_of_the_older_one(tmp_path):
    for name in ("old", "new"):
        with replaced_folder(tmp_path / "a/b") as part:
            (part / name).write_text(name)
            assert not (tmp_path / "a/b" / name).exists()
    assert left(tmp_path) == {"a/b/new": "new"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def write(writing, place, text, ends_well=True):
    with writing(place) as part:
        (part / "file" if part.is_dir() else part).write_text(text)
        if not ends_well:
            raise KeyError(text)


@pytest.mark.parametrize("writing", [replaced, replaced_folder])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, writing):
    place = tmp_path / "place"
    write(writing, place, "old")
    before = left(tmp_path)
    assert list(before.values()) == ["old"]
    with pytest.raises(KeyError):
        write(writing, place, "half", ends_well=False)
    assert left(tmp_path) == before


@pytest.mark.parametrize("writing", [replaced, replaced_folder])
def test_a_place_that_cannot_be_made_is_named(tmp_path, writing):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cannot write .*file/place: "):
        write(writing, tmp_path / "file/place", "")


KILLED = """
import os, signal, sys
from pathlib import Path
from preflexor_pl.core import files
place, moves, move = Path(sys.argv[1]), iter(range(9)), os.replace
def replace(*paths):
    if next(moves) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    move(*paths)
os.replace = replace
with files.replaced_folder(place) as part:
    (part / "new").write_text("new")
"""


@pytest.mark.parametrize(("move", "older"), [(0, "place/old"), (1, ".place.old/old")])
def test_a_kill_loses_no_folder_and_the_next_call_tidies_up(tmp_path, move, older):
    (tmp_path / "place").mkdir()
    (tmp_path / "place/old").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "place", str(move)], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert set(left(tmp_path)) == {older, ".place.part/new"}
    with replaced_folder(tmp_path / "place") as part:
        (part / "newer").write_text("")
    assert set(left(tmp_path)) == {"place/newer"}


FULL = """
import resource, signal, sys
from pathlib import Path
from preflexor_pl.core import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))
try:
    with getattr(files, sys.argv[1])(Path(sys.argv[2])) as part:
        (part / "file" if part.is_dir() else part).write_text("x" * 100)
except files.ResourceError as error:
    print(error)
"""


@pytest.mark.parametrize("writing", ["replaced", "replaced_folder"])
def test_a_full_disk_leaves_nothing(tmp_path, writing):
    run = [sys.executable, "-c", FULL, writing, tmp_path / "place"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {tmp_path}/place: File too large; ")
    assert "B are free there: make room" in done.stdout
    assert left(tmp_path) == {}


def test_a_full_disk_is_told_with_what_is_needed():
    with pytest.raises(ResourceError) as told, writing(Path("/dev/full"), 29_400_000):
        Path("/dev/full").write_text("x" * 100)
    assert str(told.value).startswith(
        "cannot write /dev/full: No space left on device; it needs 29.4 MB, and "
    )


def test_a_terminal_that_is_closed_is_no_full_disk():
    with pytest.raises(BrokenPipeError), writing(Path("a")):
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0 bytes"), (999, "999 bytes"), (29_400, "29.4 kB"), (2.5e9, "2.5 GB")]
)
def test_sizes(size, told):
    assert readable_size(size) == told
