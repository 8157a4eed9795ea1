from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from losses import ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import NoMasking
from preflexor_pl.core.errors import ConfigError, NumericalError
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.module import PreferenceModule
from preflexor_pl.policy.adapters import trained_state
from preflexor_pl.policy.schedules import WarmupCosine
from tests.tiny import PAIR, save_tiny_model

TEXTS = [
    ("Why?", "It bends.", "No."),
    ("How so?", "By sliding, slowly.", "Hm hm."),
    ("Who?", "I.", "You!"),
]


class Steps:
    """A loader of given steps."""

    def __init__(self, *steps):
        self.steps = steps

    def __len__(self):
        return len(self.steps)

    def __iter__(self):
        return iter(self.steps)


class Watch(Callback):
    """Keeps the gradient of each step that is made, and breaks those of the steps in ``broken``."""

    def __init__(self, broken=()):
        self.gradients, self.logged, self.broken = [], [], broken

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        factor = float("nan") if batch_idx in self.broken else 1.0
        module.loss = lambda logps, reference: replace(
            ORPOLoss()(logps), per_pair=ORPOLoss()(logps).per_pair * factor
        )

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.gradients.append(
            {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
        )

    def on_train_batch_end(self, trainer, module, *_):
        self.logged.append({name: float(value) for name, value in trainer.logged_metrics.items()})


@pytest.fixture
def module(model_folder):
    settings = PolicySettings(str(model_folder), "float32", lora=LoRASettings(rank=4, alpha=8))
    made = PreferenceModule(settings, ORPOLoss(), lr=1e-2, max_grad_norm=1e6)
    made.configure_callbacks = list
    return made


@pytest.fixture
def collate(module):
    module.configure_model()
    policy = module.policy
    made = PairCollator(
        policy.tokenizer, policy.markers, policy.end_id, NoMasking(), None, 256, 128, 0
    )

    def collate(*places):
        texts = [TEXTS[place] for place in places]
        pairs = [made.tokenize(replace(PAIR, prompt=p, chosen=c, rejected=r)) for p, c, r in texts]
        return made(pairs, (0, 0))

    return collate


def fit(module, *steps, watch=None, **options):
    watch = watch or Watch()
    trainer = Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu",
        callbacks=[watch], log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, Steps(*steps), **options)
    return trainer, watch


def weights(module):
    return {n: p.detach().clone() for n, p in trained_state(module.policy).items()}


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_how_a_step_is_split_cannot_change_its_gradient(module, collate):
    start = weights(module)
    splits = [[collate(0, 1, 2)], [collate(2), collate(0, 1)], [collate(1), collate(2), collate(0)]]
    seen = []
    for step in splits:
        module.policy.load_state_dict(start, strict=False)
        seen.append(fit(module, step)[1])
    for other in seen[1:]:
        for name, gradient in seen[0].gradients[0].items():
            assert torch.allclose(other.gradients[0][name], gradient, rtol=1e-4, atol=1e-5), name
        assert other.logged[0] == pytest.approx(seen[0].logged[0], rel=1e-4)
    assert any(g.abs().max() > 1e-2 for g in seen[0].gradients[0].values())


def test_what_is_logged_is_the_mean_over_the_pairs_of_the_step(module, collate):
    with torch.no_grad():
        alone = [ORPOLoss()(module.policy.logps(collate(place))).loss.item() for place in (0, 1, 2)]
    logged = fit(module, [collate(0, 1), collate(2)])[1].logged[0]
    assert logged["train/loss"] == pytest.approx(sum(alone) / 3, rel=1e-5)
    assert logged["train/lr"] == pytest.approx(1e-2)
    assert {"train/grad_norm", "train/rewards/margins", "train/logps/chosen"} <= logged.keys()


def test_the_gradient_is_scaled_down_to_its_limit(module, collate):
    module.max_grad_norm = 0.01
    _, watch = fit(module, [collate(0)])
    norm = torch.stack([g.norm() for g in watch.gradients[0].values()]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-3)
    assert watch.logged[0]["train/grad_norm"] > 0.01  # what it was before


def test_a_step_moves_what_trains_and_nothing_else(module, collate):
    frozen = {n: p.clone() for n, p in module.named_parameters() if not p.requires_grad}
    before = weights(module)
    fit(module, [collate(0, 1)], [collate(2)])
    after = weights(module)
    assert all(not torch.equal(after[n], before[n]) for n in before if "lora_A" not in n)
    assert equal({n: p for n, p in module.named_parameters() if not p.requires_grad}, frozen)


def test_a_step_without_a_finite_gradient_is_skipped(module, collate, capsys):
    before = weights(module)
    fit(module, [collate(0)], watch=Watch(broken=[0]))
    assert equal(weights(module), before)
    assert "gradient not finite, step skipped" in capsys.readouterr().out

    fit(module, *[[collate(0)]] * 5, watch=Watch(broken=[1, 2, 4]))  # never three in a row
    assert not equal(weights(module), before)
    assert all(weight.isfinite().all() for weight in weights(module).values())


