"""Packed and plain batches of the same pairs: their log-probs and gradients, compared."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.training.equality import TOLERANCE, relative_difference
from benchmarks.training.protocol import device
from benchmarks.training.workloads import Pair
from losses import ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import NoMasking
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.policy.policy import Policy

UNLIMITED = 10**9  # tokens
RANK = 16  # of the adapters, on both sides

Comparison = dict[str, Any]


def tokenized(pairs: Sequence[Pair]) -> list[TokenizedPair]:
    """Pairs of ids as the collator takes them."""
    return [
        TokenizedPair(str(place), pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"])
        for place, pair in enumerate(pairs)
    ]


def collator_of(model: LanguageModel) -> PairCollator:
    """A collator that packs pairs; every response token is a target."""
    ids = model.tokenizer, model.markers, model.end_id
    return PairCollator(*ids, NoMasking(), None, UNLIMITED, UNLIMITED, 0, "packed")


class Learned(NamedTuple):
    """Log-probs of a batch's targets, pair by pair, and every gradient."""

    logps: Tensor
    gradients: dict[str, Tensor]


def by_layout(model: str, pairs: list[TokenizedPair], rank: int) -> dict[str, Comparison]:
    """Difference of packed and plain batches, and of both to float32, by dtype.

    Args:
        model: folder of the model.
        pairs: pairs of one micro-batch.
        rank: rank of the adapters; 0 trains every weight.
    """
    made: dict[str, Comparison] = {}
    truth: Learned | None = None
    for dtype in TOLERANCE:
        policy = _policy(model, dtype, rank)
        collator = collator_of(policy)
        ours = learned(policy, collator, pairs)
        plain = learned(policy, collator.relaid("plain"), pairs)
        truth = truth or plain
        comparison: Comparison = {"dtype": dtype, "apart": distance(ours, plain)}
        comparison["apart"]["gradient norm"] = relative_difference(
            norm(ours.gradients), norm(plain.gradients)
        )
        if truth is not plain:
            comparison["from float32"] = {
                "packed": distance(ours, truth),
                "plain": distance(plain, truth),
            }
        made[f"{'adapters' if rank else 'every weight'} {dtype}"] = comparison
        del policy, ours, plain
    return made


def learned(policy: Policy, collator: PairCollator, pairs: list[TokenizedPair]) -> Learned:
    """Log-probs and gradients of one micro-batch with ORPO's loss."""
    batch = collator(pairs, (0, 0)).to(policy.device)
    logps = policy.token_logps(batch)
    ORPOLoss()(batch.sums(logps)).loss.backward()
    parts = [side for pair in batch.by_response(logps.detach()) for side in pair]
    gradients = {
        name: weight.grad for name, weight in policy.named_parameters() if weight.grad is not None
    }
    policy.zero_grad(set_to_none=True)
    return Learned(torch.cat(parts).float(), gradients)


def distance(one: Learned, other: Learned) -> Comparison:
    """Norm of the difference over the norm of ``other``, for log-probs and gradients."""
    between = {name: one.gradients[name].float() - g for name, g in other.gradients.items()}
    return {
        "logps": norm({"": one.logps - other.logps}) / norm({"": other.logps}),
        "gradient": norm(between) / norm(other.gradients),
    }


def norm(tensors: Mapping[str, Tensor]) -> float:
    """Norm of all tensors together."""
    each = [torch.linalg.vector_norm(t, dtype=torch.float32) for t in tensors.values()]
    return math.hypot(*torch.stack(each).tolist())


def _policy(model: str, dtype: str, rank: int) -> Policy:
    lora = LoRASettings(rank, 2 * rank) if rank else None
    held: Any = dtype if rank else "float32"
    policy = Policy(PolicySettings(model, held, lora=lora)).to(device())
    if not rank:  # a run keeps them in float32; here bfloat16 is to be compared
        for (
            weight
        ) in policy.parameters():  # not the buffers: rotary angles of late positions need float32
            weight.data = weight.data.to(getattr(torch, dtype))
        return policy
    generator = torch.Generator(device()).manual_seed(0)
    for name, weight in policy.named_parameters():
        if ".lora_B." in name:  # at 0, lora_A would get no gradient
            weight.data.normal_(0, 0.02, generator=generator)
    return policy
