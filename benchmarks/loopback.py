"""A teacher on this machine's loopback: real HTTP, texts by a script, and a time for each call.

Every text carries the tag of the request that it answers, so what lies in a journal leads back to
the call that brought it.
"""

import hashlib
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass

from tests.server.bad_server import Answer, Call, good

BEGINNINGS = {  # of a prompt's last line -> what is asked for
    "Write one question": "question",
    "In one sentence, give": "thinking",
    "Answer in one or two": "answer",
}
TEXTS = {
    "question": "How does specimen {tag} make use of {words}?",
    "thinking": "First specimen {tag} spreads the load over its whole length, then it gives way.",
    "answer": "The layers of specimen {tag} share the load and slide past each other.",
}
UNUSABLE = "No {tag}."  # no question, and too short for anything else
TAG = re.compile(r"\b[0-9a-f]{16}\b")
WORDS = 4  # of the source, in a question: without them all questions would mean the same
_WORD = re.compile(r"[a-z]{8,}")
_ASKED = re.compile(r"How does specimen (\w+)")


def kind_of(call: Call) -> str:
    """What a call asks for: question, thinking or answer."""
    last = call.prompt.rsplit("\n", 1)[-1]
    [kind] = [kind for beginning, kind in BEGINNINGS.items() if last.startswith(beginning)]
    return kind


def tag_of(call: Call) -> str:
    """A digest of the whole request, its seed included."""
    return hashlib.sha256(json.dumps(call.body, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Teacher:
    """A script for ``BadServer``: what it says, and when, follows from the request alone.

    Attributes:
        seconds: shortest and longest time of a call; each takes a time between them.
        unusable: share of the texts that are of no use.
    """

    seconds: tuple[float, float]
    unusable: float = 0.0

    def __call__(self, call: Call) -> Answer:
        """The answer to ``call``."""
        tag = tag_of(call)
        text = TEXTS[kind_of(call)] if random.Random(tag).random() >= self.unusable else UNUSABLE
        words = sorted(set(_WORD.findall(call.prompt)))
        chosen = random.Random(tag).sample(words, min(WORDS, len(words)))
        made = text.format(tag=tag, words=", ".join(chosen))
        return good(made, seconds=self.seconds_of(call))

    def seconds_of(self, call: Call) -> float:
        """How long ``call`` takes."""
        return random.Random(f"{tag_of(call)} seconds").uniform(*self.seconds)

    def longest_chain(self, calls: list[Call]) -> float:
        """Seconds of the longest chain of calls that had to wait for each other.

        A question, the slowest part of its thinking, its answer; each with its second try.
        """
        tries: dict[tuple[str, float], float] = {}  # a second try is the same prompt, asked warmer
        for call in calls:
            key = call.prompt, call.body["temperature"]
            tries[key] = max(tries.get(key, 0.0), self.seconds_of(call))
        parts: dict[str, float] = defaultdict(float)
        for (prompt, _), seconds in tries.items():
            parts[prompt] += seconds
        chains: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for call in calls:
            kind = kind_of(call)
            item = tag_of(call) if kind == "question" else _ASKED.findall(call.prompt)[-1]
            chains[item][kind] = max(chains[item][kind], parts[call.prompt])
        return max(sum(chain.values()) for chain in chains.values())
