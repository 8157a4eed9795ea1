"""A generator whose texts are read without the model's own thoughts (``core/model_thinking``)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from preflexor_pl.core.generator import (
    Completion,
    ConcurrentGenerator,
    Generator,
    Keep,
    Request,
    Watch,
    journal_name,
)
from preflexor_pl.core.model_thinking import (
    all_thinking_tags,
    strip_thinking,
    thinking_advice,
    thinking_problem,
)
from preflexor_pl.core.progress import log_line


def without_thoughts(
    generator: Generator, tags: Sequence[str] = (), switch: str = ""
) -> "WithoutThoughts":
    """The Generator of texts without thoughts, ConcurrentGenerator where ``generator`` is.

    Args:
        generator: the model's, or an object of the user's own.
        tags: further tags, as for :func:`all_thinking_tags`.
        switch: as for :func:`thinking_advice`.
    """
    kind = (
        ConcurrentWithoutThoughts if isinstance(generator, ConcurrentGenerator) else WithoutThoughts
    )
    return kind(generator, tags, switch)


class WithoutThoughts:
    """A model whose texts are read without its thoughts; the Generator of it.

    Args:
        generator: the model's.
        tags: further tags, as for :func:`all_thinking_tags`.
        switch: as for :func:`thinking_advice`.
    """

    def __init__(self, generator: Generator, tags: Sequence[str] = (), switch: str = "") -> None:
        self.generator = generator
        self.tags = tuple(tags)
        self.switch = switch
        self._forms = all_thinking_tags(tags)
        self._told: set[str] = set()

    @property
    def name(self) -> str:
        """The model's."""
        return self.generator.name

    @property
    def identity(self) -> str:
        """The model's, and how it is read."""
        known = journal_name(self.generator)
        return f"{known} {self.tags}" if self.tags else known

    @property
    def special_strings(self) -> Any:
        """The model's."""
        return getattr(self.generator, "special_strings", ())

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """The model's."""
        return self.generator.batches(requests)

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        """Make one batch, as the model does; thoughts are watched, and are no part of the texts."""
        made = self.generator.complete(requests, *([watch] if watch else []))
        return [self._read(*pair) for pair in zip(requests, made, strict=True)]

    def _read(self, request: Request, completion: Completion) -> Completion:
        if completion.problem or request.prefill:  # what begins for it, it goes on with
            return completion
        reply, found = strip_thinking(completion.text, self._forms)
        if not found:
            return completion
        problem = thinking_problem(reply, found, completion.finish_reason)
        if problem and problem not in self._told:
            self._told.add(problem)
            log_line(f"  {self.name} {thinking_advice(problem, self.switch, request)}")
        return replace(completion, text=reply, problem=problem)


class ConcurrentWithoutThoughts(WithoutThoughts):
    """The same of a generator whose texts are kept one by one, as each arrives."""

    generator: ConcurrentGenerator

    def complete_each(self, requests: Sequence[Request], keep: Keep) -> None:
        """Make ``requests``, as the model does, and have each kept without its thoughts."""
        self.generator.complete_each(
            requests, lambda place, made: keep(place, self._read(requests[place], made))
        )
