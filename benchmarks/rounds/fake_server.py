"""A teacher on this machine's loopback: real HTTP, scripted texts, and a time for each call.

Every text contains the tag of the request that it answers, so a text in a journal can be traced to
the call that brought it.
"""

import hashlib
import json
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from benchmarks.loopback import Answer, Asked, LoopbackServer

KINDS = {  # start of a prompt's last line -> what the prompt asks for
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
_SPECIMEN = re.compile(r"How does specimen (\w+)")


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        body: its JSON.
        time: when it arrived, in seconds of the monotonic clock.
    """

    body: dict[str, Any]
    time: float

    @property
    def prompt(self) -> str:
        """The user's turn."""
        return str(self.body["messages"][-1]["content"])

    @property
    def kind(self) -> str:
        """What it asks for: question, thinking or answer."""
        last = self.prompt.rsplit("\n", 1)[-1]
        [kind] = [kind for start, kind in KINDS.items() if last.startswith(start)]
        return kind

    @property
    def tag(self) -> str:
        """A digest of the whole request, its seed included."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Teacher:
    """Decides text and duration of a reply from the request alone.

    Attributes:
        seconds: shortest and longest duration of a call; durations are uniform in between.
        unusable: share of the texts that no stage of a round accepts.
    """

    seconds: tuple[float, float]
    unusable: float = 0.0

    def text_of(self, call: Call) -> str:
        """The reply to ``call``."""
        tag = call.tag
        text = TEXTS[call.kind] if random.Random(tag).random() >= self.unusable else UNUSABLE
        words = sorted(set(_WORD.findall(call.prompt)))
        chosen = random.Random(tag).sample(words, min(WORDS, len(words)))
        return text.format(tag=tag, words=", ".join(chosen))

    def seconds_of(self, call: Call) -> float:
        """Duration of ``call``."""
        return random.Random(f"{call.tag} seconds").uniform(*self.seconds)

    def longest_chain(self, calls: list[Call]) -> float:
        """Seconds of the longest chain of calls that depend on each other.

        A chain is a question, the slowest part of its thinking, and its answer, each with its
        second try.
        """
        tries: dict[tuple[str, float], float] = {}  # a second try: same prompt, more temperature
        for call in calls:
            key = call.prompt, call.body["temperature"]
            tries[key] = max(tries.get(key, 0.0), self.seconds_of(call))
        parts: dict[str, float] = defaultdict(float)
        for (prompt, _), seconds in tries.items():
            parts[prompt] += seconds
        chains: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for call in calls:
            kind = call.kind
            item = call.tag if kind == "question" else _SPECIMEN.findall(call.prompt)[-1]
            chains[item][kind] = max(chains[item][kind], parts[call.prompt])
        return max(sum(chain.values()) for chain in chains.values())


class FakeServer(LoopbackServer):
    """Serves a teacher by the OpenAI chat API.

    Attributes:
        calls: every request, in the order of arrival.
    """

    root = "/v1"

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher
        self.calls: list[Call] = []

    def answer(self, asked: Asked) -> Answer:
        """The teacher's text, after the duration of its call."""
        call = Call(json.loads(asked.body), time.monotonic())
        with self.lock:
            self.calls.append(call)
        message = {"role": "assistant", "content": self.teacher.text_of(call)}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
        return Answer(json.dumps(reply).encode(), seconds=self.teacher.seconds_of(call))
