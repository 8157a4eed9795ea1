"""What leaves is what was trained: merged, read back and compared, with a card that says so."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
import yaml

from preflexor_pl import export
from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.generator import Request
from preflexor_pl.core.markers import DEFAULT, TRIGGER
from preflexor_pl.core.settings import Sampling
from preflexor_pl.evaluation import model_card as export_card
from preflexor_pl.policy import adapters, exported_model, load, merge
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import load_language_model
from tests.policy.test_adapters import IDS, disturb, logits
from tests.tiny import refused, save_tiny_model, tiny_policy, tiny_tokenizer

SYSTEM = "You are terse."
ASKED = exported_model.QUESTION + TRIGGER
ANSWERS = "answers in the trained form: 0.0 % [0, 11] -> 100.0 % [89, 100]"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def trained(request, tmp_path_factory):
    """The folder of three runs, one after the other, and the policy of the last."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, three_phases(folder, save_tiny_model(folder / "base", tied=request.param))


def three_phases(folder, model):
    policy = start = None
    for number, loss in enumerate(["ORPOLoss", "EXOLoss", "DPOLoss"]):
        policy = tiny_policy(model, seed=number, start_from=start, reflection=number == 2)
        disturb(policy, number)
        run = folder / f"run-{number}"
        write_run(run, policy, loss, start)
        start = str(run)
    return policy


def write_run(run, policy, loss="ORPOLoss", start=None):
    """What a run leaves, as far as an export reads it."""
    policy.save(run / policy.artifact)
    rank = {"rank": 4} if policy.settings.lora else None
    config = {
        "seed_everything": 7,
        "model": {
            "policy": {"lora": rank, "start_from": start},
            "loss": {"class_path": f"losses.{loss}", "init_args": {"beta": 0.25}},
            "lr": 0.002,
        },
        "data": {"corpus": str(run / "notes"), "system_prompt": SYSTEM, "teacher": None},
        "trainer": {"callbacks": [{"init_args": {"token": "hf_secret"}}]},
    }
    rows = "round,val/format_rate\n0,0.0\n1,1.0\n"
    files = {
        "config.yaml": yaml.safe_dump(config),
        "finished.json": '{"epochs": 6, "minutes": 1}',
        "rounds/round-0000/manifest.json": '{"pairs": 16}',
        "rounds/round-0001/manifest.json": '{"pairs": 15}',
        "held_out/manifest.json": '{"pairs": 32}',
        "metrics.csv": rows,
        "graph/chunks.jsonl": '{"document": "a.md"}\n{"document": "a.md"}\n{"document": "b.md"}\n',
        "notes/LICENSE": "Free for all,\nfor ever.\n\nMore words.\n",
    }
    for name, text in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)


@pytest.fixture
def run_export(run_command):
    """``run_export(*args)`` gives (exit code, stdout, stderr)."""
    return partial(run_command, export)


@pytest.fixture
def exported(trained, tmp_path, run_export):
    """``exported(dtype)``: the folder of the three merged phases, and the policy they were."""

    def exported(dtype="float32"):
        done = run_export(trained[0] / "run-2", "--out", tmp_path / "out", "--dtype", dtype)
        assert done[0] == 0, done[2]
        assert done[1].count("\n") == 1
        assert not done[2]
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        return tmp_path / "out", trained[1], done[1]

    return exported


def plain(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    return model, AutoTokenizer.from_pretrained(folder)


def difference(line):
    return float(re.search(r"differ from the adapters' by ([\d.e-]+)", line)[1])


@torch.no_grad()
def test_plain_transformers_gives_the_policys_logits(exported):
    folder, policy, line = exported()
    model, tokenizer = plain(folder)
    assert not any("lora" in name or "token_adapter" in name for name in model.state_dict())
    assert model.dtype == torch.float32
    assert model.config.tie_word_embeddings == policy.inner.config.tie_word_embeddings
    assert torch.allclose(model(IDS).logits, logits(policy), atol=1e-3)
    text = f"{ASKED}{exported_model.RESPONSE.format(**vars(DEFAULT))}"
    assert encode(tokenizer, text) == encode(policy.tokenizer, text)
    assert {*policy.marker_ids} < {*encode(tokenizer, text)}
    assert line.startswith(f"{folder}: 3 adapters merged into base, 0.00 GB in float32; ")
    assert difference(line) <= 1e-3


def test_plain_transformers_writes_what_the_policy_writes(exported):
    folder, policy, _ = exported()
    model, tokenizer = plain(folder)
    for question in (ASKED, "Why?"):
        request = Request(question, SYSTEM, Sampling(max_new_tokens=40, temperature=0))
        [written] = LocalGenerator(policy, "policy").complete([request])
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        asked = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**asked, max_new_tokens=40)[0, asked["input_ids"].shape[1] :].tolist()
        assert policy.decode([i for i in ids if i not in policy.stop_ids]) == written.text
        assert len(written.text) > 10


