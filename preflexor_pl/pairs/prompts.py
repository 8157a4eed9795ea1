"""What the teacher and the judge are asked: prompts made of templates and worked examples.

Worked examples stand before a prompt as earlier turns: a teacher of a hundred million parameters
learns from them what is wanted, how long it is, and to stop. A large one needs none. The texts
themselves are files in two sets, see ``prompt_files``.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.reply_parsing import read_verdict
from preflexor_pl.tasks.task import Item, WorkedItem

ANY = "this"  # what a question is about where no topic is given
NO_ANSWER = "(no answer)"

_PLACE = re.compile(r"\{\{ *(\w+) *\}\}")  # one pair of braces, or $, is LaTeX
_PARAGRAPH = re.compile(rf"^{_PLACE.pattern}\n\n", re.MULTILINE)  # a placeholder alone


@dataclass(frozen=True)
class Prompt:
    """A prompt, the earlier turns that show how it is to be answered, and what ends the reply."""

    text: str
    examples: tuple[tuple[str, str], ...] = ()
    stop: tuple[str, ...] = ()

    def inert(self, special_tokens: Collection[str]) -> "Prompt":
        """The same without control tokens: a template may hold one, or complete one of the facts'.

        Args:
            special_tokens: as for ``escape_special_tokens``.
        """
        examples = tuple(
            (
                escape_special_tokens(asked, special_tokens),
                escape_special_tokens(reply, special_tokens),
            )
            for asked, reply in self.examples
        )
        return replace(
            self, text=escape_special_tokens(self.text, special_tokens), examples=examples
        )


@dataclass(frozen=True)
class Template:
    """The text of a prompt with placeholders such as ``{{facts}}``, and what ends its reply."""

    text: str
    stop: tuple[str, ...] = ()

    @property
    def places(self) -> list[str]:
        """The names of its placeholders, each once, in order."""
        return list(dict.fromkeys(_PLACE.findall(self.text)))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with ``values`` put in; what looks like a placeholder in them is left alone.

        A placeholder that is a paragraph of its own leaves none where its value is empty.
        """
        text = _PARAGRAPH.sub(lambda place: place[0] if values[place[1]] else "", self.text)
        return _PLACE.sub(lambda place: values[place[1]], text)

    def prompt(self, shown: Iterable[tuple[Mapping[str, str], str]], **values: str) -> Prompt:
        """The prompt with ``values`` put in, after examples: the values of each, and its reply."""
        examples = tuple((self.fill(others), reply) for others, reply in shown)
        return Prompt(self.fill(values), examples, self.stop)


@dataclass(frozen=True)
class WorkedExample:
    """A worked example: facts, and what a good teacher says about them.

    Attributes:
        facts: that all else rests on.
        question: about them.
        steps: the thinking that leads to the answer.
        concepts: that matter in it.
        critique: what the steps leave out.
        answer: a right one.
        wrong: a wrong one.
        ruling: a judge's, on the right answer or on the wrong one, as it says.
        wanted: ``steps`` or ``concepts``, or both, and the words that ask for it as a block.
        revised: the steps when the critique is met; "" shows no rewriting.
    """

    facts: str
    question: str
    steps: str
    concepts: str
    critique: str
    answer: str
    wrong: str
    ruling: str
    wanted: tuple[tuple[str, str], ...]
    revised: str = field(default="", repr=False)  # a round's plan does not depend on it

    @property
    def thought(self) -> dict[str, str]:
        """What a prompt says of it that has thinking in it."""
        return {"facts": self.facts, "question": self.question, "thinking": self.steps}

    @property
    def examined(self) -> dict[str, str]:
        """What a judge is asked before it gives the ruling."""
        answer = self.wrong if read_verdict(self.ruling) == "wrong" else self.answer
        asked = {"facts": self.facts, "question": self.question}
        return {**asked, "reference": self.answer, "answer": answer}


