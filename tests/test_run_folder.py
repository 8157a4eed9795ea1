import json

import pytest
import torch
from filelock import FileLock

from preflexor_pl.core.errors import ConfigError, ResourceError
from preflexor_pl.run_folder import RunFolder, readable

CONFIG = (
    "seed_everything: 0\nmodel:\n  lr: 0.001\ndata:\n  held_out: 4\ntrainer:\n  max_epochs: 6\n"
)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs/mine")


def test_a_run_takes_its_folder_and_keeps_what_is_there(folder):
    folder.take(fresh=False)
    (folder.path / "metrics.csv").write_text("round\n")
    RunFolder(folder.path.parent / "other").take(fresh=False)
    folder._lock.release()
    folder.take(fresh=False)
    assert [path.name for path in folder.path.iterdir()] == ["metrics.csv"]


def test_fresh_sets_the_older_run_aside(folder, capsys):
    folder.path.mkdir(parents=True)
    (folder.path / "metrics.csv").write_text("round\n")
    folder.take(fresh=True)
    assert list(folder.path.iterdir()) == []
    (aside,) = folder.path.parent.glob("mine.*")
    assert (aside / "metrics.csv").read_text() == "round\n"
    assert str(aside) in capsys.readouterr().out


def test_a_folder_in_use_is_refused(folder):
    folder.take(fresh=False)
    with pytest.raises(ResourceError, match=r"in use by a run: .*--run OTHER"):
        RunFolder(folder.path).take(fresh=False)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/runs"):
        with pytest.raises(ResourceError, match=r"cannot be written .*--run OTHER"):
            RunFolder(path).take(fresh=False)


def test_the_lock_is_beside_the_folder_so_that_it_can_be_moved(folder):
    folder.take(fresh=False)
    assert not list(folder.path.iterdir())
    assert FileLock(folder.path.with_name(".mine.lock")).lock_file in map(
        str, folder.path.parent.iterdir()
    )


def test_the_same_config_or_another_trainer_goes_on(folder):
    folder.take(fresh=False)
    folder.keep_config(CONFIG)
    folder.keep_config(CONFIG)
    longer = CONFIG.replace("max_epochs: 6", "max_epochs: 8")
    folder.keep_config(longer)
    assert (folder.path / "config.yaml").read_text() == longer


SERVER = (
    "  teacher:\n    server:\n      base_url: http://a/v1\n      model: m\n      max_calls: 5\n"
)
SERVED = CONFIG.replace("trainer:", f"{SERVER}trainer:")


def test_how_a_server_is_asked_may_change_but_not_who_it_is(folder):
    folder.take(fresh=False)
    folder.keep_config(SERVED)
    (folder.path / "rounds").mkdir()
    folder.keep_config(SERVED.replace("max_calls: 5", "max_calls: 50\n      in_flight: 2"))
    for old, new in (("http://a/v1", "http://b/v1"), ("model: m", "model: n")):
        with pytest.raises(ConfigError, match=r"other settings: data\.teacher\.server\."):
            folder.keep_config(SERVED.replace(old, new))
    with pytest.raises(ConfigError, match=r"data\.teacher\.server\.model \(m -> None\)"):
        folder.keep_config(CONFIG)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("lr: 0.001", "lr: 0.002", r"model\.lr \(0\.001 -> 0\.002\)"),
        ("held_out: 4", "held_out: 5", r"data\.held_out \(4 -> 5\)"),
        ("held_out: 4", "held_out: 4\n  seed: 1", r"data\.seed \(None -> 1\)"),
        ("seed_everything: 0", "seed_everything: 1", r"seed_everything \(0 -> 1\)"),
    ],
)
def test_other_settings_are_refused_by_key(folder, old, new, named):
    folder.take(fresh=False)
    folder.keep_config(CONFIG)
    (folder.path / "rounds").mkdir()
    with pytest.raises(ConfigError, match=rf"other settings: {named}: use --run OTHER, or --fresh"):
        folder.keep_config(CONFIG.replace(old, new))
    assert (folder.path / "config.yaml").read_text() == CONFIG


def test_other_prompts_are_refused_by_file_once_pairs_are_made(folder):
    folder.take(fresh=False)
    first, other = {"a.txt": "A\n", "b.txt": "B\n"}, {"a.txt": "A\n", "b.txt": "\u00c9\n"}
    folder.keep_prompts(first)
    folder.keep_prompts(other)  # no pair was made with the first
    (folder.path / "held_out").mkdir()
    folder.keep_prompts(other)
    with pytest.raises(ConfigError, match=r"other prompts: b\.txt: use --run OTHER, or --fresh"):
        folder.keep_prompts(first)
    assert (folder.path / "prompts/b.txt").read_text(encoding="utf-8") == "\u00c9\n"


def test_a_run_older_than_the_record_of_its_prompts_goes_on(folder):
    folder.take(fresh=False)
    (folder.path / "rounds").mkdir()
    folder.keep_prompts({"a.txt": "A\n"})
    assert (folder.path / "prompts/a.txt").read_text() == "A\n"


def save(path, when):
    import os

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": torch.ones(300)}, path)
    os.utime(path, (when, when))
    return path


def test_the_newest_checkpoint_that_can_be_read(folder, capsys):
    assert folder.checkpoint() is None
    checkpoints = folder.path / "checkpoints"
    first, second, third = (
        save(checkpoints / f"{n}.ckpt", when) for n, when in (("z", 1), ("b", 2), ("a", 3))
    )
    assert folder.checkpoint() == third

    third.write_bytes(third.read_bytes()[:-100])
    assert folder.checkpoint() == second
    assert f"{third} is damaged" in capsys.readouterr().out
    second.write_bytes(b"")
    assert folder.checkpoint() == first
    first.write_bytes(b"\0" * 500)
    assert folder.checkpoint() is None


class Payload:
    """What a checkpoint from elsewhere may hold."""

    def __reduce__(self):
        return pytest.fail, ("code from a checkpoint ran",)


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    torch.save({"state_dict": Payload()}, tmp_path / "evil.ckpt")
    assert not readable(tmp_path / "evil.ckpt")


def test_a_flipped_bit_is_seen(tmp_path):
    path = save(tmp_path / "a.ckpt", 1)
    assert readable(path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    assert not readable(path)


def test_finished_epochs(folder):
    assert folder.finished_epochs == 0
    folder.take(fresh=False)
    (folder.path / "finished.json").write_text(json.dumps({"epochs": 6}))
    assert folder.finished_epochs == 6


def test_whether_a_live_process_has_it(folder):
    assert not folder.is_taken
    assert not folder.path.parent.exists()  # asking makes no file
    folder.take(fresh=False)
    assert RunFolder(folder.path).is_taken
    folder.release()
    assert not RunFolder(folder.path).is_taken
    folder.take(fresh=False)  # and asking takes nothing
