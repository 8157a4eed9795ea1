"""Making a round in batches, compared with one call at a time.

``python -m benchmarks.rounds.batching``, about 8 minutes on two CPU cores.

- rounds: a round of pairs as ``fit`` makes it, over the sample corpus with the packaged model as
  teacher and policy. The time is that of the whole round, with journal, graph and adapter file.
- generate: the requests of that round, one after the other, by transformers' ``model.generate``
  with its cache, on the same weights without adapters. The time is that of the calls alone.
- batches of one: the same requests by this project's own generator, one in a batch.

All texts are greedy and in float32, second tries included, so they must be equal: there is no
result if fewer than 95 % are. Left padding changes the rounding, so a near tie may go either way.
The order is rounds, generate, generate, rounds, so a machine that becomes slower favours neither.

Writes ``results/making_rounds.json``.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
)

from benchmarks.report.record import RESULTS, save, setting, spread
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.progress import stage
from preflexor_pl.core.settings import PolicySettings, Sampling
from preflexor_pl.core.teacher_settings import TeacherSettings, ThinkingSettings
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel, load_language_model
from preflexor_pl.policy.policy import Policy
from preflexor_pl.rounds.rounds import Rounds

MIN_EQUAL, TARGET = 0.95, 2.5  # smallest share of equal texts; smallest ratio
BATCH = 48  # as in configs/orpo.yaml, and so are the limits below
TEXT = Sampling(max_new_tokens=96, temperature=0, repetition_penalty=1.15)
THINKING = replace(TEXT, max_new_tokens=64)
QUESTION = Sampling(max_new_tokens=48, temperature=0)
REJECTED = Sampling(max_new_tokens=96, min_new_tokens=16, temperature=0)


@dataclass(frozen=True)
class Generated:
    """One text of a round: whether the policy wrote it, the request, and the completion."""

    by_policy: bool
    request: Request
    completion: Completion


@dataclass
class Recorder:
    """Passes requests on as greedy ones and records each text in ``texts``."""

    source: LocalGenerator
    texts: list[Generated] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the source."""
        return self.source.name

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """The batches of the source."""
        return self.source.batches(requests)

    def complete(self, requests: Sequence[Request], watch: Any = None) -> list[Completion]:
        """Completions of the source."""
        greedy = [replace(r, sampling=replace(r.sampling, temperature=0)) for r in requests]
        made = self.source.complete(greedy, watch)
        triples = zip(greedy, made, strict=True)
        self.texts += [
            Generated(self.source.role == "policy", r, completion) for r, completion in triples
        ]
        return made


class _Stops(StoppingCriteria):
    """Ends a text at a stop string; faster for one row than transformers' ``stop_strings``."""

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str], begin: int) -> None:
        self.decode, self.stop, self.begin = decode, stop, begin

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        text = self.decode(input_ids[0, self.begin :].tolist())
        return torch.tensor([any(stop in text for stop in self.stop)])


def generate(model: LanguageModel, by_policy: bool, request: Request) -> str:
    """One text by ``model.generate``."""
    prompt = chat_ids(model.tokenizer, request.prompt, request.system, request.examples)
    ids = torch.tensor([prompt])
    sampling = request.sampling
    config = GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        min_new_tokens=sampling.min_new_tokens or None,
        do_sample=False,
        use_cache=True,
        eos_token_id=sorted(model.stop_ids),
        pad_token_id=model.pad_id,
        suppress_tokens=None if by_policy else model.marker_ids,
    )
    penalty = RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty, len(prompt))
    stops = _Stops(model.decode, request.stop, len(prompt))
    made = model.inner.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        logits_processor=[penalty] if sampling.repetition_penalty != 1 else [],
        stopping_criteria=StoppingCriteriaList([stops] if request.stop else []),
    )
    text = model.decode([i for i in made[0, len(prompt) :].tolist() if i not in model.stop_ids])
    for stop in request.stop:
        text = text.split(stop, 1)[0]
    return text


def alone(model: LanguageModel, by_policy: bool, request: Request) -> str:
    """One text by this project's own generator."""
    generator = LocalGenerator(model, "policy" if by_policy else "base", batch_size=1)
    [made] = generator.complete([request])
    return made.text


