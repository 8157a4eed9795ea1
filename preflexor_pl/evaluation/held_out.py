"""Measures of the policy on the held-out questions: form, answers and preferences.

They are deterministic: greedy answers, and the same questions and rejected answers each round.
Every measure has a value for each question, so that two evaluations can be paired.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from losses import PairLogps, PreferenceLoss
from losses.metrics import per_pair
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.steps import micro_batches
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.chat import encode
from preflexor_pl.core.generator import Completion, Request, by_batch
from preflexor_pl.core.progress import stage
from preflexor_pl.core.responses import ParsedResponse, parse_response
from preflexor_pl.core.settings import Sampling
from preflexor_pl.evaluation.answers import PARTNERS
from preflexor_pl.evaluation.text_metrics import (
    has_form,
    nearest_is_own,
    partners_of,
    repeated_ngrams,
)
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.policy.policy import Policy

UNASKED_TOKENS = 96  # enough for most thinking sections to close
DRAW = (-1, 0)  # (round, epoch) of the masks: the same at every evaluation


@dataclass(frozen=True)
class AnsweredPrompt:
    """A prompt with the policy's answer to it."""

    question: str
    completion: Completion
    parsed: ParsedResponse


def answer_questions(
    policy: LanguageModel,
    prompts: Sequence[str],
    system_prompt: str | None,
    limit: int,
    batch_size: int,
) -> list[AnsweredPrompt]:
    """Greedy responses to ``prompts``, of at most ``limit`` tokens each."""
    generator = LocalGenerator(policy, role="policy", batch_size=batch_size)
    sampling = Sampling(max_new_tokens=limit, temperature=0)
    requests = [Request(prompt, system_prompt, sampling) for prompt in prompts]
    completions: dict[int, Completion] = {}
    with stage("answering questions", len(requests)) as progress:
        for done in by_batch(generator, requests):
            completions |= done
            progress.advance(len(done))
    in_order = [completions[i] for i in range(len(prompts))]
    return [
        AnsweredPrompt(prompt, completion, parse_response(completion.text, policy.strings))
        for prompt, completion in zip(prompts, in_order, strict=True)
    ]


def thinks_unasked(
    policy: LanguageModel, questions: Sequence[str], system_prompt: str | None, batch_size: int
) -> list[bool]:
    """Whether the policy writes a thinking marker for questions that do not ask for one.

    A closing marker alone counts: without the trigger, a policy in training often thinks without
    the opening one.

    Args:
        policy: the model, as it is now.
        questions: [N] without their trigger.
        system_prompt: as in training.
        batch_size: texts generated together.
    """
    answers = answer_questions(policy, questions, system_prompt, UNASKED_TOKENS, batch_size)
    texts = [answer.completion.text for answer in answers]
    markers = policy.strings
    return [markers.think_start in text or markers.think_end in text for text in texts]


def forms(
    policy: Policy,
    responses: Sequence[AnsweredPrompt],
    questions: Sequence[str],
    embed: Callable[[Sequence[str]], np.ndarray],
    reflection: bool = False,
) -> dict[str, list[float]]:
    """Measures of greedy responses.

    Args:
        policy: its tokenizer counts the thinking tokens.
        responses: N responses.
        questions: [N] the questions without their trigger.
        embed: texts -> [N, D] vectors.
        reflection: whether the form has a reflection section.

    Returns:
        ``format_rate``, ``on_topic``, ``repetition``: [N] values each, those of rates 0 or 1.
    """
    answers = [item.parsed.answer or "" for item in responses]
    formed = [
        has_form(
            item.completion.text,
            len(encode(policy.tokenizer, item.parsed.thinking or "")),
            item.completion.finish_reason == "stop",
            reflection,
            policy.strings,
        )
        for item in responses
    ]
    given = [bool(answer.strip()) for answer in answers]
    near = nearest_is_own(embed([answer or "-" for answer in answers]), embed(questions), given)
    return {
        "format_rate": list(map(float, formed)),
        "on_topic": list(map(float, near)),
        "repetition": [repeated_ngrams(item.completion.text) for item in responses],
    }


@torch.no_grad()
def preferences(
    policy: Policy,
    loss: PreferenceLoss,
    collator: PairCollator,
    pairs: Sequence[TokenizedPair],
    token_budget: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Loss and rewards on the held-out pairs, and on mismatched ones.

    ``margin_mismatched`` is the mean log-prob of a token of the chosen response less that of other
    questions' chosen responses, on average over ``PARTNERS`` of them; ``accuracy_mismatched`` is
    the share of these that it exceeds. Both sides have the trained form, so only their content
    differs. Whole responses count, whatever the loss and its mask, so that phases can be compared.

    Args:
        policy: in any mode; it has no dropout.
        loss: the training loss.
        collator: of the run.
        pairs: held-out pairs with the rejected answers of round 0, and with the reference's
            log-probs where the loss needs them.
        token_budget: tokens in one forward pass.
        seed: of the mismatched partners.

    Returns:
        Value by measure, by the pair's id.
    """
    measured: dict[str, dict[str, float]] = {}
    for group, logps, reference in _batches(policy, collator, pairs, token_budget):
        values = per_pair([(logps, loss(logps, reference))])
        for name, row in values.items():
            for pair, value in zip(group, row.tolist(), strict=True):
                measured.setdefault(pair.id, {})[name] = value
    for pair_id, (own, *others) in _crossed(policy, collator, pairs, token_budget, seed).items():
        measured[pair_id] |= {
            "accuracy_mismatched": float(np.mean([own > other for other in others])),
            "margin_mismatched": own - float(np.mean(others)),
        }
    return measured


def _crossed(
    policy: Policy,
    collator: PairCollator,
    pairs: Sequence[TokenizedPair],
    token_budget: int,
    seed: int,
) -> dict[str, list[float]]:
    """Mean log-probs, by pair: of its own chosen response, then of other questions' in its place.

    Two responses go through the model at a time, in the two places of a pair.
    """
    partners = partners_of(len(pairs), seed, PARTNERS)
    crossed = []
    for place, pair in enumerate(pairs):
        sides = [pair.chosen, *(pairs[other[place]].chosen for other in partners)]
        sides += sides[: len(sides) % 2]
        crossed += [
            replace(pair, id=f"{pair.id}/{i}", chosen=a, rejected=b, reference=None)
            for i, (a, b) in enumerate(zip(sides[::2], sides[1::2], strict=True))
        ]
    means: dict[str, tuple[float, float]] = {}
    for group, logps, _ in _batches(policy, collator.unmasked(), crossed, token_budget):
        first = (logps.chosen / logps.chosen_len).tolist()
        second = (logps.rejected / logps.rejected_len).tolist()
        means |= zip([pair.id for pair in group], zip(first, second, strict=True), strict=True)
    count = 1 + len(partners)
    return {pair.id: [means[f"{pair.id}/{i // 2}"][i % 2] for i in range(count)] for pair in pairs}


def _batches(
    policy: Policy, collator: PairCollator, pairs: Sequence[TokenizedPair], token_budget: int
) -> Iterator[tuple[list[TokenizedPair], PairLogps, PairLogps | None]]:
    """Micro-batches with their log-probs under the policy and under the reference."""
    for group in micro_batches(pairs, token_budget, collator.packed):
        batch = collator(group, DRAW).to(policy.device)
        yield group, policy.logps(batch), batch.reference_logps()
