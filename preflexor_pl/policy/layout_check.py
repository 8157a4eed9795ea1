"""Checks which batch layout a model supports, by comparing log-probs with the plain layout."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from preflexor_pl.batches.collate import Batching, PairCollator
from preflexor_pl.batches.packing import FlatBatch
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.progress import log_line
from preflexor_pl.policy.forward import flat_logps
from preflexor_pl.policy.lora_targets import tracked
from preflexor_pl.policy.model_errors import FOREIGN, UnsupportedLayout, in_one_line, place_of
from preflexor_pl.policy.policy import Policy

LENGTHS = ((24, 9, 5), (19, 4, 8))  # of prompt, chosen and rejected response
# Largest difference of a token's log-prob, as a share of the largest log-prob: about 150 roundings
# of float32, 5 of bfloat16. (Real models at log-probs near -20 differ by 1.2e-4 nats in float32.)
EXACT, ROUNDED = 2e-5, 0.02
TIMES_NOISE = 4  # added: this many times the difference of the plain layout by batch size
NEXT: dict[Batching, Batching] = {"packed": "padded", "padded": "plain"}


@torch.no_grad()
def choose_batching(policy: Policy, collator: PairCollator) -> Batching:
    """The layout of ``collator``, or the next one that gives the log-probs of the plain layout.

    Errors here would be silent: attention across the edge of a pair, a recurrent state that passes
    from one response to the next, a head that is more than a matrix. So each layout is tried on
    made-up pairs. One that fails is replaced by the next, which is announced.

    Args:
        policy: in train or eval mode.
        collator: of the run; its mask does not matter.

    Raises:
        ConfigError: the model cannot be run in the plain layout either.
    """
    batching = collator.batching
    if batching == "plain":
        return batching
    pairs, beyond_doubt = _made_up(policy), collator.relaid("plain")
    with in_one_line(f"{policy.source.name} cannot be trained"):
        plain = _logps(policy, beyond_doubt, pairs)
        alone = [logps for pair in pairs for logps in _logps(policy, beyond_doubt, [pair])]
    while batching != "plain":
        reason = _refusal(policy, collator.relaid(batching), pairs, plain, alone)
        if not reason:
            break
        name = policy.source.name
        log_line(
            f"data.batching: {name} does not support {batching} ({reason}): "
            f"{NEXT[batching]} is used"
        )
        batching = NEXT[batching]
    return batching


def _refusal(
    policy: Policy,
    collator: PairCollator,
    pairs: list[TokenizedPair],
    plain: list[Tensor],
    alone: list[Tensor],
) -> str:
    """Why a layout is refused; "" if it is not."""
    try:
        ours = _logps(policy, collator, pairs)
        stray = _depends_on_others(policy, collator, pairs)
    except torch.OutOfMemoryError:
        raise
    except UnsupportedLayout as reason:
        return str(reason)
    except FOREIGN as error:
        return f"the model's own code is not written for it: {place_of(error)}"
    if stray:
        return "a response depends on tokens of others"
    worst = _apart(ours, plain)
    exact = policy.inner.dtype == torch.float32 and not policy.settings.quantization
    largest = max(float(logps.abs().max()) for logps in plain)
    bound = (EXACT if exact else ROUNDED) * largest + TIMES_NOISE * _apart(alone, plain)
    return "" if worst <= bound else f"a token's log-prob is {worst:.2g} nats off"


def _depends_on_others(policy: Policy, collator: PairCollator, pairs: list[TokenizedPair]) -> bool:
    """Whether the last response of a packed row depends on tokens outside its own text.

    The gradient by a token that is not seen is exactly zero, in any dtype.
    """
    batch = collator.unmasked()(pairs, (0, 0)).to(policy.device)
    if not isinstance(batch, FlatBatch) or batch.rows.spans is None:
        return False
    embedded: list[Tensor] = []

    def hook(module: Any, inputs: Any, output: Tensor) -> Tensor:
        embedded.append(tracked(module, inputs, output))
        return embedded[-1]

    table = policy.inner.get_input_embeddings()
    hooks = [
        m.register_forward_hook(hook) for m in {table, getattr(table, "original_module", table)}
    ]
    try:
        with torch.enable_grad():
            _, last = batch.by_response(flat_logps(policy.inner, batch))[-1]
            (gradient,) = torch.autograd.grad(last.sum(), embedded[-1])  # [1, T, H]
    finally:
        for each in hooks:
            each.remove()
    seen = gradient[0].ne(0).any(-1)  # [T]
    pair = batch.rows.spans.pairs[-1]
    fork = pair.start + pair.prompt
    return bool(seen[: pair.start].any() or seen[fork : fork + pair.chosen].any())


def _logps(policy: Policy, collator: PairCollator, pairs: list[TokenizedPair]) -> list[Tensor]:
    batch = collator.unmasked()(pairs, (0, 0)).to(policy.device)
    if isinstance(batch, FlatBatch):
        found = batch.by_response(flat_logps(policy.inner, batch, checked=True))
    else:
        found = batch.by_response(policy.token_logps(batch))
    return [logps for pair in found for logps in pair]


def _apart(some: list[Tensor], others: list[Tensor]) -> float:
    pairs = zip(some, others, strict=True)
    return float(torch.stack([(a - b).abs().max() for a, b in pairs]).max())  # NaN stays NaN


def _made_up(policy: Policy) -> list[TokenizedPair]:
    ids = _spread(policy.inner.get_input_embeddings().weight.shape[0])
    pairs = []
    for number, lengths in enumerate(LENGTHS):
        prompt, chosen, rejected = ([next(ids) for _ in range(length)] for length in lengths)
        pairs.append(TokenizedPair(str(number), prompt, chosen, rejected))
    return pairs


def _spread(size: int) -> Iterator[int]:
    """Ids spread over the vocabulary."""
    number = 1
    while True:
        yield number % size
        number = number * 31 % 65_521  # a prime
