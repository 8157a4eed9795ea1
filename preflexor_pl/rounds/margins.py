"""How well a policy tells the pairs apart, by mean log-prob of whole responses."""

from collections.abc import Sequence

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.policy.scoring import mean_logps


def rejected_logps(
    model: LanguageModel, pairs: Sequence[PreferencePair], system_prompt: str | None
) -> list[float]:
    """Mean log-prob of each rejected response's tokens, in nats, after the prompt of training.

    In phase I it was drawn without that prompt's trigger.
    """
    return _logps(model, [(pair.prompt, pair.rejected) for pair in pairs], system_prompt)


def margins(
    model: LanguageModel, pairs: Sequence[PreferencePair], system_prompt: str | None
) -> list[float]:
    """Mean log-prob of each chosen response less that of the rejected one, in nats a token."""
    chosen = _logps(model, [(pair.prompt, pair.chosen) for pair in pairs], system_prompt)
    rejected = rejected_logps(model, pairs, system_prompt)
    return [good - bad for good, bad in zip(chosen, rejected, strict=True)]


def _logps(
    model: LanguageModel, texts: Sequence[tuple[str, str]], system_prompt: str | None
) -> list[float]:
    tokenizer = model.tokenizer
    rows = [
        (chat_ids(tokenizer, prompt, system_prompt), encode(tokenizer, response))
        for prompt, response in texts
    ]
    return mean_logps(model, rows)
