"""Measures of answers to held-out questions, compared with the teacher's, without a judge."""

from collections.abc import Callable, Sequence

import numpy as np

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.responses import parse_response
from preflexor_pl.evaluation.intervals import Estimate, mean, rate
from preflexor_pl.evaluation.text_metrics import (
    distinct,
    has_form,
    nearest_is_own,
    partners_of,
    repeated_ngrams,
)
from preflexor_pl.pairs.correctness import token_f1
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.policy.language_model import LanguageModel, Role
from preflexor_pl.policy.scoring import mean_logps
from preflexor_pl.reasoning.trace import Step

PARTNERS = 3  # other questions' chosen responses that one is compared with
Embed = Callable[[Sequence[str]], np.ndarray]


def measure(
    questions: Sequence[str],
    answers: Sequence[str],
    taught: Sequence[str],
    responses: Sequence[Sequence[Step]],
    tokens: Sequence[int],
    embed: Embed,
    seed: int,
) -> dict[str, Estimate]:
    """Measures over N answers.

    Args:
        questions: N, without trigger.
        answers: N final answers, without thinking; "" where there was none.
        taught: N answers of the teacher, which had the source text.
        responses: N lists of the steps that made each answer; empty where it is an earlier stage's.
        tokens: N numbers of tokens generated for each answer, with its thinking.
        embed: texts -> [N, D] vectors of length 1.
        seed: of partners and bootstraps.

    Returns:
        ``answered``, ``finished_for_it`` (a second call asked for the answer), ``looped``,
        ``on_topic``, ``distinct``, ``repetition`` (of the whole response, as in the evaluation of a
        round), ``similarity`` (cosine to the teacher's answer), ``f1`` (SQuAD's F1 of words
        with it), ``words``, ``tokens``.
    """
    given = [bool(answer.strip()) for answer in answers]
    vectors = embed([answer if answer.strip() else "-" for answer in answers])
    similar = np.where(given, (vectors * embed(taught)).sum(1), 0.0)
    overlap = [token_f1(answer, right) for answer, right in zip(answers, taught, strict=True)]
    share = distinct(answers)
    texts = [steps[0].loop or steps[0].text for steps in responses if steps]
    return {
        "answered": rate(given),
        "finished_for_it": rate([len(steps) > 1 for steps in responses if steps]),
        "looped": rate([any(step.loop for step in steps) for steps in responses if steps]),
        "on_topic": rate(nearest_is_own(vectors, embed(questions), given)),
        "distinct": Estimate(share, share, share, len(answers)),
        "repetition": mean([repeated_ngrams(text) for text in texts], seed),
        "similarity": mean([float(value) for value in similar], seed),
        "f1": mean(overlap, seed),
        "words": mean([float(len(answer.split())) for answer in answers], seed),
        "tokens": mean([float(count) for count in tokens], seed),
    }


def form_rate(
    model: LanguageModel, texts: Sequence[str], finished: Sequence[bool], reflection: bool
) -> Estimate:
    """The share of first responses in the trained form."""
    markers = model.strings
    thinking = [parse_response(text, markers).thinking or "" for text in texts]
    forms = zip(texts, (len(encode(model.tokenizer, t)) for t in thinking), finished, strict=True)
    return rate([has_form(text, n, ended, reflection, markers) for text, n, ended in forms])


def likelihoods(
    model: LanguageModel,
    pairs: Sequence[PreferencePair],
    system_prompt: str | None,
    seed: int,
    role: Role = "policy",
) -> dict[str, Estimate]:
    """Mean log-probs a token of the teacher's texts under a model.

    Args:
        model: to measure.
        pairs: held-out pairs, written with the model's own markers.
        system_prompt: of the model.
        seed: of partners and bootstrap.
        role: whether the policy or its base is measured.

    Returns:
        ``teacher_logp``: of the teacher's answer alone to the bare question, nats a token;
        ``prefers_chosen``: the whole chosen response is likelier than the rejected one, asked with
        the trigger; ``margin_matched``: its log-prob less the mean over ``PARTNERS`` other
        questions' chosen responses, nats a token; ``prefers_matched``: how many of them it beats.
    """
    tokenizer, markers = model.tokenizer, model.strings
    bare = [chat_ids(tokenizer, markers.question(p.prompt), system_prompt) for p in pairs]
    triggered = [chat_ids(tokenizer, pair.prompt, system_prompt) for pair in pairs]
    chosen = [encode(tokenizer, pair.chosen) for pair in pairs]
    taught_texts = [parse_response(pair.chosen, markers).answer for pair in pairs]
    answers = [encode(tokenizer, text or ".") for text in taught_texts]
    rejected = [encode(tokenizer, pair.rejected or ".") for pair in pairs]
    partners = partners_of(len(pairs), seed, PARTNERS)
    rows = [
        *zip(bare, answers, strict=True),
        *zip(triggered, chosen, strict=True),
        *zip(triggered, rejected, strict=True),
        *((triggered[i], chosen[other]) for others in partners for i, other in enumerate(others)),
    ]
    n, means = len(pairs), mean_logps(model, rows, role)
    taught, good, bad, *other = (means[i : i + n] for i in range(0, len(means), n))
    own = list(zip(good, *other, strict=True))  # its own, then those of the partners
    return {
        "teacher_logp": mean(taught, seed),
        "prefers_chosen": rate([a > b for a, b in zip(good, bad, strict=True)]),
        "prefers_matched": mean([float(np.mean([a > b for b in them])) for a, *them in own], seed),
        "margin_matched": mean([a - float(np.mean(them)) for a, *them in own], seed),
    }