@torch.no_grad()
def test_bfloat16_rounds_and_no_more(exported):
    folder, policy, line = exported("bfloat16")
    model, _ = plain(folder)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert 0 < difference(line) <= 3
    assert torch.nn.functional.cosine_similarity(
        model(IDS).logits.float().flatten(), logits(policy).flatten(), dim=0
    ) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("left_out", ["phase-1", "phase-2", "phase-3"])
def test_a_merge_without_one_phase_is_caught(
    trained, tmp_path, run_export, monkeypatch, left_out, dtype
):
    def fold(model):
        adapters.activate(model, [name for name in model.peft_config if name != left_out])
        return whole(model)

    whole = merge.fold
    monkeypatch.setattr(merge, "fold", fold)
    done = run_export(trained[0] / "run-2", "--out", tmp_path / "out", "--dtype", dtype)
    refused(done, 5, dtype, "logits differ from those of the adapters by", "nothing was exported")
    assert difference(done[2].replace("those of the adapters", "the adapters'")) > 0
    assert not list(tmp_path.iterdir())


def test_weights_that_a_disk_changed_are_caught(trained, tmp_path, run_export, monkeypatch):
    save = exported_model._save

    def damage(language, model, asked, part):
        model.model.norm.weight.data[0] += 0.1
        save(language, model, asked, part)

    monkeypatch.setattr(exported_model, "_save", damage)
    done = run_export(trained[0] / "run-0", "--out", tmp_path / "out", "--dtype", "float32")
    refused(done, 5, "bound 0.001")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_weight_trained(model_folder, tmp_path, run_export, dtype):
    policy = tiny_policy(model_folder, lora=None)
    disturb(policy)
    write_run(tmp_path / "run", policy)
    done = run_export(tmp_path / "run", "--out", tmp_path / "out", "--dtype", dtype)
    assert done[0] == 0, done[2]
    model, _ = plain(tmp_path / "out")
    for name, weight in policy.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight.to(getattr(torch, dtype)))
    card = (tmp_path / "out/README.md").read_text()
    assert "phase 1: `ORPOLoss(beta=0.25)`, lr 0.002, 6 epochs, seed 7, every weight tr" in card


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"lr": 0.002}, "lr 0.002"),
        ({"lr": None}, "lr by default"),
        (
            {
                "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.3}},
                "lr_scheduler": {"class_path": "a.WarmupCosine"},
            },
            "lr 0.3, `SGD`, `WarmupCosine`",
        ),
    ],
)
def test_the_card_says_how_the_rate_was_set(model, told):
    assert export_card._rate({"model": model}) == told


@pytest.mark.parametrize(
    ("data", "documents", "told"),
    [
        ({"corpus": "notes"}, 3, ["corpus `notes` of 3 documents", "teacher the base itself"]),
        (
            {"index": "old/graph", "teacher": {"class_path": "mine.Teacher"}},
            3,
            ["an index of 3 documents", "teacher `mine.Teacher`"],
        ),
        ({"corpus": "notes", "pairs": "a/b"}, 0, ["own pairs `a/b`"]),
        (
            {"corpus": "notes", "pairs": {"source": "/x/b.jsonl", "share": 0.5}},
            3,
            ["own pairs `b.jsonl`", "corpus `notes` of 3 documents", "teacher the base itself"],
        ),
    ],
)
def test_the_card_says_where_pairs_come_from(data, documents, told):
    assert list(export_card._origins({"data": data}, documents)) == told


