"""Settings of the teacher, its thinking sections, the judge, and their servers.

Each is a frozen dataclass, as in ``core/settings``.
"""

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar, Literal

from preflexor_pl.core.settings import Sampling, check_value

BUDGETS = "max_calls", "max_tokens", "max_minutes"  # of a server
BACKGROUND = "Additional Background"  # a category whose facts are what was retrieved
DEFAULT_CATEGORIES = {
    "Reasoning Steps": "the steps of reasoning that lead to the answer",
    "Materials and Concepts": "the materials and concepts that matter",
}
OUR_FIELDS = "model", "messages", "n", "stream"  # of a call, which no setting changes
SAMPLED = "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"
_TAG = re.compile(r"[\w:.-]+|\S+ \S+")
_URL = re.compile(r"https?://(\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?(?:/[^\s?#@]*)?")
_URL_RULE = "like http://localhost:8000/v1: http or https, no user or key, no ? or #"


def _teacher_text() -> Sampling:
    # without the penalty, a small teacher at a low temperature repeats itself without end
    return Sampling(max_new_tokens=96, temperature=0.4, repetition_penalty=1.15)


@dataclass(frozen=True)
class ThinkingSettings:
    """The thinking section that the teacher writes: one ``**Category**:`` block each.

    Attributes:
        categories: name of each block -> what the teacher is asked to extract for it. The
            facts of ``Additional Background`` are the chunks retrieved with the question.
        sampling: how an extraction is drawn.
        min_tokens: a thinking section shorter than this is dropped.
    """

    categories: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_CATEGORIES))
    sampling: Sampling = field(default_factory=_teacher_text)
    min_tokens: int = 20

    def __post_init__(self) -> None:
        check_value(
            bool(self.categories), "data.thinking.categories", self.categories, "at least one"
        )
        check_value(self.min_tokens >= 0, "data.thinking.min_tokens", self.min_tokens, ">= 0")


@dataclass(frozen=True)
class ServerSettings:
    """A server that speaks the OpenAI chat API, and what one command may ask of it.

    ``top_k``, ``min_new_tokens`` and ``repetition_penalty`` are not in that API: they are not sent.

    Attributes:
        base_url: what stands before ``/chat/completions``; mostly it ends in ``/v1``.
        model: as the server calls it.
        api_key_env: the environment variable that holds the key; null sends none.
        in_flight: calls at a time.
        timeout_seconds: of one call, up to its last byte.
        tries: of one text, where the server fails or sends nothing that can be read.
        max_calls: calls after which no more begin; null: no limit. Every try is a call.
        max_tokens: tokens, prompts and replies together, after which no more calls begin.
        max_minutes: minutes of asking after which no more calls begin.
        requests_per_minute: calls begin at this rate at most.
        extra_body: further fields of each call, such as ``{reasoning_effort: low}``.
        drop_fields: fields that are not sent; ``system`` puts the system turn's text before the
            user's. What a server refuses is left out without being named here.
        key: where it stands in a config.
    """

    key: ClassVar[str] = "data.teacher.server"

    base_url: str
    model: str
    api_key_env: str | None = None
    in_flight: int = 8
    timeout_seconds: float = 120
    tries: int = 5
    max_calls: int | None = None
    max_tokens: int | None = None
    max_minutes: float | None = None
    requests_per_minute: float | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)
    drop_fields: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        key = self.key
        shown = re.sub(r"//.*@|[?#].*", "***", self.base_url)  # a key may stand there
        check_value(bool(_URL.fullmatch(self.base_url)), f"{key}.base_url", shown, _URL_RULE)
        check_value(bool(self.model.strip()), f"{key}.model", self.model, "a model's name")
        if self.api_key_env is not None and not re.fullmatch("[A-Z][A-Z0-9_]*", self.api_key_env):
            # Not shown: it may be the key itself.
            raise ValueError(f"{key}.api_key_env: must be the NAME of a variable, not the key")
        for name in ("in_flight", "timeout_seconds", "tries", *BUDGETS, "requests_per_minute"):
            value = getattr(self, name)
            fits = value is None or (isfinite(value) and value > 0)
            check_value(fits, f"{key}.{name}", value, "> 0")
        for name in (*self.extra_body, *self.drop_fields):
            where = f"{key}.{'extra_body' if name in self.extra_body else 'drop_fields'}"
            check_value(
                name not in OUR_FIELDS, where, name, "other than model, messages, n and stream"
            )
        for name in SAMPLED:
            rule = "without it: max_new_tokens, temperature and top_p stand in the samplings"
            check_value(name not in self.extra_body, f"{key}.extra_body", name, rule)

    @property
    def host(self) -> str:
        """The server's host, without its port."""
        return _URL.sub(r"\1", self.base_url)