OPTIMIZERS = {
    "adamw": partial(torch.optim.AdamW, lr=1e-2),
    "sgd with momentum": partial(torch.optim.SGD, lr=1e-2, momentum=0.9),
    "adafactor": torch.optim.Adafactor,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_skips_a_step_without_a_finite_gradient(module, collate, name):
    module.optimizer = OPTIMIZERS[name]
    before = weights(module)
    fit(module, [collate(0)], watch=Watch(broken=[0]))
    assert equal(weights(module), before)

    ends = []
    for broken, steps in (([1], 3), ([], 2)):  # the step that is skipped leaves no trace
        module.policy.load_state_dict(before, strict=False)
        trainer, _ = fit(module, *[[collate(0)]] * steps, watch=Watch(broken=broken))
        assert trainer.global_step == steps
        ends.append(weights(module))
    assert not equal(ends[0], before)
    assert equal(*ends)


def test_a_schedule_moves_with_every_step_also_a_skipped_one_and_is_logged(module, collate):
    module.lr_scheduler = partial(WarmupCosine, warmup=0.4)
    _, watch = fit(module, *[[collate(0)]] * 5, watch=Watch(broken=[1]))
    # 5 steps: 1/3 and 2/3 of the peak, then the cosine's 1, 3/4 and 1/4
    shares = [logged["train/lr"] / 1e-2 for logged in watch.logged]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.25])


def test_a_schedule_of_torch_moves_with_every_step(module, collate):
    module.lr_scheduler = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    _, watch = fit(module, *[[collate(0)]] * 3)
    assert [logged["train/lr"] for logged in watch.logged] == pytest.approx([1e-2, 5e-3, 2.5e-3])


def test_a_cosine_over_a_run_without_end_is_refused(module, collate):
    module.lr_scheduler = WarmupCosine
    trainer = Trainer(max_epochs=-1, logger=False, enable_checkpointing=False, accelerator="cpu")
    with pytest.raises(ConfigError, match=r"model\.lr_scheduler: the run has no end"):
        trainer.fit(module, Steps([collate(0)]))


def test_two_learning_rates_are_refused():
    with pytest.raises(ValueError, match=r"model\.lr: got 0\.1, must be null where model\.opt"):
        PreferenceModule(lr=0.1, optimizer=torch.optim.SGD)


def test_three_in_a_row_end_the_run(module, collate):
    with pytest.raises(NumericalError, match=r"3 steps in a row: lower model\.lr"):
        fit(module, *[[collate(0)]] * 5, watch=Watch(broken=[1, 2, 3]))


def test_a_checkpoint_holds_what_trains_and_brings_it_back(module, collate, tmp_path):
    trainer, _ = fit(module, [collate(0, 1)])
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert equal(saved["state_dict"], weights(module))

    twin = PreferenceModule(module.settings, lr=1e-2, seed=9)
    twin.on_load_checkpoint(saved)
    assert equal(weights(twin), weights(module))


def test_a_checkpoint_of_another_model_is_refused(module, collate, tmp_path):
    trainer, _ = fit(module, [collate(0)])
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    other = save_tiny_model(tmp_path / "other", seed=1)
    twin = PreferenceModule(PolicySettings(str(other), "float32", lora=module.settings.lora))
    with pytest.raises(ConfigError, match=rf"made with {module.settings.model_name}, not with"):
        twin.on_load_checkpoint(saved)
    wider = PreferenceModule(
        PolicySettings(module.settings.model_name, "float32", lora=LoRASettings(rank=8))
    )
    with pytest.raises(ConfigError, match="other trained weights"):
        wider.on_load_checkpoint(saved)


def test_weights_load_once_and_not_before_they_are_needed(module):
    assert module.policy is None
    module.configure_model()
    policy = module.policy
    module.configure_model()
    assert module.policy is policy


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["lr", "max_grad_norm"])
def test_rates_that_cannot_work_are_refused(key, value):
    with pytest.raises(ValueError, match=rf"model\.{key}: got .*, must be > 0"):
        PreferenceModule(**{key: value})


@pytest.mark.parametrize(
    ("lora", "lr", "warned"),
    [(None, 3e-5, True), (None, 2e-5, False), (LoRASettings(rank=4, alpha=8), 1e-2, False)],
)
def test_a_rate_for_adapters_is_warned_of_where_every_weight_trains(
    model_folder, capsys, lora, lr, warned
):
    module = PreferenceModule(PolicySettings(str(model_folder), "float32", lora=lora), lr=lr)
    module.configure_callbacks = list
    fit(module)
    assert ("warning: every weight trains, at a rate of 3e-05" in capsys.readouterr().out) == warned
