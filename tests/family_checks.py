"""What is checked of a family of models, by its name in ``tests.families``; "" where it holds."""

from typing import Any

import torch

from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel

QUESTIONS = ["Why?", "How does silk bend?", "What is bone?", "Where do geckos hold on to walls?"]


def decodes_as_generate(model: LanguageModel, new_tokens: int = 24) -> str:
    """Whether greedy texts are those of ``generate``, alone and in batches.

    Prompts are longer than a window, with and without a beginning that is read once; rows leave the
    batch at different lengths.

    Where a cache of the model's own makes ``generate`` give other texts than the whole sequence
    does, they are those of ``generate`` without it.

    Returns:
        What differs, or "".
    """
    found = _differs(model, new_tokens, use_cache=True)
    return found and _differs(model, new_tokens, use_cache=False)


def _differs(model: LanguageModel, new_tokens: int, use_cache: bool) -> str:
    asked = [
        Request(question, "Be brief.", Sampling(max_new_tokens=new_tokens - 5 * row, temperature=0))
        for row, question in enumerate(QUESTIONS)
    ]
    apart = [
        Request(question * 4, f"{row} is it.", Sampling(max_new_tokens=8, temperature=0))
        for row, question in enumerate(QUESTIONS)
    ]
    generator = LocalGenerator(model, "policy")
    for name, requests in (("shared beginning", asked), ("no shared beginning", apart)):
        expected = [_generated(model, request, use_cache) for request in requests]
        if _told(generator.complete(requests)) != expected:
            return f"a batch with {name} is not generate's"
        alone = [generator.complete([request])[0] for request in requests[:2]]
        if _told(alone) != expected[:2]:
            return "a text alone is not generate's"
    return ""


def _generated(model: LanguageModel, request: Request, use_cache: bool) -> tuple[str, int]:
    ids = chat_ids(model.tokenizer, request.prompt, request.system)
    with torch.inference_mode():
        made = model.inner.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            use_cache=use_cache,
            max_new_tokens=request.sampling.max_new_tokens,
            eos_token_id=sorted(model.stop_ids),
            pad_token_id=model.pad_id,
            forced_eos_token_id=None,
        )[0, len(ids) :].tolist()
    drawn = [token for token in made if token not in model.stop_ids]
    return model.decode(drawn), len(drawn)


def _told(completions: list[Completion]) -> list[tuple[Any, ...]]:
    return [(made.text, made.tokens) for made in completions]
