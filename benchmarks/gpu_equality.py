"""Packed batches against plain ones on the card: log-probs and gradients, before anything is timed.

Every weight trains, and adapters alone with marker rows; in float32 and in bfloat16, where packed
attention is one call of variable-length attention. In float32 both must agree. In bfloat16 both
are rounded, and the log-probs of random weights differ by less than its tolerance even where
attention sees wrong keys: so packed must also be about as near to float32 as plain is. Attention by
itself is compared on random heads.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.gate import TOLERANCE, apart
from benchmarks.gpu_job import RANK, Job, collator_of, device, tokenized
from benchmarks.random_model import config_of
from benchmarks.workloads import Workload
from losses import ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.layout import Spans, packed
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.policy.kernels.packed_attention import packed_attention
from preflexor_pl.policy.policy import Policy

PAIRS = 3
FURTHER = 3  # times as far from float32 as plain batches: the most that packed ones may be
WINDOWS = None, 5

Found = dict[str, Any]


class Learned(NamedTuple):
    """What a batch teaches: log-probs of its targets, pair by pair, and every gradient."""

    logps: Tensor
    gradients: dict[str, Tensor]


def measure(job: Job) -> None:
    """Compare, and leave whether all of it agrees."""
    workload, vocabulary = Workload.named(job.sizes.equality), config_of(job.shape).vocab_size
    pairs = tokenized(workload.draw(1, PAIRS, vocabulary))
    wrong = []
    for window in WINDOWS:
        name = f"attention, window {window}"
        found = attention(pairs, window)
        job.keep("equality", name, found)
        wrong += [f"{name}: {way}" for way in found if not found[way] <= TOLERANCE["bfloat16"]]
    for rank in (0, RANK):
        for name, found in by_layout(job.model, pairs, rank).items():
            job.keep("equality", name, found)
            wrong += [f"{name}: {what}" for what in disagreements(found)]
    job.keep("equality", "wrong", wrong)
    job.keep("equality", "passed", not wrong)


def by_layout(model: str, pairs: list[TokenizedPair], rank: int) -> dict[str, Found]:
    """Packed and plain batches by dtype: how far apart they are, and how far from float32.

    Args:
        model: a folder.
        pairs: of one micro-batch.
        rank: of the adapters; 0 trains every weight.
    """
    made: dict[str, Found] = {}
    truth: Learned | None = None
    for dtype in TOLERANCE:
        policy = _policy(model, dtype, rank)
        collator = collator_of(policy)
        ours = learned(policy, collator, pairs)
        plain = learned(policy, collator.relaid("plain"), pairs)
        truth = truth or plain
        found: Found = {"dtype": dtype, "apart": distance(ours, plain)}
        found["apart"]["gradient norm"] = apart(norm(ours.gradients), norm(plain.gradients))
        if truth is not plain:
            found["from float32"] = {
                "packed": distance(ours, truth),
                "plain": distance(plain, truth),
            }
        made[f"{'adapters' if rank else 'every weight'} {dtype}"] = found
        del policy, ours, plain
    return made


def disagreements(found: Found) -> list[str]:
    """What differs by more than it may."""
    dtype, between = found["dtype"], found["apart"]
    compared = ["logps", "gradient norm", *(["gradient"] if dtype == "float32" else [])]
    wrong = [name for name in compared if not between[name] <= TOLERANCE[dtype]]
    if "from float32" in found:
        ours, plain = found["from float32"]["packed"], found["from float32"]["plain"]
        wrong += [
            f"{name} from float32" for name in ours if not ours[name] <= FURTHER * plain[name]
        ]
    return wrong


def learned(policy: Policy, collator: PairCollator, pairs: list[TokenizedPair]) -> Learned:
    """Of one micro-batch with ORPO's loss."""
    batch = collator(pairs, (0, 0)).to(policy.device)
    logps = policy.token_logps(batch)
    ORPOLoss()(batch.sums(logps)).loss.backward()
    parts = [side for pair in batch.by_response(logps.detach()) for side in pair]
    gradients = {
        name: weight.grad for name, weight in policy.named_parameters() if weight.grad is not None
    }
    policy.zero_grad(set_to_none=True)
    return Learned(torch.cat(parts).float(), gradients)


def distance(one: Learned, other: Learned) -> Found:
    """Norms of the differences over the norms of the other's."""
    between = {name: one.gradients[name].float() - g for name, g in other.gradients.items()}
    return {
        "logps": norm({"": one.logps - other.logps}) / norm({"": other.logps}),
        "gradient": norm(between) / norm(other.gradients),
    }


def norm(tensors: Mapping[str, Tensor]) -> float:
    """Of all of them together."""
    each = [torch.linalg.vector_norm(t, dtype=torch.float32) for t in tensors.values()]
    return math.hypot(*torch.stack(each).tolist())


def _policy(model: str, dtype: str, rank: int) -> Policy:
    lora = LoRASettings(rank, 2 * rank) if rank else None
    held: Any = dtype if rank else "float32"
    policy = Policy(PolicySettings(model, held, lora=lora)).to(device())
    if not rank:  # in a run they stay float32: this is for the comparison alone
        for weight in policy.parameters():  # and not the buffers: angles of far positions need them
            weight.data = weight.data.to(getattr(torch, dtype))
        return policy
    generator = torch.Generator(device()).manual_seed(0)
    for name, weight in policy.named_parameters():
        if ".lora_B." in name:  # from 0 an adapter's other half gets no gradient
            weight.data.normal_(0, 0.02, generator=generator)
    return policy


def attention(pairs: list[TokenizedPair], window: int | None) -> Found:
    """How far packed attention in bfloat16 is from float32: its output and each gradient.

    On a card these are two ways: variable-length attention, and two calls a pair.
    """
    spans = packed(pairs).spans
    assert spans is not None
    spans = spans.to(device())
    generator = torch.Generator(device()).manual_seed(0)
    tokens = sum(pair.total for pair in pairs)
    drawn = [
        torch.randn(1, heads, tokens, 64, generator=generator, device=device()).bfloat16()
        for heads in (8, 2, 2, 8)
    ]
    ways = {dtype: _attended(drawn, getattr(torch, dtype), spans, window) for dtype in TOLERANCE}
    return {
        name: norm({"": one.float() - other}) / norm({"": other})
        for name, one, other in zip(
            ("output", "query", "key", "value"), ways["bfloat16"], ways["float32"], strict=True
        )
    }


def _attended(
    drawn: list[Tensor], dtype: torch.dtype, spans: Spans, window: int | None
) -> tuple[Tensor, ...]:
    *inputs, onto = [tensor.to(dtype) for tensor in drawn]
    query, key, value = (tensor.requires_grad_() for tensor in inputs)
    mixed, _ = packed_attention(None, query, key, value, None, sliding_window=window, spans=spans)
    onto = onto.transpose(1, 2)  # [1, T, H, D]
    return mixed.detach(), *torch.autograd.grad((mixed * onto).sum(), (query, key, value))
