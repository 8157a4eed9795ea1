"""Loads the weights and the tokenizer of a model, and checks what loading them needs."""

import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import quiet_loading
from preflexor_pl.core.progress import log_line
from preflexor_pl.policy.kernels.allocator import keep_freed_memory
from preflexor_pl.policy.model_errors import FOREIGN, reason_of
from preflexor_pl.policy.model_source import ModelSource

NF4_OFF = 0.16  # half of the widest gap between two of its sixteen levels, -1 and -0.696, is 0.152


def resolve_dtype(name: str) -> torch.dtype:
    """The torch dtype of ``auto``, ``float32`` or ``bfloat16`` on this processor."""
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    return torch.bfloat16 if _has_bf16() else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """Its name in a config, such as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine() in ("x86_64", "AMD64"):
        # Where a Xeon's AMX is off, AVX-512 multiplies bfloat16 at half of float32's speed.
        has_fast_avx512 = torch.cpu._is_avx512_bf16_supported() and not _is_intel()
        return torch.cpu._is_amx_tile_supported() or has_fast_avx512
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _is_intel() -> bool:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        told = platform.processor()
    return "GenuineIntel" in told


def load_base(
    source: ModelSource,
    dtype: torch.dtype,
    attention: str = "sdpa",
    quantization: str | None = None,
    key: str = "model.policy.model_name",
) -> tuple[Any, Any]:
    """Load a model and its tokenizer, without our markers.

    Args:
        source: where its files are.
        dtype: of its weights; of the matrix products if the weights are quantised.
        attention: attention kernel of transformers. A model without ``sdpa`` gets ``eager``, which
            is announced.
        quantization: ``4bit`` or None.
        key: the setting to name in an error.

    Returns:
        (model in eval mode, tokenizer).

    Raises:
        ConfigError: it does not load, or has no such attention.
    """
    from safetensors import SafetensorError

    keep_freed_memory()
    try:
        model, tokenizer = _from_pretrained(source.location, dtype, attention, quantization)
    except torch.OutOfMemoryError:
        raise
    except (OSError, SafetensorError, *FOREIGN) as error:
        if "attn_implementation" in str(error) and attention == "sdpa":
            log_line(f"{source.name} has no sdpa attention: it runs with eager")
            return load_base(source, dtype, "eager", quantization, key)
        if "attn_implementation" in str(error):
            raise ConfigError(
                f"model.policy.attn_implementation: {source.name} has no {attention}: use eager"
            ) from error
        raise ConfigError(f"{key}: {source.name} did not load: {reason_of(error)}") from error
    if quantization:
        _keep_layout(model)
    return model.eval(), tokenizer


def _from_pretrained(
    location: str, dtype: torch.dtype, attention: str, quantization: str | None
) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=dtype,
            attn_implementation=attention,
            quantization_config=_nf4(dtype) if quantization else None,
            trust_remote_code=False,  # without it transformers asks on the terminal
        )
    return model, tokenizer


def stops_of(generation_config: Any) -> list[int]:
    """The ids in a model's ``generation_config`` at which generation stops."""
    ids = generation_config.eos_token_id
    listed = ids if isinstance(ids, list | tuple) else [ids]
    return [token for token in listed if token is not None and token >= 0]


def _keep_layout(model: Any) -> None:
    """Stop bitsandbytes from repacking weights on a CPU when they are first used without gradient.

    Repacking rounds the scales to bfloat16, so that policy and reference would differ.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def require_attention(name: str) -> None:
    """Refuse an attention kernel that is not installed or cannot run here; loads nothing.

    Raises:
        ConfigError: says what to install, or what to choose instead.
    """
    if name != "flash_attention_2":
        return
    key = "model.policy.attn_implementation: flash_attention_2"
    if find_spec("flash_attn") is None:
        raise ConfigError(f"{key} is not installed: pip install 'preflexor_pl[flash-attn]' or sdpa")
    if not torch.cuda.is_available():
        raise ConfigError(f"{key} needs a CUDA device: use sdpa")


def require_quantization(key: str) -> None:
    """Refuse 4-bit weights if bitsandbytes fails to quantise and restore a small tensor.

    Raises:
        ConfigError: names ``key`` and the reason.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = torch.linspace(-1, 1, 64, device=device)  # one block, so one scale
    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        again = dequantize_4bit(*quantize_4bit(weights, quant_type="nf4"))
    except (ImportError, OSError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{key}: bitsandbytes does not work here ({reason}): use null") from error
    off = float((again - weights).abs().max())
    if not off < NF4_OFF:
        raise ConfigError(f"{key}: bitsandbytes gives weights that are {off:.2f} off: use null")


def _nf4(dtype: torch.dtype) -> Any:
    """QLoRA's settings (Dettmers et al., 2023, arXiv:2305.14314)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
