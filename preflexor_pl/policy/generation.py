"""Batched generation with the local model: with the policy, or with its base as the teacher.

A batch has prompts of similar length. Rows that have ended are removed from it, each row has its
own random generator, and the model's modes and attention are restored afterwards.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.errors import ResourceError
from preflexor_pl.core.generator import Completion, Request, Watch
from preflexor_pl.core.special_tokens import TOKEN_LIKE
from preflexor_pl.policy.kernels import decode_attention as attention
from preflexor_pl.policy.language_model import LanguageModel, Role
from preflexor_pl.policy.prompt_batch import PromptBatch
from preflexor_pl.policy.sampling import Sampler

SHRINK_AT = 0.8  # ended rows are removed once this share of the batch, or less, still runs
# Whole words, which a later token cannot complete to a control token that would be escaped.
_SETTLED = re.compile(rf"(?:{TOKEN_LIKE}|(?!<[|\uff5c]).)*\s|", re.DOTALL)


class LocalGenerator:
    """A Generator that runs a model in this process.

    Args:
        model: whose weights are used.
        role: ``policy`` draws from the policy as it is now; ``base`` from its base, and suppresses
            the markers that its chat template does not have.
        batch_size: prompts in one batch.
        name: its name in records; by default the model's name with the role.
        template_options: arguments of the chat template, such as ``{"enable_thinking": False}``.
    """

    def __init__(
        self,
        model: LanguageModel,
        role: Role,
        batch_size: int = 32,
        name: str = "",
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.role = role
        self.batch_size = batch_size
        self.name = name or f"{model.source.name} ({role})"
        self.template_options = dict(template_options or {})

    @property
    def identity(self) -> str:
        """The key of its texts in a journal."""
        return f"{self.name} {self.template_options}" if self.template_options else self.name

    @property
    def special_strings(self) -> frozenset[str]:
        """Strings that untrusted text in a request must not contain."""
        return self.model.special_strings

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Indices by batch, the longest prompts first: out of memory, if at all, at the start."""
        lengths = [len(self._prompt_ids(request)) for request in requests]
        order = sorted(range(len(requests)), key=lambda index: (-lengths[index], index))
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        """Generate one batch, split in halves until it fits into memory.

        Args:
            requests: of one batch.
            watch: called with each text as it grows, word by word; not in a batch that was split.

        Returns:
            A completion each. A text is cut at the model's longest sequence; a longer prompt gives
            an empty text, cut.

        Raises:
            ResourceError: a single prompt does not fit into memory.
        """
        try:
            with self._ready() as model:
                return self._decode(model, requests, watch)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            if len(requests) == 1:
                raise ResourceError(
                    "out of memory while generating one text: use a smaller model, shorter texts "
                    "or bfloat16"
                ) from error
        half = len(requests) // 2
        return self.complete(requests[:half]) + self.complete(requests[half:])

    def _prompt_ids(self, request: Request) -> list[int]:
        tokenizer = self.model.tokenizer
        options = self.template_options
        ids = chat_ids(tokenizer, request.prompt, request.system, request.examples, options)
        return ids + encode(tokenizer, request.prefill)

    @contextmanager
    def _ready(self) -> Iterator[Any]:
        """The model in eval mode, with the attention for decoding; both are restored afterwards."""
        with torch.inference_mode(), self.model.active_weights(self.role) as model:
            modes = [(module, module.training) for module in model.modules()]
            trained_with = model.config._attn_implementation
            try:
                model.eval()
                model.set_attn_implementation(self._attention(model, trained_with))
                yield model
            finally:
                model.set_attn_implementation(trained_with)
                for module, mode in modes:
                    module.training = mode

    @staticmethod
    def _attention(model: Any, trained_with: str) -> str:
        # eager copies keys and values for each head, sdpa computes bfloat16 in small pieces
        slow = model.device.type == "cpu" and (
            model.dtype == torch.bfloat16 or trained_with == "eager"
        )
        usual = trained_with in ("sdpa", "eager") and model._can_set_attn_implementation()
        return attention.register() if slow and usual else trained_with

    def _decode(
        self, model: Any, requests: Sequence[Request], watch: Watch | None
    ) -> list[Completion]:
        language = self.model
        every = [self._prompt_ids(request) for request in requests]
        texts = [
            _Text(request, language.stop_ids, language.decode, language.max_positions - len(prompt))
            for request, prompt in zip(requests, every, strict=True)
        ]
        rows = [row for row, text in enumerate(texts) if text.going]  # request of each batch row
        if not rows:
            return [text.completion() for text in texts]
        batch = PromptBatch(model, [every[row] for row in rows], language.pad_id)
        suppressed = language.added_ids if self.role == "base" else []
        sampler = Sampler(requests, suppressed, language.stop_ids, language.device)
        while True:
            places, logits = batch.read()
            tokens = sampler.draw(logits, [rows[place] for place in places])
            batch.add(places, tokens)
            for place, token in zip(places, tokens.tolist(), strict=True):
                text = texts[rows[place]]
                text.take(token)
                if watch and (grown := text.grown()):
                    watch(rows[place], grown)
            going = [place for place, row in enumerate(rows) if texts[row].going]
            if not going:
                return [text.completion() for text in texts]
            if len(going) <= SHRINK_AT * len(rows):
                batch.keep(going)
                rows = [rows[place] for place in going]


@dataclass
class _Text:
    """The text of one request during generation."""

    request: Request
    stop_ids: frozenset[int]
    decode: Callable[[list[int]], str]
    room: int  # tokens up to the model's longest sequence
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    shown: str = ""

    @property
    def going(self) -> bool:
        most = min(self.request.sampling.max_new_tokens, self.room)
        return not self.ended and len(self.ids) < most

    def take(self, token: int) -> None:
        if not self.going:  # the row is still in the batch
            return
        if token in self.stop_ids:
            self.ended = True
            return
        self.ids.append(token)
        if self.request.stop:
            text = self.decode(self.ids)
            self.ended = any(stop in text for stop in self.request.stop)

    def grown(self) -> str:
        """New text since the last call: whole words, which no later token changes."""
        text = self._text()
        if self.going:
            text = text[: len(text) - self._stopping(text)]
            text = text[: _SETTLED.match(text).end()]  # type: ignore[union-attr]
        grown = text[len(self.shown) :]
        self.shown += grown
        return grown

    def _stopping(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        stops = self.request.stop
        return max((n for s in stops for n in range(1, len(s)) if text.endswith(s[:n])), default=0)

    def completion(self) -> Completion:
        return Completion(self._text(), "stop" if self.ended else "length", len(self.ids))

    def _text(self) -> str:
        text = self.decode(self.ids)
        for stop in self.request.stop:
            text = text.split(stop, 1)[0]
        return text
