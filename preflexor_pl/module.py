"""The LightningModule: policy forward -> log-probs -> loss -> one optimiser step -> log.

A step is the pairs that the loader yields together, as micro-batches. The loss of a micro-batch is
divided by the pairs of the whole step, so the split cannot change the gradient.
"""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from losses import LossOutput, ORPOLoss, PairLogps, PreferenceLoss
from losses.metrics import per_pair
from preflexor_pl.batches.collate import PairBatch
from preflexor_pl.batches.packing import FlatBatch
from preflexor_pl.batches.steps import Step
from preflexor_pl.core.device import AsyncHostCopy
from preflexor_pl.core.errors import ConfigError, NumericalError
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.settings import PolicySettings, check_value
from preflexor_pl.policy.adapters import load_trained_state, trained_state
from preflexor_pl.policy.gradient_check import check_gradients
from preflexor_pl.policy.policy import Policy
from preflexor_pl.policy.schedules import MakeOptimizer, MakeSchedule, WarmupCosine, build
from preflexor_pl.policy.weights import FullWeights
from preflexor_pl.rounds.regenerate import RegenerateRounds

DEFAULT_LR = 5e-5
FULL_RATE = 2e-5  # above it full fine-tuning moves weights too far in a step
MAX_SKIPPED = 3  # this many steps in a row without a finite gradient end the run


