"""The record of the reasoning about a question: every step, as JSON and as Markdown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.generator import FinishReason

Kind = Literal["answer", "finish", "feedback", "rewrite", "compare", "integrate"]


@dataclass(frozen=True)
class Source:
    """A chunk that was retrieved for the question.

    Attributes:
        id: of the chunk.
        document: of the chunk.
        similarity: cosine similarity to the question.
    """

    id: str
    document: str
    similarity: float


@dataclass(frozen=True)
class Step:
    """One call of a generator.

    Attributes:
        kind: ``answer`` and ``finish`` (a second call, after a response without an answer) are the
            model's, ``feedback``, ``rewrite``, ``compare`` and ``integrate`` the critic's or the
            judge's.
        iteration: 0 for the first answer, then the refinement that it belongs to.
        by: name of the model that wrote it.
        text: the whole response with its prefill, repetition cut off; its markers are the model's.
        thinking: of an answer, its thinking section; of a rewrite, the new one, None where it is a
            copied example. Special tokens are escaped, as in ``reflection`` and ``answer``.
        reflection: of an answer, its reflect section.
        answer: the text outside both sections; None where there is none.
        problems: what is wrong with the form of an answer (``core.responses``), ``repetition``
            where it ended in a loop, ``empty`` without a text, ``too_long`` where its prompt
            is longer than the model can read, ``copies_example`` where a critic repeated a worked
            example of its prompt.
        finish_reason: ``length`` where it met its length limit.
        tokens: generated.
        seconds: an equal share of the time of its batch.
        loop: the text with its repetition, where that was cut off; else "".
    """

    kind: Kind
    iteration: int
    by: str
    text: str
    thinking: str | None
    reflection: str | None
    answer: str | None
    problems: tuple[str, ...]
    finish_reason: FinishReason
    tokens: int
    seconds: float
    loop: str = ""


@dataclass
class Trace:
    """The reasoning about one question.

    Attributes:
        question: without a trigger.
        variant: source of the feedback: ``thinking`` (the critic) or ``reflection`` (the model's
            own reflect section).
        steps: in order.
        answers: one for each iteration; "" where there was none.
        best: index of the best answer: the judge's choice, else the last one that is not empty.
        integrated: the critic's answer made of all answers; "" where there is none.
        integration_lost: whether the judge prefers the best answer to the integrated one.
        sources: chunks that were retrieved for the question, the most similar first.
        stopped: why it ended before the last iteration: ``unchanged`` (the new thinking equals the
            old one), ``worse`` (the judge prefers the older answer), or "".
    """

    question: str
    variant: str
    steps: list[Step] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    best: int = 0
    integrated: str = ""
    integration_lost: bool = False
    sources: list[Source] = field(default_factory=list)
    stopped: str = ""

    @property
    def answer(self) -> str:
        """The final answer: the integrated one, else the best; "" where there is none."""
        best = self.answers[self.best] if self.answers else ""
        return best if self.integration_lost else self.integrated or best

    @property
    def cited(self) -> str:
        """The final answer, followed by the documents that were retrieved for it."""
        documents = dict.fromkeys(source.document for source in self.sources)
        return self.answer + (f"\n\nSources: {', '.join(documents)}" if documents else "")

    @property
    def calls(self) -> int:
        """Number of calls, without the judge's."""
        return sum(step.kind != "compare" for step in self.steps)

    @property
    def tokens(self) -> int:
        """Number of generated tokens, without the judge's."""
        return sum(step.tokens for step in self.steps if step.kind != "compare")

    def to_dict(self) -> dict[str, Any]:
        """The record that ``to_json`` writes."""
        counts = {"calls": self.calls, "tokens": self.tokens}
        return {"question": self.question, "answer": self.cited, **counts, **asdict(self)}

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_markdown(self) -> str:
        """A page to read: each step under a heading, thinking quoted, then the final answer."""
        parts = [f"# {_line(self.question)}"]
        for step in self.steps:
            facts = [step.by, f"{step.tokens} tokens", f"{step.seconds:.1f} s", *step.problems]
            parts.append(f"## {step.iteration}: {step.kind}\n\n*{_line(' · '.join(facts))}*")
            if step.thinking:
                parts.append(_quoted("Thinking", step.thinking))
            if step.reflection:
                parts.append(_quoted("Reflection", step.reflection))
            parts.append(step.answer or "*(no answer)*" if step.kind != "rewrite" else "")
        ended = f" (stopped: {self.stopped})" if self.stopped else ""
        parts += [f"## Answer{ended}", self.cited or "*(no answer)*"]
        return "\n\n".join(part for part in parts if part) + "\n"


def save_traces(traces: Sequence[Trace], path: Path) -> None:
    """Write traces as the ending of ``path`` says: .md, .jsonl, or one .json list."""
    if path.suffix == ".md":
        text = "\n".join(trace.to_markdown() for trace in traces)
    elif path.suffix == ".jsonl":
        text = "".join(f"{trace.to_json()}\n" for trace in traces)
    else:
        text = json.dumps([trace.to_dict() for trace in traces], ensure_ascii=False, indent=1)
    write_atomically(path, text)


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(title: str, text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in [f"**{title}**", "", *text.split("\n")])
