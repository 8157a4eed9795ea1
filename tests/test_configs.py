"""Every config that is shipped parses and builds, with its models replaced by small ones."""

import sys
from pathlib import Path

import pytest

from losses import DPOLoss, EXOLoss, ORPOLoss
from preflexor_pl.batches.thinking import AnswerOnly, NoMasking
from preflexor_pl.cli.parser import PreferenceCLI
from preflexor_pl.pairs.prompt_files import BUILT_IN, LARGE
from preflexor_pl.rounds.build import CATEGORY_TOKENS
from tests.scripted import Shelf
from tests.tiny import tiny_policy

CONFIGS = Path(__file__).parents[1] / "configs"
OVERLAYS = {"reference", "reference-exo", "reference-reflect", "full", "qlora", "server"}
PHASES = {
    "orpo": (ORPOLoss(0.1), NoMasking(), False, None),
    "exo": (EXOLoss(0.1, 5e-3), AnswerOnly(True), False, "runs/orpo"),
    "dpo": (DPOLoss(0.1, 0.0), AnswerOnly(True), False, "runs/orpo"),
    "reflect": (ORPOLoss(0.1), NoMasking(), True, "runs/exo"),
}
TASKS = {"verified"}


@pytest.fixture
def build(model_folder, monkeypatch, tmp_path):
    """Module and data of config files by their names, with ``model_folder`` for every model."""

    def build(*names, teacher=False):
        args = [arg for name in names for arg in ("--config", str(CONFIGS / f"{name}.yaml"))]
        args += ["--model.policy.model_name", str(model_folder), "--run", str(tmp_path / "run")]
        args += ["--data.teacher.model_name", str(model_folder)] if teacher else []
        monkeypatch.setattr(sys, "argv", sys.argv[:1])
        cli = PreferenceCLI(args, before=lambda cli: None)
        return cli.model, cli.datamodule

    return build


def test_every_file_is_known():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == OVERLAYS | TASKS | PHASES.keys()


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase(build, phase):
    loss, masking, reflection, start = PHASES[phase]
    module, data = build(phase)
    assert module.loss == loss
    assert data.masking == masking
    assert module.reflection == data.pair_settings.reflection == reflection
    assert module.settings.start_from == start
    assert data.pair_settings.rejected_trigger == (phase != "orpo")


@pytest.mark.parametrize("over", [[], ["reference"], ["server"], ["reference", "server"]])
@pytest.mark.parametrize("phase", PHASES)
def test_the_longest_chosen_response_fits_and_a_strong_teacher_is_asked_as_one(build, phase, over):
    _, data = build(phase, *over, teacher="server" not in over)
    teacher, thinking = data.pair_settings.teacher, data.pair_settings.thinking
    blocks = len(thinking.categories) * (thinking.sampling.max_new_tokens + CATEGORY_TOKENS)
    reflection = (teacher.critique.max_new_tokens + CATEGORY_TOKENS) * data.pair_settings.reflection
    longest = blocks + reflection + teacher.answer.max_new_tokens
    assert longest <= data.max_length - data.max_prompt_length
    assert data.pair_settings.prompts == (LARGE if over else BUILT_IN)
    drawn = teacher.question, teacher.answer, teacher.critique, thinking.sampling
    if over:
        assert {sampling.repetition_penalty for sampling in drawn} == {1.0}
        assert min(sampling.max_new_tokens for sampling in drawn) >= 256
        assert data.pair_settings.rejected_sampling.max_new_tokens <= data.max_length


@pytest.mark.parametrize("phase", PHASES)
def test_the_references_scale_over_a_phase(build, phase):
    loss, masking, reflection, start = PHASES[phase]
    module, data = build(phase, "reference", teacher=True)
    assert (module.loss, data.masking, module.reflection) == (loss, masking, reflection)
    assert (module.settings.lora.rank, module.settings.start_from) == (64, start)
    assert data.embedder == "BAAI/bge-large-en-v1.5"
    assert len(data.pair_settings.thinking.categories) == 5
    assert data.pair_settings.system_prompt == "You are a helpful materials scientist."


def test_qlora_over_the_references_scale_holds_policy_and_teacher_in_4_bits(build, model_folder):
    module, data = build("orpo", "reference", "qlora", teacher=True)
    assert module.settings.lora.rank == 64
    module.configure_model()
    teacher = data.sources.teacher_of(module.policy)
    for model in (module.policy, teacher):
        assert model.inner.is_loaded_in_4bit
    assert not tiny_policy(model_folder).inner.__dict__.get("is_loaded_in_4bit")
    assert module.policy.inner.is_gradient_checkpointing
    assert teacher.source.name == str(model_folder)
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize("over", [["orpo"], ["orpo", "reference"]])
def test_a_server_is_the_teacher_and_no_teacher_is_loaded(build, over, monkeypatch):
    def refuse(*args):
        pytest.fail("a teacher was loaded")

    monkeypatch.setattr("preflexor_pl.rounds.text_sources.load_language_model", refuse)
    module, data = build(*over, "server")
    assert data.sources.server_teacher.name == "Qwen/Qwen3-8B at localhost"
    assert data.sources.server_teacher is data.sources.server_teacher  # one budget a command
    module.configure_model()
    monkeypatch.setattr(type(data), "library", Shelf())
    monkeypatch.setattr(type(data), "split", ([], []))
    rounds = data.rounds_of(module.policy)
    assert rounds.teacher is data.sources.server_teacher
    assert rounds.special_strings == module.policy.special_strings


@pytest.mark.parametrize(
    ("names", "lr", "max_grad_norm"),
    [
        (["orpo", "reference"], 5e-5, 1.0),
        (["exo", "reference", "reference-exo"], 5e-7, 0.3),
        (["dpo", "reference", "reference-exo"], 5e-7, 0.3),
        (["reflect", "reference", "reference-reflect"], 1e-6, 0.3),
        *(([phase, "full"], 5e-6, 1.0) for phase in PHASES),
        (["orpo", "reference", "full"], 5e-6, 1.0),
        (["exo", "reference", "full", "reference-exo"], 5e-7, 0.3),
        (["dpo", "reference", "full", "reference-exo"], 5e-7, 0.3),
        (["reflect", "reference", "full", "reference-reflect"], 1e-6, 0.3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_combination_has_its_own_rate(build, names, lr, max_grad_norm):
    module, _ = build(*names, teacher="reference" in names)
    assert (module.lr, module.max_grad_norm) == (lr, max_grad_norm)
    assert (module.settings.lora is None) == ("full" in names)
    assert module.settings.start_from == PHASES[names[0]][3]


def test_the_verified_run(build):
    module, data = build("verified")
    assert module.loss == ORPOLoss(0.1)
    assert data.task_object.levels == (2, 3)
    settings = data.pair_settings
    assert settings.ask_about == "frontier"
    assert settings.rejected_sampling.min_new_tokens == 0  # a right answer may be short
    assert settings.teacher.answer.repetition_penalty == 1  # names have to be said again
    longest = settings.teacher.answer.max_new_tokens + CATEGORY_TOKENS
    assert longest == data.longest_response <= data.max_length - data.max_prompt_length
