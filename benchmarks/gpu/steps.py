"""Our training steps in one process: share of the card's peak, and the cost of the reference.

Adapters train with marker rows, as in a run. A run that trains every weight holds float32; here the
weights and AdamW's state are bfloat16, the dtype of a card's peak. The loss is DPO and AdamW is
fused. The reference's log-probs are known beforehand, so a step is that of the policy, including
the transfer of its batches. The cost of the reference is one pass over the pairs, relative to three
epochs of training on them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.flops import Shape, useful_flops, utilisation
from benchmarks.gpu.job import Job, card, seconds
from benchmarks.report.record import spread
from benchmarks.training.equality import TOLERANCE, relative_difference
from benchmarks.training.layouts import RANK, collator_of, norm, tokenized
from benchmarks.training.protocol import BETA, LR, MAX_GRAD_NORM, device
from benchmarks.training.workloads import Workload
from losses import DPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.packing import FlatBatch
from preflexor_pl.batches.steps import micro_batches
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.policy.forward import flat_logps
from preflexor_pl.policy.kernels import head
from preflexor_pl.policy.kernels.recompute import save_fewer_activations
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.policy.policy import Policy

EPOCHS = 3  # in a round
WARM_UP = 3
KEPT_BYTES = 4 * 2**30  # memory for the head's coefficients, to compare with recomputing

Result = dict[str, Any]
Batches = list[list[FlatBatch]]  # of each step


@dataclass(frozen=True)
class Side:
    """A model that trains.

    Attributes:
        rank: rank of the adapters; 0 if every weight trains.
        model: the transformers model.
        trained: parameters of the optimiser.
        collator: packs pairs.
        logps: log-probs of a batch's targets, differentiable.
        reference: the reference's log-probs of them.
    """

    rank: int
    model: Any
    trained: list[nn.Parameter]
    collator: PairCollator
    logps: Callable[[FlatBatch], Tensor]
    reference: Callable[[FlatBatch], Tensor]


def adapters(job: Job) -> Side:
    """The policy of a run, with adapters."""
    settings = PolicySettings(job.model, "bfloat16", lora=LoRASettings(RANK, 2 * RANK))
    policy = Policy(settings).to(device())
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    ways = policy.token_logps, policy.reference_logps
    return Side(RANK, policy.inner, trained, collator_of(policy), *ways)


def every_weight(job: Job) -> Side:
    """The model without adapters, in bfloat16."""
    loaded = load_language_model(job.model, "--config", "bfloat16").to(device())
    model = loaded.model.requires_grad_(True)
    save_fewer_activations(model)  # as in a policy

    def logps(batch: FlatBatch) -> Tensor:
        return flat_logps(model, batch)

    reference = torch.no_grad()(logps)
    trained = list(model.parameters())
    return Side(0, model, trained, collator_of(loaded), logps, reference)


def measure_adapters(job: Job) -> None:
    """Steps of the adapters on each workload."""
    side = adapters(job)
    for workload in job.sizes.workloads:
        job.keep("adapters", workload, fastest(side, workload, job))


def measure_weights(job: Job) -> None:
    """Steps of every weight on each workload, and with the head's coefficients kept."""
    side = every_weight(job)
    for workload in job.sizes.workloads:
        job.keep("weights", workload, fastest(side, workload, job))
        with _keeping(KEPT_BYTES):
            kept = fastest(side, workload, job)
        job.keep("weights_with_coefficients_kept", workload, kept)


def measure_compiled_adapters(job: Job) -> None:
    """Steps of the adapters after ``torch.compile``."""
    _measure_compiled("compiled_adapters", adapters(job), job)


def measure_compiled_weights(job: Job) -> None:
    """Steps of every weight after ``torch.compile``."""
    _measure_compiled("compiled_weights", every_weight(job), job)


def _measure_compiled(section: str, side: Side, job: Job) -> None:
    """Compile each decoder layer; nothing is timed unless the results stay the same."""
    first = Workload.named(job.sizes.workloads[0])
    batch = batches_of(side, first, job.sizes.budgets[0], job)[0][0]
    plain = norms(side, batch)
    for layer in side.model.get_decoder().layers:
        layer.compile(dynamic=True)
    started = time.perf_counter()
    ours = norms(side, batch)
    job.keep(section, "seconds of the first pass", round(time.perf_counter() - started, 1))
    differ = {name: relative_difference(ours[name], plain[name]) for name in plain}
    job.keep(section, "apart from eager", differ)
    if not max(differ.values()) <= TOLERANCE["bfloat16"]:
        raise SystemExit("error: compiled layers give other results")
    for workload in job.sizes.workloads:
        job.keep(section, workload, fastest(side, workload, job))


