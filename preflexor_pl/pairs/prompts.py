"""What the teacher is asked, and how its replies are read. Every prompt of the project is in this file.

Short and plain on purpose: the teacher may be a model of a hundred million parameters.
"""

import re
from collections.abc import Sequence

from preflexor_pl.core.markers import THINK_END, THINK_START

_LABEL = re.compile(
    r"^\W*(?:the |a |one |my )?(?:challenging )?question(?: is)?\s*:?\s*", re.IGNORECASE
)
_SENTENCE = re.compile(r"[^?]*?\?", re.DOTALL)
_SOURCE = re.compile(
    r"\b(?:the|this|that|above|given|provided)\s+(?:\w+\s+)?"
    r"(?:text|texts|passage|study|paper|article|excerpt|document|note|notes|author|authors|context|"
    r"paragraph)\b|\baccording to\b",
    re.IGNORECASE,
)


def ask_question(context: Sequence[str], topic: str) -> str:
    """Ask for one stand-alone question about ``context``."""
    about = f" about {topic}" if topic else ""
    return (
        f"{_facts(context)}\n\nWrite one short question{about} that these facts answer. Name the material. "
        "Do not mention the facts, a text or a study. Reply with the question only."
    )


def ask_category(context: Sequence[str], question: str, wanted: str) -> str:
    """Ask for one block of the thinking section."""
    return f"{_facts(context)}\n\nQuestion: {question}\nIn one short sentence, give {wanted}."


def ask_answer(context: Sequence[str], question: str, thinking: str) -> str:
    """Ask for the answer, given the facts and the thinking."""
    return (
        f"{_facts(context)}\n\nThoughts:\n{thinking}\n\n"
        f"Answer the question in one or two sentences.\nQuestion: {question}"
    )


def ask_wrong_answer(context: Sequence[str], question: str) -> str:
    """Ask for a plausible answer that is wrong."""
    return (
        f"{_facts(context)}\n\nWrite a plausible but wrong answer to the question, in two sentences.\n"
        f"Question: {question}"
    )


def read_question(text: str) -> tuple[str, str]:
    """The question in a reply, and why it cannot be used.

    Returns:
        (question, reason): reason is "" where the question can be used.
    """
    found = _SENTENCE.search(text)
    if not found:
        return "", "not_a_question"
    question = _LABEL.sub("", found.group()).strip(" \n\t\"'*“”")
    question = " ".join(question.split())
    if len(question.split()) < 4:
        return question, "question_too_short"
    if _SOURCE.search(question):
        return question, "question_mentions_source"
    return question[0].upper() + question[1:], ""


def thinking_text(blocks: dict[str, str]) -> str:
    """The blocks of a thinking section, without its markers."""
    return "\n\n".join(f"**{name}**: {text.strip()}" for name, text in blocks.items())


def chosen_response(blocks: dict[str, str], answer: str) -> str:
    """A whole chosen response: thinking section, then the answer."""
    return f"{THINK_START}\n{thinking_text(blocks)}\n{THINK_END}\n{answer.strip()}"


def _facts(context: Sequence[str]) -> str:
    return "Facts:\n" + "\n\n".join(context)
