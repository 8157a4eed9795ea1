"""Greedy texts of tiny families: alone, in a batch, and as ``generate`` writes them."""

import pytest

from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.kernels import decode_attention as attention
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.policy.prompt_batch import is_paddable
from tests.families import save_family
from tests.family_checks import decodes_as_generate

PADDED = ["gemma3", "mistral, window", "llama4", "gpt_oss", "gpt_neo"]  # windows, chunks, sinks
UNPADDED = ["lfm2", "qwen3_next", "bamba", "mamba", "minimax", "bloom"]  # states, own positions


@pytest.mark.parametrize("name", PADDED + UNPADDED)
def test_a_family_decodes_as_generate(tmp_path, name):
    model = load_language_model(str(save_family(tmp_path, name)), "x", "float32")
    assert is_paddable(model.inner) == (name in PADDED)
    assert decodes_as_generate(model) == ""


@pytest.mark.parametrize("name", ["gpt_oss", "mixtral", "doge", "gemma2"])
def test_the_kernel_for_bfloat16_decodes_as_generate(tmp_path, name, monkeypatch):
    """Sinks, what experts are told, a mask for each head, a softcap: in float32, to the token."""
    model = load_language_model(str(save_family(tmp_path, name)), "x", "float32")
    kernel = attention.register()
    monkeypatch.setattr(LocalGenerator, "_attention", lambda self, model, usual: kernel)
    assert decodes_as_generate(model) == ""


@pytest.mark.parametrize("name", PADDED)
def test_rows_of_one_prompt_decode_as_each_alone(tmp_path, name):
    model = load_language_model(str(save_family(tmp_path, name)), "x", "float32")
    generator = LocalGenerator(model, "policy")
    texts = "Why?", "Why is the silk of a spider so tough, and for how long?", "Why?"
    asked = [Request(text, None, Sampling(24, 1.0), seed) for seed, text in enumerate(texts * 2)]
    together = [made.text for made in generator.complete(asked)]
    assert together == [generator.complete([request])[0].text for request in asked]
