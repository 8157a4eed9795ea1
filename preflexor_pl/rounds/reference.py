"""Log-probs of the reference, once a round: per token, so that any redrawn mask can use them.

They are kept beside the round's pairs and belong to one reference and one tokenisation; others
are made anew.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.steps import micro_batches
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.files import replaced
from preflexor_pl.core.progress import stage
from preflexor_pl.policy.policy import Policy

DRAW = (0, 0)  # nothing is masked, so nothing is drawn

ModelInfo = dict[str, tuple[Tensor, Tensor]]


def with_reference(
    policy: Policy,
    collator: PairCollator,
    pairs: Sequence[TokenizedPair],
    token_budget: int,
    path: Path,
    title: str,
) -> list[TokenizedPair]:
    """The pairs with the reference's log-probs, read from ``path`` or computed and kept there.

    Args:
        policy: whose reference it is.
        collator: of the run.
        pairs: of one round.
        token_budget: tokens in one forward pass.
        path: a safetensors file.
        title: of the round, on the screen.
    """
    fingerprint = _fingerprint(policy, pairs)
    known = _read(path, fingerprint)
    if known is None:
        known = _compute(policy, collator.unmasked(), pairs, token_budget, title)
        _write(path, known, fingerprint)
    return [replace(pair, reference=known[pair.id]) for pair in pairs]


def _compute(
    policy: Policy,
    collator: PairCollator,
    pairs: Sequence[TokenizedPair],
    token_budget: int,
    title: str,
) -> ModelInfo:
    known: ModelInfo = {}
    with stage(f"{title} · reference", len(pairs)) as progress:
        for group in micro_batches(pairs, token_budget, collator.packed):
            batch = collator(group, DRAW)
            logps = policy.reference_logps(batch.to(policy.device)).cpu()
            for pair, (chosen, rejected) in zip(group, batch.by_response(logps), strict=True):
                known[pair.id] = chosen.clone(), rejected.clone()
            progress.advance(len(group))
    return known


def _fingerprint(policy: Policy, pairs: Sequence[TokenizedPair]) -> str:
    ids = [(pair.id, pair.prompt, pair.chosen, pair.rejected) for pair in pairs]
    held = [str(policy.inner.dtype), policy.settings.quantization]
    return hashlib.sha256(json.dumps([policy.identity, held, ids]).encode()).hexdigest()


def _read(path: Path, fingerprint: str) -> ModelInfo | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):  # not there, or damaged: it can be made again
        return None
    ids = {name.rsplit("/", 1)[0] for name in tensors}
    return {i: (tensors[f"{i}/chosen"], tensors[f"{i}/rejected"]) for i in ids}


def _write(path: Path, known: ModelInfo, fingerprint: str) -> None:
    from safetensors.torch import save_file

    sides = {"chosen": 0, "rejected": 1}
    tensors = {f"{i}/{side}": pair[n] for i, pair in known.items() for side, n in sides.items()}
    with replaced(path) as part:
        save_file(tensors, part, {"fingerprint": fingerprint})
