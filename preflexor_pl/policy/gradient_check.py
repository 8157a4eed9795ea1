"""Checks before training that every weight which should train gets a gradient."""

import torch
from torch import nn

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy.model_errors import in_one_line
from preflexor_pl.policy.policy import Policy
from preflexor_pl.policy.previous_phase import ROWS


def check_gradients(policy: Policy) -> None:
    """Run one backward pass, and refuse a trained weight or marker row without a gradient.

    Where every weight trains, those that no output depends on are frozen, which is announced.

    Args:
        policy: gradients are cleared afterwards.

    Raises:
        ConfigError: names the weights.
    """
    rows = policy.trained_rows or policy.marker_ids
    with torch.enable_grad(), in_one_line(f"{policy.source.name} cannot be trained"):
        ids = torch.tensor([rows], device=policy.device)
        policy.model(input_ids=ids, use_cache=False).logits[..., rows].sum().backward()
    modules = policy.inner.get_input_embeddings(), policy.inner.get_output_embeddings()
    tables = {id(getattr(module, "original_module", module).weight) for module in modules}
    trained = [(name, p) for name, p in policy.named_parameters() if p.requires_grad]
    trained = policy.weights.freeze_unused(trained, tables)
    missing = [
        name
        for name, parameter in trained
        if not _has_gradient(
            name, parameter, policy.trained_rows if id(parameter) in tables else []
        )
    ]
    policy.zero_grad(set_to_none=True)
    if missing:
        raise ConfigError(f"these weights would get no gradient: {', '.join(missing)[:200]}")


def _has_gradient(name: str, parameter: nn.Parameter, rows: list[int]) -> bool:
    """Whether a backward pass reached a weight, and each row of it that must train."""
    gradient = parameter.grad
    if gradient is None:
        return False
    if ROWS in name:
        return bool(gradient.any(1).all())
    return not rows or bool(gradient[rows].any(1).all())
