"""Packed batches against plain ones on the card: log-probs and gradients, before anything is timed.

Every weight trains, and adapters alone with marker rows; in float32 and in bfloat16, where packed
attention is one call of variable-length attention. In float32 both must agree. In bfloat16 both
are rounded, and the log-probs of random weights differ by less than its tolerance even where
attention sees wrong keys: so packed must also be about as near to float32 as plain is. Attention by
itself is compared on random heads.
"""

import torch
from torch import Tensor

from benchmarks.gpu.job import Job
from benchmarks.random_model import config_of
from benchmarks.training.equality import TOLERANCE
from benchmarks.training.layouts import RANK, Found, by_layout, norm, tokenized
from benchmarks.training.protocol import device
from benchmarks.training.workloads import Workload
from preflexor_pl.batches.layout import Spans, packed
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.policy.kernels.packed_attention import packed_attention

PAIRS = 3
FURTHER = 3  # times as far from float32 as plain batches: the most that packed ones may be
WINDOWS = None, 5


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
