"""Whether a model can be served by a layout: a few tokens, that way and the plain way."""

from collections.abc import Iterator

import torch
from torch import Tensor

from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy.policy import Policy

LENGTHS = ((6, 9, 5), (3, 4, 8))  # of prompt, chosen and rejected response
EXACT, ROUNDED = 1e-4, 0.25  # most that a token's log-prob may differ, in nats
NEXT = {"packed": "padded", "padded": "plain"}


@torch.no_grad()
def require_batching(policy: Policy, collator: PairCollator) -> None:
    """Refuse a layout that gives other log-probs than the plain one with this model.

    What can go wrong is silent: attention that sees over the edge of a pair, a head that does more
    than a matrix. So it is tried, on made-up pairs.

    Args:
        policy: in any mode.
        collator: of the run; what it masks does not matter.

    Raises:
        ConfigError: says which ``data.batching`` to take instead.
    """
    if collator.batching == "plain":
        return
    key = f"data.batching: {collator.batching} does not serve {policy.source.name}"
    instead = f"use {NEXT[collator.batching]}"
    try:
        ours = _logps(policy, collator.unmasked())
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{key} ({reason}): {instead}") from error
    plain = _logps(policy, collator.unmasked().relaid("plain"))
    worst = max(float((a - b).abs().max()) for a, b in zip(ours, plain, strict=True))
    exact = policy.inner.dtype == torch.float32 and not policy.settings.quantization
    if not worst <= (EXACT if exact else ROUNDED):
        raise ConfigError(f"{key} (a token's log-prob is {worst:.2g} nats off): {instead}")


def _logps(policy: Policy, collator: PairCollator) -> list[Tensor]:
    batch = collator(_made_up(policy), (0, 0)).to(policy.device)
    found = batch.by_response(policy.token_logps(batch))
    return [logps for pair in found for logps in pair]


def _made_up(policy: Policy) -> list[TokenizedPair]:
    ids = _spread(policy.inner.get_input_embeddings().weight.shape[0])
    pairs = []
    for number, lengths in enumerate(LENGTHS):
        prompt, chosen, rejected = ([next(ids) for _ in range(length)] for length in lengths)
        pairs.append(TokenizedPair(str(number), prompt, chosen, rejected))
    return pairs


def _spread(size: int) -> Iterator[int]:
    """Ids all over a table."""
    number = 1
    while True:
        yield number % size
        number = number * 31 % 65_521  # a prime
