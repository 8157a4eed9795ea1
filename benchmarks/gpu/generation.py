"""Generation on a card: our static batches, transformers one at a time, its continuous batches.

Greedy, with a fixed number of tokens in each text, so that tokens per second compare. Ours is the
generator of a run on a policy with adapters, and the time to merge them counts; transformers'
``generate`` has the same weights without adapters. First both must draw the same tokens in float32:
with random weights in bfloat16, the two likeliest tokens are too often nearly tied.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from benchmarks.gpu.job import Job, seconds
from benchmarks.report.record import in_turn, read, spread
from benchmarks.training.layouts import RANK
from benchmarks.training.protocol import device
from benchmarks.training.workloads import SIGMA
from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.generator import Request, by_batch
from preflexor_pl.core.settings import LoRASettings, PolicySettings, Sampling
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel, load_language_model
from preflexor_pl.policy.policy import Policy

LETTERS = 96  # median length of a prompt; a letter is a token
PAGE = 256  # tokens in a page of the cache of continuous batches
COMPARED, MIN_EQUAL = 4, 0.75  # texts; smallest share of equal ones, as near ties may differ

Result = dict[str, Any]


def measure(job: Job) -> None:
    """Check that the tokens are the same, then measure tokens per second of each way."""
    sizes = job.sizes
    wanted = requests(sizes.texts, sizes.new_tokens)
    equal = same_tokens(job, wanted[:COMPARED])
    job.keep("generation", "same tokens in float32", equal)
    if equal < MIN_EQUAL:
        raise SystemExit("error: batches draw other tokens than one text at a time")
    settings = PolicySettings(job.model, "bfloat16", lora=LoRASettings(RANK, 2 * RANK))
    policy = Policy(settings).to(device())
    plain = load_language_model(job.model, "--config", "bfloat16").to(device())

    def ours(size: int) -> float:
        return rate(lambda: batched(policy, wanted, size), len(wanted) * sizes.new_tokens)

    def alone() -> float:
        some = wanted[: sizes.alone]
        return rate(lambda: one_by_one(plain, some), len(some) * sizes.new_tokens)

    batched(policy, wanted[:2], 2)
    one_by_one(plain, wanted[:1])
    by_size = {size: ours(size) for size in sizes.batch_sizes}
    best = max(by_size, key=lambda size: by_size[size])
    job.keep("generation", "tokens/s by our batch size", by_size)
    compared: list[tuple[float, float]] = []
    ways: dict[str, Callable[[], float]] = {"ours": lambda: ours(best), "alone": alone}
    for repeat in job.repeats():
        made = {name: ways[name]() for name in in_turn(tuple(ways), repeat)}
        compared.append((made["ours"], made["alone"]))
        job.keep("generation", "texts", table(compared, best))


def table(compared: Sequence[tuple[float, float]], size: int) -> Result:
    """Tokens per second of both ways, and their ratio."""
    return {
        "batches / one at a time": spread([ours / alone for ours, alone in compared]),
        "our tokens/s": spread([ours for ours, _ in compared]),
        "tokens/s one at a time": spread([alone for _, alone in compared]),
        "our batch size": size,
    }


def requests(texts: int, new_tokens: int) -> list[Request]:
    """Prompts of random letters."""
    rng = random.Random("prompts")
    sampling = Sampling(new_tokens, temperature=0, min_new_tokens=new_tokens)
    made = []
    for _ in range(texts):
        letters = max(1, round(LETTERS * rng.lognormvariate(0, SIGMA)))
        prompt = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=letters))
        made.append(Request(prompt, sampling=sampling))
    return made


def rate(work: Callable[[], Any], tokens: int) -> float:
    """Tokens per second."""
    return round(tokens / seconds(work), 1)


def batched(policy: LanguageModel, wanted: Sequence[Request], size: int) -> list[str]:
    """Texts of our generator, in the order of the requests."""
    texts: dict[int, str] = {}
    for batch in by_batch(LocalGenerator(policy, "policy", batch_size=size), wanted):
        for number, made in batch.items():
            if made.tokens != wanted[number].sampling.max_new_tokens:
                raise RuntimeError(f"a text of {made.tokens} tokens")
            texts[number] = made.text
    return [texts[number] for number in range(len(wanted))]


def one_by_one(model: LanguageModel, wanted: Sequence[Request]) -> list[str]:
    """Texts of transformers' ``generate``."""
    texts = []
    for request in wanted:
        ids = torch.tensor([_ids(model, request)], device=device())
        made = model.inner.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=_greedy(model, request)
        )
        texts.append(model.decode(made[0, ids.shape[1] :].tolist()))
    return texts


def _ids(model: LanguageModel, request: Request) -> list[int]:
    return chat_ids(model.tokenizer, request.prompt, request.system, request.examples)


def _greedy(model: LanguageModel, request: Request, **others: Any) -> GenerationConfig:
    options: dict[str, Any] = {
        "max_new_tokens": request.sampling.max_new_tokens,
        "min_new_tokens": request.sampling.max_new_tokens,
        "do_sample": False,
        "eos_token_id": sorted(model.stop_ids),
        "pad_token_id": model.pad_id,
    }
    return GenerationConfig(**(options | others))


def same_tokens(job: Job, wanted: Sequence[Request]) -> float:
    """Share of texts that are equal in a batch and alone, in float32."""
    model = load_language_model(job.model, "--config", "float32").to(device())
    pairs = zip(batched(model, wanted, len(wanted)), one_by_one(model, wanted), strict=True)
    return sum(ours == theirs for ours, theirs in pairs) / len(wanted)


def measure_continuous(job: Job) -> None:
    """Measure transformers' ``generate_batch``, which may return fewer texts than requested."""
    wanted = requests(job.sizes.texts, job.sizes.new_tokens)
    plain = load_language_model(job.model, "--config", "bfloat16").to(device())
    prompts = [_ids(plain, request) for request in wanted]
    blocks = sum(len(prompt) + job.sizes.new_tokens + PAGE for prompt in prompts) // PAGE
    # No token ends a text, because generate_batch has no minimum length.
    config = _greedy(plain, wanted[0], min_new_tokens=None, eos_token_id=-1)
    cache = ContinuousBatchingConfig(page_size=PAGE, num_blocks=blocks)
    made: dict[str, Any] = {}

    def work() -> None:
        made.clear()
        made.update(
            plain.inner.generate_batch(
                inputs=prompts,
                generation_config=config,
                continuous_batching_config=cache,
                persistent_manager=True,  # the second call reuses what the first one captured
            )
        )

    took = [seconds(work), seconds(work)]
    drawn = sum(len(one.generated_tokens) for one in made.values())
    job.keep("continuous", "seconds with preparing, and without", took)
    if drawn != len(wanted) * job.sizes.new_tokens:
        raise SystemExit(f"error: {drawn} tokens instead of {len(wanted) * job.sizes.new_tokens}")
    job.keep("continuous", "tokens/s", round(drawn / took[-1], 1))
    ours = read(Path(job.results)).get("generation", {}).get("texts")
    if ours:
        ratio = drawn / took[-1] / ours["our tokens/s"]["median"]
        job.keep("continuous", "continuous / our batches", round(ratio, 3))
