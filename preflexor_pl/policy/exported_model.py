"""A plain transformers model from the adapters of all phases, compared with them when read back.

The base, never in 4 bit, takes the marker rows and the adapters into its weights.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.errors import ConfigError, NumericalError
from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.corpus.seen_documents import TRAINED_FOR
from preflexor_pl.policy import load, merge
from preflexor_pl.policy.finished_model import TrainedModel
from preflexor_pl.policy.model_source import ModelSource
from preflexor_pl.policy.previous_phase import PreviousPhase, read_previous_phase
from preflexor_pl.policy.run_record import at, config_of, trained_for

# Bounds on the difference from the logits of the adapters, both computed in float32. In float32
# merging only reorders sums, so the bound is on the largest difference. In bfloat16 it rounds each
# weight, so the bound is on the norm of the difference over that of the centred logits, in the
# worst text: SmolLM2-135M with two phases had 0.9 %, random models of 2 layers up to 1.7 %, and
# SmolLM2 without its second phase, of 8 steps, 10 %. (Computed in bfloat16: 4 %, too near.)
BOUNDS = {"float32": 1e-3, "bfloat16": 0.05}
QUESTION = "How does nacre resist cracks?"  # of the check, and of the model's card
RESPONSE = (
    "{think_start}\nPlates of mineral slide past each other.\n{think_end}\n"
    "{reflect_start}\nIt should name the protein between them.\n{reflect_end}\nThe plates slide."
)
PLAIN_CHAT = (  # the template of what core.chat renders where a tokenizer has none
    "{{ bos_token or '' }}{% for turn in messages %}{% if turn.role == 'system' %}"
    "{{ turn.content }}\n\n{% elif turn.role == 'user' %}User: {{ turn.content }}\nAssistant:"
    "{% else %} {{ turn.content }}\n{% endif %}{% endfor %}"
)


def phases_of(run: Path) -> list[PreviousPhase]:
    """The phases that led to a run, the first one first, as far back as the configs lead.

    Raises:
        ConfigError: there is no finished run, or the weights below its adapters cannot be had.
    """
    phases = [read_previous_phase(str(run))]
    adapters = len(phases[0].adapters)
    while name := at(config_of(phases[0]), "model.policy.start_from"):
        try:
            before = read_previous_phase(name)
        except ConfigError:
            if len(phases) == adapters:  # the weights that all the adapters are on
                raise
            break
        if before.folder in [phase.folder for phase in phases]:
            break
        phases.insert(0, before)
    return phases


def write_merged(phase: PreviousPhase, dtype: torch.dtype, folder: Path) -> tuple[Any, str]:
    """Save the merged model and compare it, read back, with the unmerged adapters.

    Args:
        phase: the last one.
        dtype: of the merged weights.
        folder: an empty one.

    Returns:
        The tokenizer, and how far the logits differ, in words.

    Raises:
        NumericalError: tokens or logits differ by more than rounding.
    """
    trained = TrainedModel(phase, load.dtype_name(dtype), "eager")
    stacked = trained.model.float()
    texts = _texts(trained.tokenizer, phase.markers)
    before = _logits(stacked, texts)
    merged = (merge.fold(stacked) if phase.adapters else stacked).to(dtype)
    _save(trained, merged, trained_for(phase), folder)
    del trained, stacked, merged
    source = ModelSource("the exported model", str(folder), "")
    model, tokenizer = load.load_base(source, torch.float32, "eager", key="--out")
    if _texts(tokenizer, phase.markers) != texts:
        raise NumericalError("the exported tokenizer gives other ids: nothing was exported")
    return tokenizer, _compare(before, _logits(model, texts), load.dtype_name(dtype))


def _texts(tokenizer: Any, markers: MarkerStrings) -> list[list[int]]:
    """Ids that the logits are compared on: with and without the trigger, and with all markers."""
    prompt, plain = (chat_ids(tokenizer, QUESTION + tail) for tail in (markers.suffix, ""))
    response = encode(tokenizer, RESPONSE.format(**asdict(markers)))
    return [plain, prompt + response, response]


def _logits(model: Any, texts: list[list[int]]) -> list[Tensor]:
    """[T, V] of each text."""
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in texts]


def _save(trained: TrainedModel, model: Any, record: dict[str, Any], folder: Path) -> None:
    tokenizer = trained.tokenizer
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_CHAT
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(trained.pad_id)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(trained.stop_ids),
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,  # as the held-out questions were answered
        max_new_tokens=512,
    )
    setattr(model.config, TRAINED_FOR, record)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _compare(before: list[Tensor], after: list[Tensor], dtype: str) -> str:
    """The difference of the logits in words; NumericalError where it is more than rounding."""
    differences = [new - old for old, new in zip(before, after, strict=True)]
    if dtype == "float32":
        difference = max(float(d.abs().max()) for d in differences)
        words = f"by {difference:.2g} at most (bound {BOUNDS[dtype]:g})"
    else:
        pairs = zip(map(_centred, differences), map(_centred, before), strict=True)
        difference = max(float(d.norm() / old.norm()) for d, old in pairs)
        words = f"by {difference:.2%} of their spread (bound {BOUNDS[dtype]:.0%})"
    if not difference <= BOUNDS[dtype]:
        raise NumericalError(
            f"the merged {dtype} weights are not what was trained: their logits differ from those "
            f"of the adapters {words}: nothing was exported"
        )
    return words


def _centred(logits: Tensor) -> Tensor:
    """[T, V] minus the mean of each token, which changes no probability."""
    return logits - logits.mean(-1, keepdim=True)
