"""Every prompt of the recursion: to the model, and to its critic.

The critic's texts, with the worked examples before them, are templates of the teacher's prompt set,
see ``pairs/prompt_files``.
"""

from collections.abc import Sequence

from preflexor_pl.pairs.prompts import CriticPrompts, Prompt, WorkedExample
from preflexor_pl.pairs.reply_parsing import thinking_text

NOTHING = "(nothing was written)"  # in the critic's prompt, where the model has no thinking


def ask_model(facts: Sequence[str], question: str, trigger: str, thinking: str = "") -> str:
    """The model's prompt: retrieved facts, the question with its trigger, then any thinking.

    Thinking is in the prompt only for a model without markers; others go on from it in their reply.
    """
    reasoning = f"\n\nReasoning:\n{thinking}\n\nAnswer the question." if thinking else ""
    return "\n\n".join([*facts, f"{question}{trigger}{reasoning}"])


def ask_feedback(
    prompts: CriticPrompts, facts: Sequence[str], question: str, thinking: str
) -> Prompt:
    """Ask the critic for what is missing or wrong in the thinking."""
    examples = [
        (w.thought | {"thinking": _thought(w, w.steps)}, w.critique) for w in prompts.examples
    ]
    return prompts.feedback.prompt(
        examples, facts=_facts(facts), question=question, thinking=thinking or NOTHING
    )


def ask_rewrite(
    prompts: CriticPrompts, facts: Sequence[str], question: str, thinking: str, feedback: str
) -> Prompt:
    """Ask the critic for the thinking as it should have been."""
    examples = [
        (
            w.thought | {"thinking": _thought(w, w.steps), "feedback": w.critique},
            _thought(w, w.revised),
        )
        for w in prompts.examples
        if w.revised
    ]
    return prompts.rewrite.prompt(
        examples,
        facts=_facts(facts),
        question=question,
        thinking=thinking or NOTHING,
        feedback=feedback or NOTHING,
    )


def ask_integration(
    prompts: CriticPrompts, facts: Sequence[str], question: str, answers: Sequence[str]
) -> Prompt:
    """Ask the critic for one answer that takes what is right from all."""
    examples = [
        (w.thought | {"answers": _listed(w.answer.split(". ", 1))}, w.answer)
        for w in prompts.examples
    ]
    return prompts.integration.prompt(
        examples, facts=_facts(facts), question=question, answers=_listed(answers)
    )


def _thought(worked: WorkedExample, steps: str) -> str:
    return thinking_text({"Reasoning Steps": steps, "Materials and Concepts": worked.concepts})


def _facts(facts: Sequence[str]) -> str:
    return "\n\n".join(facts)


def _listed(answers: Sequence[str]) -> str:
    return "\n\n".join(f"Answer {number}: {text}" for number, text in enumerate(answers, 1))
