"""The Generator protocol: the local model and the client of a server implement it.

A batch is the unit of the journal and of a restart, so the split into batches is a pure function of
the requests. Each request carries its own seed: no global random state is used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from preflexor_pl.core.settings import Sampling

FinishReason = Literal["stop", "length"]
Watch = Callable[[int, str], None]  # the place of a request in its batch, what its text grew by


@dataclass(frozen=True)
class Request:
    """One text to be made.

    Attributes:
        prompt: the user's turn.
        system: the system turn; None leaves the chat template's own.
        sampling: length, temperature and cut-offs.
        seed: of this text's draws.
        examples: earlier turns, prompt and reply, that show what is wanted.
        stop: strings that end the text, which is returned up to the first of them.
        prefill: how the response begins; the text made goes on from there. Markers in it are
            markers, so untrusted text in it must be escaped first.
    """

    prompt: str
    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    stop: tuple[str, ...] = ()
    prefill: str = ""


@dataclass(frozen=True)
class Completion:
    """One text made.

    Attributes:
        text: without the request's prefill; markers appear in it only where the model emitted
            them as ids.
        finish_reason: ``stop`` if the model ended its turn or came to a stop string, ``length`` if
            it was cut.
        tokens: how many tokens were drawn, without the end of turn.
        problem: why there is no text, as a slug; "" where there is one.
    """

    text: str
    finish_reason: FinishReason
    tokens: int
    problem: str = ""


Keep = Callable[[int, Completion], None]  # takes a text that is made, and its request's place


def special_strings(*generators: Any) -> frozenset[str]:
    """What untrusted text must not hold for these generators or models, as far as they say so."""
    told = [getattr(generator, "special_strings", ()) for generator in generators]
    return frozenset(string for strings in told for string in strings)


def journal_name(generator: "Generator") -> str:
    """What a journal knows a generator's texts by; one that is asked in another way has another."""
    return str(getattr(generator, "identity", generator.name))


def by_batch(
    generator: "Generator", requests: Sequence[Request]
) -> Iterator[dict[int, Completion]]:
    """The completions of each batch, by the place of their request."""
    for batch in generator.batches(requests):
        done = generator.complete([requests[place] for place in batch])
        yield dict(zip(batch, done, strict=True))


@runtime_checkable
class Generator(Protocol):
    """A source of text: the policy, a local teacher, a server's client, or an object of your own.

    It may have ``special_strings``, the control tokens that its texts must not hold, and, as a
    teacher, ``settings``: the ``TeacherSettings`` with the role and lengths that it is asked with.
    """

    @property
    def name(self) -> str:
        """What the pairs' records call it."""

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Indices of ``requests`` that are made together: a pure function of them."""

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        """Make one batch, in the order of ``requests``.

        Args:
            requests: of one batch.
            watch: told of each text as it grows, by a generator that can.
        """


@runtime_checkable
class ConcurrentGenerator(Generator, Protocol):
    """A source whose texts do not depend on each other: each can be kept when it is there."""

    def complete_each(self, requests: Sequence[Request], keep: Keep) -> None:
        """Make ``requests``, in any order, and have each kept as soon as it is made."""