@dataclass(frozen=True)
class CriticPrompts:
    """What a critic is asked while a model reasons; a template each, and the examples.

    The prompts themselves are made in ``reasoning/prompts``.
    """

    feedback: Template
    rewrite: Template
    integration: Template
    examples: tuple[WorkedExample, ...] = ()


@dataclass(frozen=True)
class Prompts:
    """All that is asked of the teacher and of the judge; a template each, and the examples.

    Attributes:
        critic: the same set's prompts for a critic; no pair, and so no plan, depends on them.
    """

    question: Template
    category: Template
    critique: Template
    answer: Template
    wrong_answer: Template
    ruling: Template
    solution: Template = field(repr=False)  # of a task's item: no pair of a corpus depends on it
    quoted_question: Template = field(repr=False)  # where answers are quoted
    critic: CriticPrompts = field(repr=False)
    examples: tuple[WorkedExample, ...] = ()

    def ask_question(self, context: Sequence[str], topic: str) -> Prompt:
        """Ask for one stand-alone question about ``context``."""
        shown = [({"facts": w.facts, "topic": ANY}, w.question) for w in self.examples]
        return self.question.prompt(shown, facts=_facts(context), topic=topic or ANY)

    def ask_quoted_question(self, title: str, quote: str) -> Prompt:
        """Ask for the question that a sentence answers."""
        shown = [({"facts": w.answer}, w.question) for w in self.examples]
        return self.quoted_question.prompt(shown, facts=f"{title}\n{quote}")

    def ask_category(self, context: Sequence[str], question: str, wanted: str) -> Prompt:
        """Ask for one block of the thinking section."""
        shown = [
            ({"facts": w.facts, "question": w.question, "wanted": what}, getattr(w, name))
            for w in self.examples
            for name, what in w.wanted
        ]
        facts = _facts(context)
        return self.category.prompt(shown, facts=facts, question=question, wanted=wanted)

    def ask_critique(self, context: Sequence[str], question: str, thinking: str) -> Prompt:
        """Ask for what is missing or wrong in the thinking."""
        shown = [(w.thought, w.critique) for w in self.examples]
        facts = _facts(context)
        return self.critique.prompt(shown, facts=facts, question=question, thinking=thinking)

    def ask_answer(self, context: Sequence[str], question: str, thinking: str) -> Prompt:
        """Ask for the answer, given the facts and the thinking."""
        shown = [(w.thought, w.answer) for w in reversed(self.examples)]
        facts = _facts(context)
        return self.answer.prompt(shown, facts=facts, question=question, thinking=thinking)

    def ask_wrong_answer(self, context: Sequence[str], question: str) -> Prompt:
        """Ask for a plausible answer that is wrong."""
        shown = [({"facts": w.facts, "question": w.question}, w.wrong) for w in self.examples]
        return self.wrong_answer.prompt(shown, facts=_facts(context), question=question)

    def ask_ruling(
        self, context: Sequence[str], question: str, reference: str, answer: str
    ) -> Prompt:
        """Ask whether ``answer`` is right, given the facts and a reference answer."""
        shown = [(w.examined, w.ruling) for w in self.examples]
        return self.ruling.prompt(
            shown,
            facts=_facts(context),
            question=question,
            reference=reference,
            answer=answer.strip() or NO_ANSWER,
        )

    def ask_solution(self, item: Item, worked: Sequence[WorkedItem] = (), hint: str = "") -> Prompt:
        """Ask for the thinking and the answer to a task's item, from its source.

        Args:
            item: that is asked.
            worked: items that show how it is done.
            hint: says the answer; "" for none.
        """
        shown = [(_told(one.item), one.reply) for one in worked]
        return self.solution.prompt(shown, **_told(item) | {"hint": hint})


def _told(item: Item) -> dict[str, str]:
    return {"facts": item.source or item.shown, "question": item.question, "hint": ""}


def _facts(context: Sequence[str]) -> str:
    return "\n\n".join(context)
