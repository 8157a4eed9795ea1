"""A second copy of a policy's base, for runs whose own weights cannot serve as the base."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from preflexor_pl.core.progress import log_line
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy.language_model import LanguageModel, load_language_model


class BaseCopy(nn.Module):
    """A copy of the base, loaded at its first use: a run with another teacher needs none.

    Args:
        settings: of the policy.
    """

    def __init__(self, settings: PolicySettings) -> None:
        super().__init__()
        self.settings = settings
        self.model: LanguageModel | None = None

    @contextmanager
    def weights(self, policy: LanguageModel) -> Iterator[Any]:
        """The base on the device of ``policy``, with its markers."""
        if self.model is None:
            settings = self.settings
            with torch.inference_mode(False):  # the caller may be in inference mode
                self.model = load_language_model(
                    settings.model_name,
                    "model.policy.model_name",
                    settings.dtype,
                    settings.attn_implementation,
                    settings.quantization,
                    policy.strings,
                ).to(policy.device)
            log_line(f"A copy of the base as teacher: {gigabytes(self.model)}")
        yield self.model.inner


def gigabytes(model: nn.Module) -> str:
    """The size of a model's weights, to be read."""
    return f"{sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9:.1f} GB"
