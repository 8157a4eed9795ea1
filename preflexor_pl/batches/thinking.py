"""Thinking masks: which tokens of a response are targets.

A mask changes labels only: masked thinking stays in the context. It applies to both responses of a
pair, with any loss. Left out: the prompt (never a target), truncation, the shift by one, and a
response without a target (the caller drops the pair).
"""

import math
import random
from abc import ABC, abstractmethod
from dataclasses import astuple, dataclass
from numbers import Real


@dataclass(frozen=True)
class Markers:
    """Token ids of the four markers.

    Raises:
        ValueError: two markers share an id, as they do when a tokenizer maps unknown ones to one.
    """

    think_start: int
    think_end: int
    reflect_start: int
    reflect_end: int

    def __post_init__(self) -> None:
        if len(set(astuple(self))) < 4:
            raise ValueError(f"the four markers need four different token ids, got {self}")


class ThinkingMask(ABC):
    """A rule for which tokens of a response are supervised."""

    @abstractmethod
    def __call__(self, response_ids: list[int], markers: Markers, rng: random.Random) -> list[bool]:
        """Mask one response.

        Args:
            response_ids: [T] token ids of the response alone, its end-of-text token included.
            markers: ids of the markers.
            rng: source of any draw; seed it per run, round, epoch, pair and side.

        Returns:
            [T] True where the token is a target.
        """


@dataclass(frozen=True)
class NoMasking(ThinkingMask):
    """Every token of the response is a target."""

    def __call__(self, response_ids: list[int], markers: Markers, rng: random.Random) -> list[bool]:
        """All True; see ``ThinkingMask``."""
        return [True] * len(response_ids)


@dataclass(frozen=True)
class MaskThinking(ThinkingMask):
    """Mask a random share of the thinking tokens.

    The n maskable tokens of all spans of the response are pooled, and floor(fraction * n + 0.5) of
    them are drawn without replacement: the share holds per response, not per span. What a span is:
    ``thinking_spans``. Inner markers of a nested span count as tokens inside.

    Attributes:
        fraction: share to mask, in [0, 1].
        keep_markers: leave the opening and the closing marker of each span as targets.

    Raises:
        ValueError: the fraction is no number in [0, 1].
    """

    fraction: float = 1.0
    keep_markers: bool = False

    def __post_init__(self) -> None:
        number = isinstance(self.fraction, Real) and not isinstance(self.fraction, bool)
        if not number or not 0 <= self.fraction <= 1:  # NaN fails both comparisons
            raise ValueError(f"fraction must be a number in [0, 1], got {self.fraction!r}")

    def __call__(self, response_ids: list[int], markers: Markers, rng: random.Random) -> list[bool]:
        """Targets of one response; see ``ThinkingMask``."""
        maskable: list[int] = []
        for start, stop, closed in thinking_spans(response_ids, markers):
            first, last = (start + 1, stop - closed) if self.keep_markers else (start, stop)
            maskable += range(first, last)
        masked = set(rng.sample(maskable, math.floor(self.fraction * len(maskable) + 0.5)))
        return [position not in masked for position in range(len(response_ids))]


@dataclass(frozen=True)
class AnswerOnly(ThinkingMask):
    """Only the answer is a target: what follows the last closing marker, thinking or reflection.

    Without any marker the whole response is the answer; a closing marker needs no opening one.
    There is no answer, and the mask is all False, where a marker is still open at the end (even
    after a closed span, and where two openings met one closing) or nothing follows the last
    closing marker, whatever ``keep_end_marker`` says.

    Attributes:
        keep_end_marker: make that last closing marker the first target.
    """

    keep_end_marker: bool = False

    def __call__(self, response_ids: list[int], markers: Markers, rng: random.Random) -> list[bool]:
        """Targets of one response; see ``ThinkingMask``. Draws nothing."""
        length = len(response_ids)
        first = answer_start(response_ids, markers)
        if first is None:
            return [False] * length
        if self.keep_end_marker:
            first -= 1  # -1 without any marker, where all is kept as well
        return [position >= first for position in range(length)]


def thinking_spans(response_ids: list[int], markers: Markers) -> list[tuple[int, int, bool]]:
    """Outermost thinking spans of a response; reflection markers are ordinary tokens here.

    A span runs from an opening marker to its own closing one, or to the end where that is missing.
    A closing marker without an opening one is no span.

    Args:
        response_ids: [T] token ids.
        markers: ids of the markers.

    Returns:
        ``(start, stop, closed)`` in order: half-open positions, markers included, and whether the
        last token is the closing marker.
    """
    spans = []
    start = depth = 0
    for position, token in enumerate(response_ids):
        if token == markers.think_start:
            start = start if depth else position
            depth += 1
        elif token == markers.think_end and depth:
            depth -= 1
            if depth == 0:
                spans.append((start, position + 1, True))
    if depth:
        spans.append((start, len(response_ids), False))
    return spans


def answer_start(response_ids: list[int], markers: Markers) -> int | None:
    """Where the answer begins, by the rules of ``AnswerOnly``.

    Args:
        response_ids: [T] token ids.
        markers: ids of the markers.

    Returns:
        Position of the first token after the last closing marker, 0 without any marker, or None
        where there is no answer.
    """
    opens = {markers.think_start: markers.think_end, markers.reflect_start: markers.reflect_end}
    depth = dict.fromkeys(opens.values(), 0)
    start = 0
    for position, token in enumerate(response_ids):
        if token in opens:
            depth[opens[token]] += 1
        elif token in depth:
            depth[token] = max(depth[token] - 1, 0)  # a close without an opening closes nothing
            start = position + 1
    return start if start < len(response_ids) and not any(depth.values()) else None
