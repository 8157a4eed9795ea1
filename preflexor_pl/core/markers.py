"""The four marker strings, the trigger that asks for thinking, and each marker's describing words.

Only strings live here; token ids belong to the tokenizer and are looked up where they are used.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

from preflexor_pl.core.special_tokens import TOKEN_LIKE, is_special_token

KEY = "model.policy.markers"
_SLOT = "{think_start}"  # in a trigger


@dataclass(frozen=True)
class MarkerStrings:
    """The strings that stand around thinking and reflection, and what asks for them.

    Attributes:
        think_start: opens a thinking section.
        think_end: closes it.
        reflect_start: opens a reflection section.
        reflect_end: closes it.
        trigger: asks for thinking, after a question and a space; ``{think_start}`` stands for the
            marker.

    Raises:
        ValueError: one marker is part of another, is empty, has white space at an end, is a single
            character or has no sign; the trigger holds another control token.
    """

    think_start: str = "<|thinking|>"
    think_end: str = "<|/thinking|>"
    reflect_start: str = "<|reflect|>"
    reflect_end: str = "<|/reflect|>"
    trigger: str = f"Use {_SLOT}."

    def __post_init__(self) -> None:
        for field in fields(self):
            text = getattr(self, field.name)
            if not text or text != text.strip():
                raise ValueError(_told(field.name, text, "text without white space at its ends"))
        for name, marker in self._by_name.items():
            if not is_special_token(marker):  # a document could not be kept from holding it
                raise ValueError(
                    _told(name, marker, "like <think>: two characters or more, one a sign")
                )
            for other, text in self._by_name.items():
                if other != name and marker in text:
                    raise ValueError(_told(name, marker, f"no part of {other} ({text})"))
        rest = self.trigger.replace(_SLOT, "").replace(self.think_start, "")
        if any(marker in rest for marker in self.all) or re.search(TOKEN_LIKE, rest):
            raise ValueError(
                _told("trigger", self.trigger, f"text with no control token but {_SLOT}")
            )

    @property
    def all(self) -> tuple[str, str, str, str]:
        """The four markers."""
        return self.think_start, self.think_end, self.reflect_start, self.reflect_end

    def __str__(self) -> str:
        return " ".join((*self.all, repr(self.trigger)))

    @property
    def suffix(self) -> str:
        """The trigger as it is appended to a question, leading space included."""
        return " " + self.trigger.replace(_SLOT, self.think_start)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Any marker, as the only group."""
        return re.compile("(" + "|".join(map(re.escape, self.all)) + ")")

    def question(self, prompt: str) -> str:
        """A prompt without its trigger."""
        return prompt.removesuffix(self.suffix)

    @property
    def record(self) -> dict[str, dict[str, str]]:
        """An entry ``markers`` for a file that is kept; none where they are the default ones."""
        return {} if self == DEFAULT else {"markers": asdict(self)}

    @classmethod
    def of_record(cls, known: Mapping[str, Any]) -> "MarkerStrings":
        """The markers that a record has by :attr:`record`.

        Raises:
            ValueError: they are damaged.
        """
        given = known.get("markers")
        try:
            return cls(**given) if given else DEFAULT
        except (TypeError, AttributeError) as error:
            raise ValueError(f"markers: {error}") from error

    @property
    def _by_name(self) -> dict[str, str]:
        names = [field.name for field in fields(self)]
        return dict(zip(names, self.all, strict=False))


def _told(name: str, value: str, rule: str) -> str:
    return f"{KEY}.{name}: got {value!r}, must be {rule}"


DEFAULT = MarkerStrings()
MARKERS = THINK_START, THINK_END, REFLECT_START, REFLECT_END = DEFAULT.all
TRIGGER = DEFAULT.suffix

# A marker's first embedding row is the mean of these words' rows: the same in every run, and
# already near its meaning. No two markers share a word, so that no two rows start almost equal.
DESCRIBING_WORDS = MappingProxyType(
    {
        THINK_START: ("thinking", "reasoning", "begin"),
        THINK_END: ("end", "conclusion", "answer"),
        REFLECT_START: ("reflect", "review", "critique"),
        REFLECT_END: ("finish", "revised", "final"),
    }
)