def test_an_adapter_on_weights_that_a_phase_before_trained(model_folder, tmp_path, run_export):
    first = tiny_policy(model_folder, lora=None)
    disturb(first)
    write_run(tmp_path / "whole", first)
    policy = tiny_policy(model_folder, start_from=str(tmp_path / "whole"))
    disturb(policy, 1)
    write_run(tmp_path / "run", policy, "EXOLoss", str(tmp_path / "whole"))
    args = tmp_path / "run", "--out", tmp_path / "out", "--dtype", "float32"
    assert run_export(*args)[0] == 0
    with torch.no_grad():
        assert torch.allclose(plain(tmp_path / "out")[0](IDS).logits, logits(policy), atol=1e-3)
    (tmp_path / "whole").rename(tmp_path / "away")
    refused(run_export(*args, "--overwrite"), 2, "whole", "restore them")


def test_what_was_trained_in_4_bit_is_merged_into_the_whole_base(
    model_folder, tmp_path, run_export
):
    policy = tiny_policy(model_folder, quantization="4bit")
    disturb(policy)
    policy.save(tmp_path / "adapter")
    assert run_export(tmp_path / "adapter", "--out", tmp_path / "out", "--dtype", "float32")[0] == 0
    whole = tiny_policy(model_folder, start_from=str(tmp_path / "adapter"))
    model, _ = plain(tmp_path / "out")
    assert "quantization_config" not in json.loads((tmp_path / "out/config.json").read_text())
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, logits(whole), atol=1e-3)


def test_generation_ends_at_each_stop_id(tmp_path, run_export):
    base = save_tiny_model(tmp_path / "base")
    options = {"eos_token": "<|endoftext|>", "additional_special_tokens": ["<|im_end|>"]}
    tiny_tokenizer(**options).save_pretrained(base)
    policy = tiny_policy(base)
    policy.save(tmp_path / "adapter")
    run_export(tmp_path / "adapter", "--out", tmp_path / "out")
    settings = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert settings["eos_token_id"] == [256, 258]  # <|endoftext|>, and what ends a turn
    assert settings["pad_token_id"] == 258
    assert settings["do_sample"] is False
    assert plain(tmp_path / "out")[1].pad_token == "<|im_end|>"


def run_the_snippet(folder):
    [snippet] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert not re.search("import.*(peft|preflexor)", snippet)
    names = {}
    exec(snippet.replace("max_new_tokens=512", "max_new_tokens=8"), names)
    return names


def test_the_cards_snippet_asks_as_training_did(exported, capfd):
    folder, policy, _ = exported()
    names = run_the_snippet(folder)
    [asked] = names["asked"]["input_ids"].tolist()
    assert asked == chat_ids(policy.tokenizer, ASKED, SYSTEM)
    assert capfd.readouterr().out == names["tokenizer"].decode(names["written"]) + "\n"


def test_a_tokenizer_without_a_chat_template_gets_the_one_of_training(tmp_path, run_export, capfd):
    base = save_tiny_model(tmp_path / "base")
    tokenizer = tiny_tokenizer(template=None, bos_token="<|endoftext|>")
    tokenizer.save_pretrained(base)
    (base / "chat_template.jinja").unlink(missing_ok=True)
    policy = tiny_policy(base)
    write_run(tmp_path / "run", policy)
    assert run_export(tmp_path / "run", "--out", tmp_path / "out")[0] == 0
    names = run_the_snippet(tmp_path / "out")
    assert policy.tokenizer.chat_template is None
    wanted = chat_ids(policy.tokenizer, ASKED, SYSTEM)
    assert names["asked"]["input_ids"].tolist() == [wanted]
    turns = [("user", "a"), ("assistant", "b"), ("user", "c")]
    turns = [{"role": role, "content": text} for role, text in turns]
    made = names["tokenizer"].apply_chat_template(turns, tokenize=False)
    assert made == "<|endoftext|>User: a\nAssistant: b\nUser: c\nAssistant:"


