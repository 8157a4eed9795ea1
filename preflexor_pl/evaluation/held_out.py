"""What the policy does on the held-out questions: its form, its answers, its preferences.

Deterministic measures only: greedy answers, the same questions and the same rejected answers each
round.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torchmetrics import MeanMetric

from losses import PairLogps, PreferenceLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.steps import micro_batches
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.chat import encode
from preflexor_pl.core.progress import stage
from preflexor_pl.core.responses import ParsedResponse, parse_response
from preflexor_pl.core.settings import Sampling
from preflexor_pl.evaluation.per_pair import per_pair
from preflexor_pl.evaluation.text_metrics import (
    distinct,
    has_form,
    mismatched_partners,
    on_topic,
    repeated_ngrams,
)
from preflexor_pl.pairs.generator import Completion, Request, by_batch
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.policy import Policy

DRAW = (-1, 0)  # (round, epoch) of the masks: the same at every evaluation


@dataclass(frozen=True)
class Answered:
    """One held-out question and what the policy answered."""

    question: str
    completion: Completion
    parsed: ParsedResponse


def answer_questions(
    policy: Policy,
    prompts: Sequence[str],
    system_prompt: str | None,
    limit: int,
    batch_size: int,
) -> list[Answered]:
    """Greedy responses to ``prompts``, of at most ``limit`` tokens each."""
    generator = LocalGenerator(policy, adapters=True, batch_size=batch_size)
    sampling = Sampling(max_new_tokens=limit, temperature=0)
    requests = [Request(prompt, system_prompt, sampling) for prompt in prompts]
    made: dict[int, Completion] = {}
    with stage("answering held-out questions", len(requests)) as progress:
        for done in by_batch(generator, requests):
            made |= done
            progress.advance(len(done))
    return [Answered(p, made[i], parse_response(made[i].text)) for i, p in enumerate(prompts)]


def judge_form(
    policy: Policy,
    answered: Sequence[Answered],
    questions: Sequence[str],
    embed: Callable[[Sequence[str]], np.ndarray],
    seed: int,
    reflection: bool = False,
) -> dict[str, float]:
    """Rates over greedy responses.

    Args:
        policy: whose tokenizer counts the thinking tokens.
        answered: N responses.
        questions: [N] the questions without their trigger.
        embed: texts -> [N, D] vectors.
        seed: of the random other question that an answer must not be nearer to.
        reflection: whether the form has a reflection section.

    Returns:
        ``format_rate``, ``distinct``, ``on_topic``, ``repetition``.
    """
    answers = [item.parsed.answer or "" for item in answered]
    forms = [
        has_form(
            item.completion.text,
            len(encode(policy.tokenizer, item.parsed.thinking or "")),
            item.completion.finish_reason == "stop",
            reflection,
        )
        for item in answered
    ]
    given = np.array([bool(answer.strip()) for answer in answers])
    near = on_topic(embed([answer or "-" for answer in answers]), embed(questions), seed, given)
    return {
        "format_rate": float(np.mean(forms)),
        "distinct": distinct(answers),
        "on_topic": near,
        "repetition": float(np.mean([repeated_ngrams(item.completion.text) for item in answered])),
    }


@torch.no_grad()
def preferences(
    policy: Policy,
    loss: PreferenceLoss,
    collator: PairCollator,
    pairs: Sequence[TokenizedPair],
    token_budget: int,
    seed: int,
) -> dict[str, float]:
    """Loss and rewards on the held-out pairs, and on mismatched ones.

    ``accuracy_mismatched`` sets the chosen response against that of another question: both have the
    form, so only what they say can tell them apart. It compares mean log-probs of whole responses,
    whatever the loss and its mask, so that the phases can be compared.

    Args:
        policy: in any mode; it has no dropout.
        loss: the training loss.
        collator: of the run.
        pairs: held-out pairs, their rejected answers fixed at round 0, with the reference's
            log-probs where the loss needs them.
        token_budget: tokens in one forward pass.
        seed: of who is set against whom.
    """
    partners = mismatched_partners(len(pairs), seed)
    crossed = [
        replace(pair, rejected=pairs[partner].chosen, reference=None)
        for pair, partner in zip(pairs, partners, strict=True)
    ]
    nearer = 0
    for logps, _ in _batches(policy, collator.unmasked(), crossed, token_budget):
        own, other = logps.chosen / logps.chosen_len, logps.rejected / logps.rejected_len
        nearer += int((own > other).sum())
    found = _means(policy, loss, collator, pairs, token_budget)
    return found | {"accuracy_mismatched": nearer / len(pairs)}


def _means(
    policy: Policy,
    loss: PreferenceLoss,
    collator: PairCollator,
    pairs: Sequence[TokenizedPair],
    token_budget: int,
) -> dict[str, float]:
    means: dict[str, MeanMetric] = {}
    for logps, reference in _batches(policy, collator, pairs, token_budget):
        output = loss(logps, reference)
        for name, values in per_pair([(logps, output)]).items():
            means.setdefault(name, MeanMetric().to(policy.device)).update(values)
    return {name: float(mean.compute()) for name, mean in means.items()}


def _batches(
    policy: Policy, collator: PairCollator, pairs: Sequence[TokenizedPair], token_budget: int
) -> Iterator[tuple[PairLogps, PairLogps | None]]:
    """Log-probs under the policy and under the reference, micro-batch by micro-batch."""
    for group in micro_batches(pairs, token_budget, collator.packed):
        batch = collator(group, DRAW).to(policy.device)
        yield policy.logps(batch), batch.reference_logps()
