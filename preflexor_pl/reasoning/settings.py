"""Settings of the recursion."""

from dataclasses import dataclass, field
from typing import Literal

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.settings import Sampling, check_value
from preflexor_pl.pairs.prompt_files import BUILT_IN
from preflexor_pl.pairs.prompts import CriticPrompts


def _likeliest(tokens: int) -> Sampling:
    return Sampling(max_new_tokens=tokens, temperature=0, repetition_penalty=1.05)


@dataclass(frozen=True)
class ReasoningSettings:
    """Settings of the recursion.

    Attributes:
        iterations: refinements after the first answer, >= 0.
        variant: the criticism that a refinement follows: ``thinking``, the critic's;
            ``reflection``, the model's own reflect section.
        model: sampling of the model's responses.
        critic: sampling of the critic's texts.
        prompts: of the critic.
        system_prompt: the model's system turn; None keeps the chat template's own.
        critic_prompt: the critic's system turn when it criticises and rewrites.
        integrator_prompt: the critic's system turn when it integrates the answers.
        thinking_prefix: how the first thinking section must begin; None leaves it to the model.
        trigger: whether the prompt ends with the trigger, as in training.
        integrate: whether the critic makes one answer of all at the end.
        stop_when_unchanged: stop where the rewritten thinking equals the old one.
        stop_when_worse: stop where the judge prefers the older answer.
        chunks: number of chunks to retrieve for each question; 0 for none.
        seed: of the sampling.
        markers: of the model.
    """

    iterations: int = 2
    variant: Literal["thinking", "reflection"] = "thinking"
    model: Sampling = field(default_factory=lambda: _likeliest(320))
    critic: Sampling = field(default_factory=lambda: _likeliest(160))
    prompts: CriticPrompts = BUILT_IN.critic
    system_prompt: str | None = None
    critic_prompt: str = "You are a critical reviewer. You are brief and precise."
    integrator_prompt: str = "You are an editor. You combine answers into one that is right."
    thinking_prefix: str | None = None
    trigger: bool = True
    integrate: bool = True
    stop_when_unchanged: bool = True
    stop_when_worse: bool = True
    chunks: int = 0
    seed: int = 0
    markers: MarkerStrings = field(default=DEFAULT, repr=False)

    def __post_init__(self) -> None:
        check_value(self.iterations >= 0, "iterations", self.iterations, ">= 0")
        check_value(self.chunks >= 0, "chunks", self.chunks, ">= 0")
        check_value(
            self.variant in ("thinking", "reflection"),
            "variant",
            self.variant,
            "thinking or reflection",
        )

    @property
    def calls(self) -> int:
        """Calls without a judge, if responses are well formed and nothing stops early."""
        each = 3 if self.variant == "thinking" else 2
        return 1 + each * self.iterations + (self.integrate and self.iterations > 0)