@pytest.mark.parametrize("on_system", ["", "{{ raise_exception('no system turn') }}"])
def test_the_snippet_where_the_template_knows_no_system_turn(
    tmp_path, run_export, capfd, on_system
):
    turn = "{{ turn['content'] }}<|im_end|>"
    template = (
        "{% for turn in messages %}{% if turn['role'] == 'system' %}"
        f"{on_system}{{% else %}}{turn}{{% endif %}}{{% endfor %}}"
    )
    policy = tiny_policy(save_tiny_model(tmp_path / "base", template=template))
    write_run(tmp_path / "run", policy)
    assert run_export(tmp_path / "run", "--out", tmp_path / "out")[0] == 0
    [asked] = run_the_snippet(tmp_path / "out")["asked"]["input_ids"].tolist()
    assert policy.tokenizer.decode(asked) == f"{SYSTEM}\n\n{ASKED}<|im_end|>"


def test_the_card_tells_what_the_runs_know(exported, trained):
    card = (exported()[0] / "README.md").read_text()
    for number, loss in enumerate(["ORPOLoss", "EXOLoss", "DPOLoss"], 1):
        assert (
            f"- phase {number}: `{loss}(beta=0.25)`, lr 0.002, 6 epochs, seed 7, adapter of rank 4,"
            " 31 pairs in 2 rounds, corpus `notes` of 2 documents, teacher the base itself\n"
        ) in card
    assert f"- {ANSWERS}\n" in card
    assert "- base: see the base model's card\n" in card
    assert "- corpus `notes`: LICENSE: Free for all, for ever.\n" in card
    assert "Form is not truth" in card
    assert "hf_secret" not in card
    assert str(trained[0]) not in card  # where things lie on this machine
    assert "base_model" not in card  # a folder is nothing that the hub knows


def test_the_card_of_a_lone_adapter_claims_nothing_more(trained, tmp_path, run_export):
    adapter = trained[0] / "run-2/adapter"
    lone = tmp_path / "lone"
    lone.symlink_to(adapter)
    assert run_export(lone, "--out", tmp_path / "out")[0] == 0
    card = (tmp_path / "out/README.md").read_text()
    assert "- The settings of 3 of 3 phases are not known here.\n" in card
    assert "Held-out" not in card
    assert "Loss" not in card
    assert run_export(adapter, "--out", tmp_path / "other")[0] == 0
    assert ANSWERS in (tmp_path / "other/README.md").read_text()


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("License-Expression: MIT", "MIT, as the Python package tiny-gguf states it"),
        ("License: Apache\n        Version 2", "Apache, as the Python package tiny-gguf states it"),
        ("Summary: A model.", "see the base model's card"),
    ],
)
def test_the_licence_of_a_packaged_model(tmp_path, monkeypatch, stated, told):
    about = tmp_path / "tiny_gguf-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: tiny-gguf\nVersion: 1\n{stated}\n"
    )
    (about / "RECORD").write_text("tiny.gguf,sha256=AAAA,1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert export_card._base_licence("package:tiny-gguf") == told
    assert export_card._base_licence("package:not-here") == "see the base model's card"


def test_an_exported_folder_is_a_base_for_more(exported):
    folder, policy, _ = exported()
    language = load_language_model(str(folder), "x")
    assert language.marker_ids == policy.marker_ids
    assert not language.new_ids
    assert language.stop_ids == policy.stop_ids


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["none", "--out", "out"], ["none does not exist", "finished run"]),
        (["unfinished", "--out", "out"], ["unfinished", "not finished", "run its command again"]),
        (["notes", "--out", "out"], ["notes holds no base.json"]),
        (["run", "--out", "notes"], ["--out: notes holds something else"]),
        (["run", "--out", "notes", "--overwrite"], ["--out: notes holds something else"]),
        (["run", "--out", "run/adapter", "--overwrite"], ["run/adapter holds something else"]),
        (["run", "--out", "notes/a.md"], ["--out: notes/a.md"]),
        (["run"], ["--out"]),
        (["run", "--out", "out", "--dtype", "float17"], ["--dtype", "float17"]),
        (["run", "--out", "out", "--more"], ["--more", "--help"]),
        (["run", "--out", "out", "--push_to_hub", "me"], ["--push_to_hub", "OWNER/NAME"]),
        (["run", "--out", "out", "--public"], ["--public", "--push_to_hub"]),
        (["damaged", "--out", "out"], ["damaged/adapter/base.json is damaged"]),
        (["orphan", "--out", "out"], ["the base of orphan", "/no/base"]),
        (["stranger", "--out", "out"], ["the base of stranger", "another model"]),
    ],
    ids=lambda value: " ".join(value) if len(value) > 1 else "",
)
def test_a_mistake_is_one_line(trained, tmp_path, run_export, monkeypatch, args, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "load_base", lambda *args, **kwargs: pytest.fail("a model loads"))
    shutil.copytree(trained[0] / "run-0", "run")
    for name in ("unfinished", "notes", "damaged/adapter"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "unfinished/config.yaml").write_text("run: unfinished\n")
    (tmp_path / "notes/a.md").write_text("A note.")
    (tmp_path / "damaged/adapter/base.json").write_text("{")
    known = json.loads((tmp_path / "run/adapter/base.json").read_text())
    for name, change in (("orphan", {"model": "/no/base"}), ("stranger", {"sha256": "0"})):
        shutil.copytree(trained[0] / "run-0", name)
        (tmp_path / name / "adapter/base.json").write_text(json.dumps(known | change))
    there = sorted(tmp_path.rglob("*"))
    done = run_export(*args)
    refused(done, 2, *named)
    assert "start_from" not in done[2]
    assert sorted(tmp_path.rglob("*")) == there


