"""What the teacher is asked, and how its replies are read: every prompt of the project.

Each prompt comes with worked examples as earlier turns: a teacher of a hundred million parameters
learns from them what is wanted, how long it is, and to stop; a large one does no worse.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from preflexor_pl.core.markers import REFLECT_END, REFLECT_START, THINK_END, THINK_START

Examples = tuple[tuple[str, str], ...]

SENTENCE_ENDS = (". ", "\n")  # what was asked for in one sentence ends with it
ANSWER_ENDS = ("\n",)  # an answer of one or two sentences is one paragraph
MIN_WORDS = 4  # of a question, a thought or an answer
MAX_KNOWN = 0.8  # share of a criticism's words that the thinking may have already

_LABEL = re.compile(r"^\W*(?:question|q|a)\b\s*:\s*", re.IGNORECASE)
_QUESTION = re.compile(r"[^?.!\n]*\?")
_WORD = re.compile(r"\w+")
_POINTING = re.compile(
    r"\b(?:this|these|those)\b|\bthe (?:material|product|answer|question|process|facts?)\b(?! of)",
    re.IGNORECASE,
)
_SOURCE = re.compile(
    r"\b(?:the|this|that|above|given|provided)\s+(?:\w+\s+)?"
    r"(?:texts?|passage|study|paper|article|excerpt|document|notes?|authors?|context|paragraph)\b"
    r"|\baccording to\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Prompt:
    """A prompt, the earlier turns that show how it is to be answered, and what ends the reply."""

    text: str
    examples: Examples = ()
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worked:
    """A worked example: facts, and what a good teacher says about them."""

    facts: str
    question: str
    steps: str
    concepts: str
    critique: str
    answer: str
    wrong: str


CONCRETE = Worked(
    "Concrete gains strength for years because the cement keeps reacting with water. Steel "
    "bars carry the tension that concrete cannot bear, and the alkaline pore water protects "
    "the steel from rust.",
    "Why are steel bars placed in concrete?",
    "Concrete is weak in tension, so a beam would crack where it is stretched; steel bars "
    "placed there carry that load.",
    "The main concepts are tensile load, steel reinforcement and the alkaline pore water of "
    "concrete.",
    "The reasoning leaves out why the bars last: it should add that the alkaline pore water "
    "protects them from rust.",
    "Steel bars are placed in concrete because they carry the tension that concrete cannot "
    "bear. The alkaline pore water keeps them from rusting.",
    "Steel bars are placed in concrete to make it lighter and to let water drain out of it.",
)
RUBBER = Worked(
    "Rubber is vulcanised by heating it with sulfur. Sulfur bridges tie the polymer chains "
    "together, so that the rubber springs back after being stretched instead of flowing.",
    "How does sulfur make rubber spring back after stretching?",
    "Heating with sulfur forms bridges between the chains; the bridges keep the chains from "
    "sliding apart, so they return when the load is gone.",
    "The main concepts are vulcanisation, sulfur bridges and the sliding of polymer chains.",
    "The reasoning leaves out what happens without sulfur: it should add that the chains would "
    "then flow past each other and stay where they were pulled.",
    "Sulfur forms bridges that tie the polymer chains together. The chains can no longer flow"
    " past each other, so the rubber springs back.",
    "Sulfur makes rubber spring back because it evaporates when the rubber is stretched.",
)


def ask_question(context: Sequence[str], topic: str) -> Prompt:
    """Ask for one stand-alone question about ``context``."""
    about = topic or "this"
    examples = tuple((_question(w.facts, "this"), w.question) for w in (CONCRETE, RUBBER))
    return Prompt(_question("\n\n".join(context), about), examples)


def ask_category(context: Sequence[str], question: str, wanted: str) -> Prompt:
    """Ask for one block of the thinking section, in one sentence."""
    shown = (
        (CONCRETE, "the steps of reasoning that lead to the answer", CONCRETE.steps),
        (RUBBER, "the materials and concepts that matter", RUBBER.concepts),
    )
    examples = tuple((_category(w.facts, w.question, asked), reply) for w, asked, reply in shown)
    return Prompt(_category("\n\n".join(context), question, wanted), examples, SENTENCE_ENDS)


def ask_critique(context: Sequence[str], question: str, thinking: str) -> Prompt:
    """Ask for what is missing or wrong in the thinking, in one sentence."""
    examples = tuple(
        (_critique(w.facts, w.question, w.steps), w.critique) for w in (CONCRETE, RUBBER)
    )
    return Prompt(_critique("\n\n".join(context), question, thinking), examples, SENTENCE_ENDS)


def ask_answer(context: Sequence[str], question: str, thinking: str) -> Prompt:
    """Ask for the answer, given the facts and the thinking."""
    examples = tuple((_answer(w.facts, w.steps, w.question), w.answer) for w in (RUBBER, CONCRETE))
    return Prompt(_answer("\n\n".join(context), thinking, question), examples, ANSWER_ENDS)


def ask_wrong_answer(context: Sequence[str], question: str) -> Prompt:
    """Ask for a plausible answer that is wrong."""
    examples = tuple((_wrong(w.facts, w.question), w.wrong) for w in (CONCRETE, RUBBER))
    return Prompt(_wrong("\n\n".join(context), question), examples)


def _question(facts: str, about: str) -> str:
    return f"{facts}\n\nWrite one question about {about}."


def _category(facts: str, question: str, wanted: str) -> str:
    return f"{facts}\n\nQuestion: {question}\nIn one sentence, give {wanted}."


def _critique(facts: str, question: str, thinking: str) -> str:
    return (
        f"{facts}\n\nQuestion: {question}\nReasoning: {thinking}\n\n"
        'Criticise this reasoning in one sentence that begins with "The reasoning leaves out".'
    )


def _answer(facts: str, thinking: str, question: str) -> str:
    return f"{facts}\n\n{thinking}\n\nAnswer in one or two sentences: {question}"


def _wrong(facts: str, question: str) -> str:
    return f"{facts}\n\nGive a plausible but wrong answer in one or two sentences: {question}"


def read_question(text: str) -> tuple[str, str]:
    """The question in a reply, and why it cannot be used.

    Returns:
        (question, reason): reason is "" where the question can be used.
    """
    found = _QUESTION.search(text)
    if not found:
        return "", "not_a_question"
    question = " ".join(_LABEL.sub("", found.group()).strip(" \n\t\"'*“”").split())
    if len(question.split()) < MIN_WORDS:
        return question, "question_too_short"
    if _SOURCE.search(question):
        return question, "question_mentions_source"
    if _POINTING.search(question):
        return question, "question_not_standalone"
    return question[0].upper() + question[1:], ""


def read_sentence(text: str) -> tuple[str, str]:
    """The sentence in a reply, and why it cannot be used, as for :func:`read_question`."""
    sentence = " ".join(text.split())
    if len(sentence.split()) < MIN_WORDS:
        return sentence, "sentence_too_short"
    return sentence if sentence[-1] in ".!?" else f"{sentence}.", ""


def read_critique(text: str, thinking: str) -> tuple[str, str]:
    """The criticism in a reply, and why it cannot be used, as for :func:`read_question`.

    One whose words nearly all stand in the thinking says it again and criticises nothing.
    """
    sentence, reason = read_sentence(text)
    words = set(_WORD.findall(sentence.lower()))
    known = words & set(_WORD.findall(thinking.lower()))
    if not reason and len(known) > MAX_KNOWN * len(words):
        reason = "repeats_thinking"
    return sentence, reason


def read_answer(text: str) -> tuple[str, str]:
    """The answer in a reply, and why it cannot be used, as for :func:`read_question`."""
    answer = text.strip()
    return answer, "" if len(answer.split()) >= MIN_WORDS else "answer_too_short"


def thinking_text(blocks: dict[str, str]) -> str:
    """The blocks of a thinking section, without its markers."""
    return "\n\n".join(f"**{name}**: {text.strip()}" for name, text in blocks.items())


def chosen_response(blocks: dict[str, str], answer: str, reflection: str = "") -> str:
    """A whole chosen response: thinking section, reflect section if there is one, the answer."""
    parts = [THINK_START, thinking_text(blocks), THINK_END]
    if reflection:
        parts += [REFLECT_START, reflection.strip(), REFLECT_END]
    return "\n".join([*parts, answer.strip()])
