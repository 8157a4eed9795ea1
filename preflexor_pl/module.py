"""The LightningModule: policy forward -> log-probs -> loss -> one optimiser step -> log.

A step is the pairs that the loader yields together. They come as micro-batches; each one's loss is
divided by the pairs of the whole step, so how a step is split cannot change its gradient.
"""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from losses import LossOutput, ORPOLoss, PairLogps, PreferenceLoss
from preflexor_pl.batches.collate import PairBatch
from preflexor_pl.batches.layout import FlatBatch
from preflexor_pl.batches.steps import Step
from preflexor_pl.core.device import Later
from preflexor_pl.core.errors import ConfigError, NumericalError
from preflexor_pl.core.settings import PolicySettings, require
from preflexor_pl.evaluation.per_pair import per_pair
from preflexor_pl.policy.adapters import load_trained_state, trained_state
from preflexor_pl.policy.policy import Policy
from preflexor_pl.regenerate import RegenerateRounds

MAX_SKIPPED = 3  # this many steps in a row without a finite gradient end the run


class PreferenceModule(LightningModule):
    """Trains a policy on preference pairs.

    Args:
        policy: the model, and how its weights are held.
        loss: ORPO by default. A loss on log-probs; it decides whether a reference is needed.
        lr: learning rate of AdamW, constant, > 0.
        max_grad_norm: the gradient is scaled down to this norm, > 0.
        seed: of the adapters' first values.
        reflection: whether the rows of the reflection markers train too.
    """

    def __init__(
        self,
        policy: PolicySettings | None = None,
        loss: PreferenceLoss | None = None,
        lr: float = 5e-5,
        max_grad_norm: float = 1.0,
        seed: int = 0,
        reflection: bool = False,
    ) -> None:
        super().__init__()
        require(0 < lr < float("inf"), "model.lr", lr, "> 0")
        require(0 < max_grad_norm < float("inf"), "model.max_grad_norm", max_grad_norm, "> 0")
        self.settings = policy or PolicySettings()
        self.loss = loss or ORPOLoss()
        self.lr = lr
        self.max_grad_norm = max_grad_norm
        self.seed = seed
        self.reflection = reflection
        self.policy: Policy | None = None
        self._skips = torch.tensor(0)  # steps in a row, up to the last one, that were skipped
        self._unseen: Later | None = None  # the same, until it is looked at
        self.automatic_optimization = False
        self.strict_loading = (
            False  # checkpoints hold what trains; on_load_checkpoint checks the names
        )

    def configure_model(self) -> None:
        """Load the weights, once."""
        if self.policy is None:
            reference = self.loss.needs_reference
            self.policy = Policy(self.settings, self.seed, self.reflection, reference)
            self.policy.check_gradients()

    def configure_callbacks(self) -> list[Any]:
        """What a plain ``Trainer.fit`` needs to make its data anew."""
        return [RegenerateRounds()]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW without weight decay over what trains."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, lr=self.lr, weight_decay=0.0, fused=True)

    def training_step(self, step: Step, batch_idx: int) -> None:
        """One optimiser step over the pairs of ``step``."""
        pairs = sum(len(batch) for batch in step)
        outputs = [self._backward(batch, pairs) for batch in step]
        optimizer: Any = self.optimizers()
        trained = [p for p in self.parameters() if p.requires_grad]
        grad_norm = torch.nn.utils.clip_grad_norm_(trained, self.max_grad_norm)
        self._step_if_finite(optimizer, grad_norm)
        optimizer.zero_grad(set_to_none=True)
        self.log_dict(
            {f"train/{name}": value.mean() for name, value in per_pair(outputs).items()}
            | {"train/grad_norm": grad_norm, "train/lr": torch.full_like(grad_norm, self.lr)},
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
        """Step, or skip the step; whether it was skipped is looked at a step later.

        By then the device knows, and nobody has waited for it.
        """
        skipped = ~torch.isfinite(grad_norm)
        optimizer.optimizer.found_inf = skipped.float()  # a fused optimiser skips by itself
        optimizer.step()
        self._look_back()
        self._skips = (self._skips.to(skipped.device) + 1) * skipped
        self._unseen = Later(self._skips)

    def _look_back(self) -> None:
        """Tell of a skipped step; raises NumericalError where too many were."""
        skips, self._unseen = int(self._unseen.get()) if self._unseen else 0, None
        if skips >= MAX_SKIPPED:
            raise NumericalError(
                f"the gradient was not finite in {MAX_SKIPPED} steps in a row: lower model.lr "
                "or set model.policy.dtype to float32; the last checkpoint is good"
            )
        if skips:
            self.print("gradient not finite, step skipped")

    def on_train_epoch_end(self) -> None:
        """Before the checkpoint is written, look at the last step too."""
        self._look_back()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what trains; the frozen base is known by its name."""
        assert self.policy is not None
        checkpoint["state_dict"] = {k: v.cpu() for k, v in trained_state(self.policy).items()}
        checkpoint["policy"] = self.policy.identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the trained weights back.

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
        checkpoint["state_dict"] = {}  # in place already, under the policy's own names
