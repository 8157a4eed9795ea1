import json
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from preflexor_pl.cli.checkpoint_order import readable
from preflexor_pl.cli.run_folder import RunFolder
from preflexor_pl.core.errors import ConfigError, CorpusError, ResourceError
from preflexor_pl.core.limits import Limits

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


def test_the_checkpoint_of_the_last_step_that_can_be_read(folder, capsys):
    assert folder.checkpoint() is None
    checkpoints = folder.path / "checkpoints"
    first, second, third = (
        save(checkpoints / f"epoch={n}-step={step}.ckpt", when)  # times as a copy may leave them
        for n, step, when in (("2", 9, 3), ("1", 10, 2), ("0", 100, 1))
    )
    assert folder.checkpoint() == third
    stopped = save(checkpoints / "epoch=0-step=100-stopped.ckpt", 0)
    assert folder.checkpoint() == stopped
    stopped.unlink()

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


def test_what_is_finished_is_what_is_asked_for(folder):
    assert not folder.is_finished(Limits(epochs=1))
    folder.take(fresh=False)
    write = (folder.path / "finished.json").write_text
    write(json.dumps({"epochs": 6}))  # as older runs left it
    assert folder.is_finished(Limits(epochs=6))
    assert not folder.is_finished(Limits(epochs=7))
    write(json.dumps({"epochs": 3, "steps": 12, "seconds": 60.0, "by": "steps"}))
    assert folder.is_finished(Limits(epochs=9, steps=12))
    assert folder.is_finished(Limits(seconds=60.0))
    assert not folder.is_finished(Limits(epochs=9, steps=13))
    assert not folder.is_finished(Limits())
    limits = {"epochs": 9, "steps": None, "seconds": None}
    write(json.dumps({"epochs": 3, "by": "stopped early", "limits": limits}))
    assert folder.is_finished(Limits(epochs=9))
    assert not folder.is_finished(Limits(epochs=10))


@pytest.mark.parametrize("content", ["", "\0" * 40, "[]", "{}", '{"epochs": "x"}'])
def test_a_damaged_end_is_named(folder, content):
    folder.take(fresh=False)
    (folder.path / "finished.json").write_text(content)
    with pytest.raises(CorpusError, match=r"finished\.json is damaged .*delete it"):
        folder.is_finished(Limits(epochs=1))


@pytest.mark.parametrize("content", ["", "\0" * 40, "- a\n", "a: 1\na: 2\n"])
def test_a_damaged_config_is_named(folder, content):
    folder.take(fresh=False)
    (folder.path / "rounds").mkdir()
    (folder.path / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.yaml is damaged .*--fresh"):
        folder.keep_config(CONFIG)


def test_a_link_to_the_folder_is_the_same_run(folder, tmp_path):
    folder.take(fresh=False)
    (tmp_path / "link").symlink_to(folder.path)
    with pytest.raises(ResourceError, match="in use by a run"):
        RunFolder(tmp_path / "link").take(fresh=False)
    folder.release()
    linked = RunFolder(tmp_path / "link")
    linked.take(fresh=True)
    assert [path.is_dir() for path in (folder.path, *folder.path.parent.glob("mine.*"))] == [
        True
    ] * 2


def test_the_folder_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = RunFolder(Path())
    here.take(fresh=False)
    with pytest.raises(ResourceError, match="in use"):
        RunFolder(tmp_path).take(fresh=False)
    here.release()
    with pytest.raises(ConfigError, match="--fresh"):
        RunFolder(Path()).take(fresh=True)
    with pytest.raises(ConfigError, match="root"):
        RunFolder(Path("/"))


def test_whether_a_live_process_has_it(folder):
    assert not folder.is_taken
    assert not folder.path.parent.exists()  # asking makes no file
    folder.take(fresh=False)
    assert RunFolder(folder.path).is_taken
    folder.release()
    assert not RunFolder(folder.path).is_taken
    folder.take(fresh=False)  # and asking takes nothing


def test_a_run_that_went_back_goes_on_from_there(folder, capsys):
    place = folder.path / "checkpoints"
    place.mkdir(parents=True)
    for step in (2, 4, 6):
        torch.save({"global_step": step}, place / f"epoch={step // 2 - 1}-step={step}.ckpt")
    folder.go_back_to(place / "epoch=2-step=6.ckpt")
    assert capsys.readouterr().out == ""
    folder.go_back_to(place / "epoch=0-step=2.ckpt")
    assert folder.checkpoints() == [place / "epoch=0-step=2.ckpt"]
    (aside,) = place.glob("later.*")
    assert sorted(path.name[-6:] for path in aside.iterdir()) == ["4.ckpt", "6.ckpt"]
    assert str(aside) in capsys.readouterr().out