def test_what_cannot_be_written_is_said(trained, tmp_path, run_export):
    (tmp_path / "file").write_text("")
    refused(run_export(trained[0] / "run-0", "--out", tmp_path / "file/out"), 6, "file/")


def test_only_an_older_export_is_replaced_and_only_when_asked(trained, tmp_path, run_export):
    args = trained[0] / "run-0", "--out", tmp_path / "out"
    (tmp_path / "out").mkdir()
    assert run_export(*args)[0] == 0  # it was empty
    (tmp_path / "out/left-over").write_text("")
    refused(run_export(*args), 2, "holds an older export", "--overwrite")
    assert (tmp_path / "out/left-over").exists()
    assert run_export(*args, "--overwrite")[0] == 0
    assert not (tmp_path / "out/left-over").exists()


@pytest.mark.parametrize("public", [False, True])
def test_a_push_comes_last_and_is_private_unless_told(
    trained, tmp_path, run_export, monkeypatch, public
):
    pushed = []

    def keep(folder, *args, **options):
        pushed.append((folder, *args, options, sorted(file.name for file in folder.iterdir())))
        return "https://hub/me/tiny"

    monkeypatch.setattr("preflexor_pl.core.hub_upload.publish", keep)
    flags = ["--push_to_hub", "me/tiny", *["--public"] * public]
    code, told, _ = run_export(trained[0] / "run-0", "--out", tmp_path / "out", *flags)
    [(folder, repo_id, message, options, names)] = pushed
    assert (code, folder, repo_id, message) == (0, tmp_path / "out", "me/tiny", "export")
    assert options == {"private": not public}
    assert {"README.md", "model.safetensors", "tokenizer.json"} <= {*names}
    assert told.endswith("Pushed to https://hub/me/tiny\n")
    assert 'name = "me/tiny"' in (tmp_path / "out/README.md").read_text()


def test_a_push_arrives_through_the_real_client(trained, tmp_path, run_export, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    args = trained[0] / "run-0", "--out", tmp_path / "out", "--push_to_hub", "someone/tiny"
    code, _, error = run_export(*args)
    assert (code, error) == (0, "")
    repository = hub.repositories["model", "someone/tiny"]
    assert repository.private
    weights = (tmp_path / "out/model.safetensors").read_bytes()
    assert repository.files["model.safetensors"] == weights


def test_help_loads_nothing_heavy():
    code = """
import sys
from preflexor_pl.export import main
try:
    main(["--help"])
except SystemExit as ended:
    heavy = {"torch", "transformers", "peft", "lightning", "numpy"} & sys.modules.keys()
    sys.exit(f"loaded {heavy}" if heavy else ended.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--push_to_hub OWNER/NAME" in done.stdout