def norms(side: Side, batch: FlatBatch) -> dict[str, float]:
    """Norms of the log-probs, and of the gradient of sum(chosen - rejected)."""
    there = batch.to(device())
    found = side.logps(there)
    logps = there.sums(found)
    (logps.chosen - logps.rejected).sum().backward()
    gradients = {str(n): w.grad for n, w in enumerate(side.trained) if w.grad is not None}
    size = norm(gradients)
    side.model.zero_grad(set_to_none=True)
    return {"logps": norm({"": found.detach()}), "gradient norm": size}


@contextmanager
def _keeping(size: int) -> Iterator[None]:
    before, head.KEEP_BYTES = head.KEEP_BYTES, size
    try:
        yield
    finally:
        head.KEEP_BYTES = before


def fastest(side: Side, workload: str, job: Job) -> Result:
    """Result with the fastest budget that there was time for, and the budgets that did not fit."""
    found: list[Result] = []
    too_much = []
    for budget in job.sizes.budgets:
        if job.over():
            break
        try:
            found.append(stepped(side, workload, budget, job))
        except torch.OutOfMemoryError:
            too_much.append(budget)
        side.model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
    if not found:
        memory = f"out of memory with every one of {too_much} tokens a micro-batch"
        return {"failed": memory if too_much else "no time left"}
    best = min(found, key=lambda one: one["seconds"]["median"])
    others = {one["budget"]: one["seconds"]["median"] for one in found}
    return best | {"seconds by budget": others, "too large": too_much}


def stepped(side: Side, workload: str, budget: int, job: Job) -> Result:
    """Steps of one side: time, memory, share of the peak, and the cost of the reference."""
    sizes = job.sizes
    named = Workload.named(workload)
    lengths = named.lengths(sizes.steps * sizes.pairs_per_step)
    batches = batches_of(side, named, budget, job)
    optimizer = torch.optim.AdamW(side.trained, lr=LR, weight_decay=0.0, fused=True)
    idle = _memory()
    with_reference = add_reference(side, batches)
    for _ in range(WARM_UP):
        step(side, optimizer, with_reference[0])
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    took, reference = [], []
    for _ in job.repeats():
        took.append(seconds(lambda: [step(side, optimizer, one) for one in with_reference]))
        reference.append(seconds(lambda: add_reference(side, batches)))
    flops = useful_flops(Shape.of(side.model.config), lengths, side.rank)
    shares = [utilisation(flops, each, card()) for each in took]
    return {
        "budget": budget,
        "seconds": spread(took),
        "pairs/s": spread([len(lengths) / each for each in took]),
        "useful tokens/s": spread([sum(map(sum, lengths)) / each for each in took]),
        "useful TFLOP/s": spread([flops / each / 1e12 for each in took]),
        "useful-FLOP MFU": spread([s for s in shares if s]) if all(shares) else "unknown card",
        "reference / training, 3 epochs": spread(
            [one / EPOCHS / each for one, each in zip(reference, took, strict=True)]
        ),
        "peak MB": round((_memory(peak=True) - idle) / 1e6, 1),
    }


def batches_of(side: Side, workload: Workload, budget: int, job: Job) -> Batches:
    """The micro-batches of each step, on the CPU."""
    size, vocabulary = job.sizes.pairs_per_step, side.model.config.vocab_size
    pairs = tokenized(workload.draw(job.sizes.steps, size, vocabulary))
    steps = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return [
        [side.collator(group, (0, 0)) for group in micro_batches(step, budget, packed=True)]
        for step in steps
    ]


def add_reference(side: Side, batches: Batches) -> Batches:
    """The batches with the reference's log-probs, on the CPU as in a run."""
    return [
        [replace(one, reference=side.reference(one.to(device())).cpu()) for one in step]
        for step in batches
    ]


def step(side: Side, optimizer: Any, batches: list[FlatBatch]) -> None:
    """Make one optimiser step, as the module does."""
    pairs = sum(map(len, batches))
    for batch in batches:
        there = batch.to(device())
        logps = there.sums(side.logps(there))
        loss = DPOLoss(beta=BETA)(logps, there.reference_logps()).per_pair.sum() / pairs
        loss.backward()
    torch.nn.utils.clip_grad_norm_(side.trained, MAX_GRAD_NORM)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _memory(peak: bool = False) -> int:
    """Allocated bytes on the GPU; 0 without one."""
    if not torch.cuda.is_available():
        return 0
    return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