def prepare(run: Path, pairs: int) -> Rounds:
    """The rounds of a run whose texts are all greedy."""
    data = PreferenceDataModule(
        "corpus",
        str(run),
        chunk_tokens=96,
        chunk_overlap=12,
        topics=3 * pairs,
        pairs_per_round=pairs,
        generation_batch_size=BATCH,
        rejected_sampling=REJECTED,
        system_prompt="You are a helpful materials scientist.",
        teacher=TeacherSettings(question=QUESTION, answer=TEXT, critique=TEXT),
        thinking=ThinkingSettings(sampling=THINKING),
    )
    return data.rounds_of(Policy(PolicySettings(dtype="float32")))


def in_rounds(rounds: Rounds, pairs: int) -> tuple[float, list[Generated]]:
    """Seconds to make one round from the start, and its texts."""
    shutil.rmtree(rounds.folder(0), ignore_errors=True)
    texts: list[Generated] = []
    rounds.teacher, rounds.writer = (
        Recorder(getattr(generator, "source", generator), texts)
        for generator in (rounds.teacher, rounds.writer)
    )
    started = time.monotonic()
    rounds.make(0, pairs, 0)
    return time.monotonic() - started, texts


def one_by_one(
    how: Callable[[LanguageModel, bool, Request], str],
    model: LanguageModel,
    texts: list[Generated],
    title: str,
) -> tuple[float, float]:
    """Seconds to make ``texts`` one after the other, and the share that is equal."""
    same, started = 0, time.monotonic()
    with stage(title, len(texts)) as progress, torch.inference_mode():
        for text in texts:
            made = how(model, text.by_policy, text.request)
            same += made == text.completion.text
            progress.advance(1, different=progress.done + 1 - same)
    return time.monotonic() - started, same / len(texts)


def compare(
    rounds: Rounds, model: LanguageModel, pairs: int, repeats: int
) -> tuple[list[dict[str, Any]], list[Generated]]:
    """Times in the order rounds, generate, generate, rounds, and the texts of a round."""
    made: list[dict[str, Any]] = []
    for _ in range(repeats):
        first, texts = in_rounds(rounds, pairs)
        others = [one_by_one(generate, model, texts, "generate") for _ in range(2)]
        second, again = in_rounds(rounds, pairs)
        if again != texts:
            raise RuntimeError("two greedy rounds of one model differ")
        for ours, (theirs, same) in zip((first, second), others, strict=True):
            seconds = {"rounds": round(ours, 2), "generate": round(theirs, 2)}
            made.append({"seconds": seconds, "ratio": round(theirs / ours, 3), "same texts": same})
            print(made[-1], flush=True)
    return made, texts


def main() -> None:
    """Measure, check the texts, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1, help="of all four measurements")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as name:
        rounds = prepare(Path(name), options.pairs)
        model = load_language_model(PolicySettings().model_name, "model", "float32")
        warm = Request("Why is silk tough?", sampling=Sampling(max_new_tokens=8, temperature=0))
        for how in (generate, alone):
            how(model, True, warm)
        rounds.library.search(warm.prompt, 1)
        measured, texts = compare(rounds, model, options.pairs, options.repeats)
        own, same = one_by_one(alone, model, texts, "batches of one")
    equal = min(one["same texts"] for one in measured)
    seconds = median(one["seconds"]["rounds"] for one in measured)
    if equal < MIN_EQUAL:
        raise SystemExit(f"error: only {equal:.0%} of the texts are equal: no ratio counts")
    result = setting("torch", "transformers", "peft") | {
        "pairs": options.pairs,
        "texts": len(texts),
        "tokens": sum(text.completion.tokens for text in texts),
        "target": TARGET,
        "generate / rounds": spread([one["ratio"] for one in measured]),
        "same texts": equal,
        "repeats": measured,
        "batches of one": {
            "seconds": round(own, 2),
            "ratio": round(own / seconds, 3),
            "same texts": same,
        },
    }
    save("making_rounds", result, options.out)
    print({key: result[key] for key in ("generate / rounds", "same texts", "batches of one")})


if __name__ == "__main__":
    main()
