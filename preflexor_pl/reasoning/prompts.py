"""What the model and its critic are asked while they reason: every prompt of the recursion.

With worked examples as earlier turns, as the teacher's prompts have them: a critic of a hundred
million parameters learns from them what is wanted, and to stop; a large one does no worse.
"""

from collections.abc import Sequence

from preflexor_pl.pairs.prompt_files import CONCRETE, RUBBER
from preflexor_pl.pairs.prompts import Prompt, Worked
from preflexor_pl.pairs.reading import thinking_text

NOTHING = "(nothing was written)"  # shown to the critic where the model thought nothing

_REVISED = {
    CONCRETE.question: "Concrete is weak in tension, so a beam would crack where it is stretched; "
    "steel bars placed there carry that load, and the alkaline pore water protects them from rust, "
    "so that they last.",
    RUBBER.question: "Heating with sulfur forms bridges between the chains; without them the "
    "chains would flow past each other and stay where they were pulled, with them they return "
    "when the load is gone.",
}


def ask_model(facts: Sequence[str], question: str, trigger: str, thinking: str = "") -> str:
    """The model's prompt: what was retrieved, the question with its trigger, then any thinking.

    Thinking stands in the prompt only for a model without markers, which cannot be made to go on
    from it.
    """
    thought = f"\n\nReasoning:\n{thinking}\n\nAnswer the question." if thinking else ""
    return f"{_facts(facts)}{question}{trigger}{thought}"


def ask_feedback(facts: Sequence[str], question: str, thinking: str) -> Prompt:
    """Ask the critic for what is missing or wrong in the thinking."""
    examples = tuple(
        (_feedback([w.facts], w.question, _thought(w, w.steps)), w.critique)
        for w in (CONCRETE, RUBBER)
    )
    return Prompt(_feedback(facts, question, thinking or NOTHING), examples, ("\n",))


def ask_rewrite(facts: Sequence[str], question: str, thinking: str, feedback: str) -> Prompt:
    """Ask the critic for the thinking as it should have been."""
    examples = tuple(
        (
            _rewrite([w.facts], w.question, _thought(w, w.steps), w.critique),
            _thought(w, _REVISED[w.question]),
        )
        for w in (CONCRETE, RUBBER)
    )
    asked = _rewrite(facts, question, thinking or NOTHING, feedback or NOTHING)
    return Prompt(asked, examples, ("\nCriticism:",))  # a small critic goes on with its own prompt


def ask_integration(facts: Sequence[str], question: str, answers: Sequence[str]) -> Prompt:
    """Ask the critic for one answer that takes what is right from all."""
    examples = tuple(
        (_integration([w.facts], w.question, w.answer.split(". ", 1)), w.answer)
        for w in (CONCRETE, RUBBER)
    )
    return Prompt(_integration(facts, question, answers), examples)


def _thought(worked: Worked, steps: str) -> str:
    return thinking_text({"Reasoning Steps": steps, "Materials and Concepts": worked.concepts})


def _facts(facts: Sequence[str]) -> str:
    return "".join(f"{fact}\n\n" for fact in facts)


def _feedback(facts: Sequence[str], question: str, thinking: str) -> str:
    return (
        f"{_facts(facts)}Question: {question}\n\nReasoning:\n{thinking}\n\n"
        'Criticise this reasoning in one sentence that begins with "The reasoning leaves out".'
    )


def _rewrite(facts: Sequence[str], question: str, thinking: str, feedback: str) -> str:
    return (
        f"{_facts(facts)}Question: {question}\n\nReasoning:\n{thinking}\n\nCriticism: {feedback}"
        "\n\nWrite the reasoning again under the same headings, so that the criticism is met."
    )


def _integration(facts: Sequence[str], question: str, answers: Sequence[str]) -> str:
    listed = "\n\n".join(f"Answer {number}: {text}" for number, text in enumerate(answers, 1))
    return (
        f"{_facts(facts)}Question: {question}\n\n{listed}\n\n"
        "Combine what is right in these answers into one answer of two or three sentences."
    )