class PreferenceModule(LightningModule):
    """Trains a policy on preference pairs.

    Args:
        policy: the model, and how its weights are held.
        loss: ORPO by default. A loss on log-probs; it decides whether a reference is needed.
        lr: learning rate of the default optimiser, > 0; null is 5e-5. It must be null where
            ``optimizer`` is given, which has a rate of its own.
        max_grad_norm: the gradient is scaled down to this norm, > 0.
        optimizer: makes the optimiser of the parameters that train: a class of ``torch.optim`` with
            its arguments; null is AdamW without weight decay.
        lr_scheduler: makes the schedule of the optimiser's rate, moved once a step: a class of
            ``torch.optim.lr_scheduler``, or ``preflexor_pl.policy.schedules.WarmupCosine``; null
            keeps the rate constant.
        seed: of the adapters' first values.
        reflection: whether the rows of the reflection markers train too.
    """

    def __init__(
        self,
        policy: PolicySettings | None = None,
        loss: PreferenceLoss | None = None,
        lr: float | None = None,
        max_grad_norm: float = 1.0,
        optimizer: MakeOptimizer | None = None,
        lr_scheduler: MakeSchedule | None = None,
        seed: int = 0,
        reflection: bool = False,
    ) -> None:
        super().__init__()
        check_value(
            lr is None or optimizer is None,
            "model.lr",
            lr,
            "null where model.optimizer is given: the rate is among its init_args",
        )
        check_value(lr is None or 0 < lr < float("inf"), "model.lr", lr, "> 0")
        check_value(0 < max_grad_norm < float("inf"), "model.max_grad_norm", max_grad_norm, "> 0")
        self.settings = policy or PolicySettings()
        self.loss = loss or ORPOLoss()
        self.lr = DEFAULT_LR if lr is None else lr
        self.max_grad_norm = max_grad_norm
        self.optimizer = optimizer or self._adamw
        self.lr_scheduler = lr_scheduler
        self._build_optimizer([torch.nn.Parameter(torch.ones(1, 1))])  # errors before loading
        self.seed = seed
        self.reflection = reflection
        self.policy: Policy | None = None
        self._skips = torch.tensor(0)  # skipped steps in a row, on the device
        self._host_skips: AsyncHostCopy | None = None  # the same, read a step later
        self.automatic_optimization = False
        self.strict_loading = (
            False  # checkpoints hold what trains; on_load_checkpoint checks the names
        )

    def configure_model(self) -> None:
        """Load the weights, once."""
        if self.policy is None:
            reference = self.loss.needs_reference
            self.policy = Policy(self.settings, self.seed, self.reflection, reference)
            check_gradients(self.policy)

    def configure_callbacks(self) -> list[Any]:
        """The callback that makes the next round, also in a plain ``Trainer.fit``."""
        return [RegenerateRounds()]

    def on_fit_start(self) -> None:
        """Warn of a learning rate for adapters in full fine-tuning."""
        groups = [group for one in self.trainer.optimizers for group in one.param_groups]
        rate = max(group.get("initial_lr", group["lr"]) for group in groups)
        if isinstance(self.policy.weights, FullWeights) and rate > FULL_RATE:  # type: ignore[union-attr]
            log_line(
                f"warning: every weight trains, at a rate of {rate:g}: above {FULL_RATE:g} a model "
                "tends to forget its language; configs/full.yaml has 5e-6"
            )

    def configure_optimizers(self) -> Any:
        """The optimiser of the parameters that train, and the schedule of its rate if there is one.

        Raises:
            ConfigError: one of them cannot be built, or needs several forward passes a step.
        """
        optimizer, schedule = self._build_optimizer(
            [p for p in self.parameters() if p.requires_grad]
        )
        if schedule is None:
            return optimizer
        if isinstance(schedule, WarmupCosine):
            schedule.spread_over(self._planned_steps())
        return [optimizer], [schedule]

    def _build_optimizer(self, trained: list[torch.nn.Parameter]) -> tuple[Any, Any]:
        optimizer = build("model.optimizer", self.optimizer, trained)
        if self.lr_scheduler is None:
            return optimizer, None
        return optimizer, build("model.lr_scheduler", self.lr_scheduler, optimizer)

    def _adamw(self, trained: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(trained, lr=self.lr, weight_decay=0.0, fused=True)

    def _planned_steps(self) -> int:
        """Steps of the whole run, as planned; rounds may have fewer pairs than planned."""
        trainer: Any = self.trainer
        if trainer.max_epochs in (None, -1) and trainer.max_steps < 0:
            raise ConfigError(
                "model.lr_scheduler: the run has no end to spread it over: set trainer.max_epochs"
            )
        planned = getattr(trainer.datamodule, "planned_steps", None)
        return planned() if planned else int(trainer.estimated_stepping_batches)

    def training_step(self, step: Step, batch_idx: int) -> None:
        """One optimiser step over the pairs of ``step``."""
        pairs = sum(len(batch) for batch in step)
        outputs = [self._backward(batch, pairs) for batch in step]
        optimizer: Any = self.optimizers()
        trained = [p for p in self.parameters() if p.requires_grad]
        grad_norm = torch.nn.utils.clip_grad_norm_(trained, self.max_grad_norm)
        lr = float(optimizer.param_groups[0]["lr"])
        self._step_if_finite(optimizer, grad_norm)
        optimizer.zero_grad(set_to_none=True)
        self.log_dict(
            {f"train/{name}": value.mean() for name, value in per_pair(outputs).items()}
            | {"train/grad_norm": grad_norm, "train/lr": torch.full_like(grad_norm, lr)},
            batch_size=pairs,
        )

    def _backward(
        self, batch: PairBatch | FlatBatch, pairs_in_step: int
    ) -> tuple[PairLogps, LossOutput]:
        logps = self.policy.logps(batch)  # type: ignore[union-attr]
        output = self.loss(logps, batch.reference_logps())
        self.manual_backward(output.per_pair.sum() / pairs_in_step)
        return logps, output

    def _step_if_finite(self, optimizer: Any, grad_norm: Tensor) -> None:
        """Step, or skip the step; whether it was skipped is read a step later.

        By then the device has the answer, so the host never waits. The schedule moves either way.
        """
        skipped = ~torch.isfinite(grad_norm)
        if optimizer.defaults.get("fused"):
            optimizer.optimizer.found_inf = skipped.float()  # the fused step skips itself
        elif skipped:
            optimizer.zero_grad(set_to_none=True)  # a step without gradients changes nothing
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        if schedule:
            schedule.step()
        self._check_skips()
        self._skips = (self._skips.to(skipped.device) + 1) * skipped
        self._host_skips = AsyncHostCopy(self._skips)

    def _check_skips(self) -> None:
        """Report a skipped step; raises NumericalError after ``MAX_SKIPPED`` in a row."""
        skips, self._host_skips = int(self._host_skips.get()) if self._host_skips else 0, None
        if skips >= MAX_SKIPPED:
            raise NumericalError(
                f"the gradient was not finite in {MAX_SKIPPED} steps in a row: lower model.lr "
                "or set model.policy.dtype to float32; the last checkpoint is good"
            )
        if skips:
            self.print("gradient not finite, step skipped")

    def on_train_epoch_end(self) -> None:
        """Check the last step too, before the checkpoint is written."""
        self._check_skips()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save only the weights that train; the frozen base is loaded by its name."""
        assert self.policy is not None
        checkpoint["state_dict"] = {k: v.cpu() for k, v in trained_state(self.policy).items()}
        checkpoint["policy"] = self.policy.identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the trained weights.

        Raises:
            ConfigError: the checkpoint is of another model or of other adapters.
        """
        self.configure_model()
        assert self.policy is not None
        saved, ours = checkpoint.get("policy", {}), self.policy.identity
        if saved.get("sha256") != ours["sha256"]:
            raise ConfigError(
                f"the checkpoint was made with {saved.get('model_name')}, not with "
                f"{self.settings.model_name}: use --run OTHER, or --fresh"
            )
        if saved.get("start") != ours["start"]:
            raise ConfigError(
                f"what is in {self.settings.start_from} has changed since this run began: "
                "use --fresh"
            )
        try:
            load_trained_state(self.policy, checkpoint["state_dict"])
        except (KeyError, RuntimeError) as error:
            raise ConfigError(f"the checkpoint has other trained weights: {error}") from error
        checkpoint["state_dict"] = {}  # loaded above, under the policy's own names
