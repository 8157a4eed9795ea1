"""Mean log-probs of given responses under a model; no text is drawn."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from losses.logps import IGNORE_INDEX, token_logps
from preflexor_pl.core.errors import ResourceError
from preflexor_pl.policy.language_model import LanguageModel, Role

TOKEN_BUDGET = 1024  # padded tokens in one forward pass


@torch.inference_mode()
def mean_logps(
    model: LanguageModel, rows: Sequence[tuple[list[int], list[int]]], role: Role = "policy"
) -> list[float]:
    """Mean log-prob of each response's tokens, in nats.

    Args:
        model: without dropout, in train or eval mode.
        rows: ids of each prompt and response; a response has at least one.
        role: whether the policy or its base is measured.

    Returns:
        One mean a row, in the order of ``rows``.

    Raises:
        ValueError: a response is empty.
        ResourceError: a single row does not fit into memory.
    """
    if not all(response for _, response in rows):
        raise ValueError("an empty response has no log-prob")
    order = sorted(range(len(rows)), key=lambda i: sum(map(len, rows[i])))
    means = [0.0] * len(rows)
    with model.active_weights(role) as inner:
        group: list[int] = []
        for place, index in enumerate(order):
            group.append(index)
            following = order[place + 1 : place + 2]
            width = sum(map(len, rows[following[0]])) if following else 0
            if not following or width * (len(group) + 1) > TOKEN_BUDGET:
                found = _group(inner, [rows[i] for i in group], model.pad_id)
                for i, value in zip(group, found, strict=True):
                    means[i] = value
                group = []
    return means


def _group(model: Any, rows: Sequence[tuple[list[int], list[int]]], pad: int) -> list[float]:
    """The means of a group of rows, split in halves until it fits into memory."""
    try:
        return _together(model, rows, pad)
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        if len(rows) == 1:
            raise ResourceError(
                "out of memory while scoring one text: use a smaller model"
            ) from error
    half = len(rows) // 2
    return _group(model, rows[:half], pad) + _group(model, rows[half:], pad)


def _together(model: Any, rows: Sequence[tuple[list[int], list[int]]], pad: int) -> list[float]:
    width = max(len(prompt) + len(response) for prompt, response in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORE_INDEX)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (prompt, response) in enumerate(rows):
        whole = [*prompt, *response]
        ids[row, : len(whole)] = torch.tensor(whole)
        labels[row, len(prompt) : len(whole)] = torch.tensor(response)
        mask[row, : len(whole)] = 1
    device = model.device
    first = max(
        1, min(len(prompt) for prompt, _ in rows)
    )  # columns before the first response need no logits
    kept = width - first + 1
    fewer = "logits_to_keep" in inspect.signature(model.forward).parameters
    logits = model(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        use_cache=False,
        **({"logits_to_keep": kept} if fewer else {}),
    ).logits[:, -kept:-1]  # [B, K, V]
    targets = labels[:, first:].to(device)  # [B, K]
    logps = token_logps(logits.flatten(0, 1), targets.flatten()).view_as(targets)
    return (logps.sum(1) / (targets != IGNORE_INDEX).sum(1)).tolist()