@dataclass(frozen=True)
class TeacherSettings:
    """The teacher: it asks questions, writes thinking sections and answers, and criticises.

    Attributes:
        system_prompt: the teacher's role.
        question: sampling of questions.
        answer: sampling of answers.
        critique: sampling of the criticism in a reflect section.
        candidates: answers that are drawn for each question; the one that stands best in its chunks
            is taken.
        model_name: a model of its own, named as the policy's is; null is the policy's own base, one
            copy of the weights for both.
        quantization: how that model is held, as for the policy.
        chat_template_kwargs: what the chat template of a teacher on this machine is told, such as
            ``{enable_thinking: false}``; a server is told by its ``extra_body``.
        thinking_tags: forms in which the teacher sets its own thoughts apart, beside those that are
            known: a name as in ``<name>...</name>``, or an opening and a closing tag with a space
            between them.
        server: a server that is the teacher instead; no weights of a teacher are loaded then.
    """

    system_prompt: str = "You are a careful materials scientist. You answer briefly and precisely."
    question: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=48))
    answer: Sampling = field(default_factory=_teacher_text)
    critique: Sampling = field(default_factory=_teacher_text)
    candidates: int = 1
    model_name: str | None = None
    quantization: Literal["4bit"] | None = None
    # Not in repr, to which a round's plan belongs: a plan is the same whoever is asked.
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict, repr=False)
    thinking_tags: list[str] = field(default_factory=list, repr=False)
    server: ServerSettings | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _require_tags("data.teacher.thinking_tags", self.thinking_tags)
        check_value(
            self.server is None or not self.chat_template_kwargs,
            "data.teacher.chat_template_kwargs",
            self.chat_template_kwargs,
            "{} where data.teacher.server is given: put it into its extra_body",
        )
        check_value(self.candidates >= 1, "data.teacher.candidates", self.candidates, ">= 1")
        for name in ("model_name", "quantization"):
            value, rule = getattr(self, name), "null where data.teacher.server is given"
            check_value(self.server is None or value is None, f"data.teacher.{name}", value, rule)


@dataclass(frozen=True)
class JudgeServerSettings(ServerSettings):
    """A server that judges; see ``ServerSettings``."""

    key: ClassVar[str] = "data.judge.server"


@dataclass(frozen=True)
class JudgeSettings:
    """The judge: decides whether an answer is right, given the facts and the teacher's answer.

    Attributes:
        system_prompt: the judge's role.
        sampling: of its replies, which begin with ``right`` or ``wrong``.
        thinking_tags: of a server that judges, as the teacher's are.
        server: a server that judges; null has the teacher judge.
    """

    system_prompt: str = "You are a strict examiner of materials science. You judge what is said."
    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=48, temperature=0))
    # Not in repr: a plan is the same whoever is asked, as with the teacher's.
    thinking_tags: list[str] = field(default_factory=list, repr=False)
    server: JudgeServerSettings | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _require_tags("data.judge.thinking_tags", self.thinking_tags)


def _require_tags(key: str, tags: list[str]) -> None:
    rule = "names of tags, or an opening and a closing one with a space between them"
    check_value(all(_TAG.fullmatch(tag) for tag in tags), key, tags, rule)
