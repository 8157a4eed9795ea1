"""Packed batches compared with plain ones on the card, before anything is timed.

Log-probs and gradients are compared with every weight trained, and with adapters and marker rows
alone; in float32 and in bfloat16, where packed attention is one call of variable-length attention.
In float32 both must agree. In bfloat16 both are rounded, and the log-probs of random weights differ
by less than the tolerance even if attention sees wrong keys: so the error of packed batches against
float32 must also be about that of plain ones. Attention alone is compared on random heads.
"""

import torch
from torch import Tensor

from benchmarks.gpu.job import Job
from benchmarks.random_model import config_of
from benchmarks.training.equality import TOLERANCE
from benchmarks.training.layouts import RANK, Comparison, by_layout, norm, tokenized
from benchmarks.training.protocol import device
from benchmarks.training.workloads import Workload
from preflexor_pl.batches.packing import Spans, packed
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.policy.kernels.packed_attention import packed_attention

PAIRS = 3
MAX_RATIO = 3  # error of packed batches against float32 over that of plain ones
WINDOWS = None, 5


def measure(job: Job) -> None:
    """Compare, and record whether everything agrees."""
    workload, vocabulary = Workload.named(job.sizes.equality), config_of(job.shape).vocab_size
    pairs = tokenized(workload.draw(1, PAIRS, vocabulary))
    wrong = []
    for window in WINDOWS:
        name = f"attention, window {window}"
        comparison = attention(pairs, window)
        job.keep("equality", name, comparison)
        wrong += [
            f"{name}: {way}" for way in comparison if not comparison[way] <= TOLERANCE["bfloat16"]
        ]
    for rank in (0, RANK):
        for name, comparison in by_layout(job.model, pairs, rank).items():
            job.keep("equality", name, comparison)
            wrong += [f"{name}: {what}" for what in disagreements(comparison)]
    job.keep("equality", "wrong", wrong)
    job.keep("equality", "passed", not wrong)


def disagreements(comparison: Comparison) -> list[str]:
    """What differs by more than its tolerance."""
    dtype, between = comparison["dtype"], comparison["apart"]
    compared = ["logps", "gradient norm", *(["gradient"] if dtype == "float32" else [])]
    wrong = [name for name in compared if not between[name] <= TOLERANCE[dtype]]
    if "from float32" in comparison:
        ours, plain = comparison["from float32"]["packed"], comparison["from float32"]["plain"]
        wrong += [
            f"{name} from float32" for name in ours if not ours[name] <= MAX_RATIO * plain[name]
        ]
    return wrong


def attention(pairs: list[TokenizedPair], window: int | None) -> Comparison:
    """Error of packed attention in bfloat16 against float32: its output and each gradient.

    On a GPU these are two implementations: variable-length attention, and two calls per pair.
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
    *inputs, grad_output = [tensor.to(dtype) for tensor in drawn]
    query, key, value = (tensor.requires_grad_() for tensor in inputs)
    mixed, _ = packed_attention(None, query, key, value, None, sliding_window=window, spans=spans)
    grad_output = grad_output.transpose(1, 2)  # [1, T, H, D]
    return mixed.detach(), *torch.autograd.grad((mixed * grad_output).sum(), (query, key, value))
