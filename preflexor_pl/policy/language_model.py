"""A causal language model with its tokenizer and markers: all that generation needs of a model.

It is frozen, and serves as a teacher as it is. ``Policy`` is the subclass that trains.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from preflexor_pl.core.chat import end_of_turn_id, turn_ends
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.markers import DEFAULT, KEY, MarkerStrings
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.corpus.seen_documents import TRAINED_FOR
from preflexor_pl.policy.load import load_base, resolve_dtype, stops_of
from preflexor_pl.policy.markers import register_markers
from preflexor_pl.policy.model_errors import in_one_line
from preflexor_pl.policy.model_source import ModelSource, find_model

Role = Literal["policy", "base"]  # what training made of a model, or what it started as
LONGROPE = "longrope"
UNLIMITED = 2**31  # positions, where a config names none


class LanguageModel(nn.Module):
    """Weights, tokenizer and markers of one model.

    Args:
        source: where its files are.
        model: a transformers model; its weights are frozen here.
        tokenizer: of the model; markers that it lacks are added.
        add_tokens: whether markers may be added.
        end_of_turn: the token that ends a turn; None finds it in the chat template.
        trains: whether the model is trained to emit that token, which must then be unambiguous.
        strings: of the markers; None takes those of an exported model, else the defaults.

    Attributes:
        markers: ids of the four markers.
        strings: the strings of the markers, and the trigger.
        new_ids: ids of the markers that the tokenizer lacked.
        end_id: the id that ends a turn.
        stop_ids: ids that end a text: ``end_id``, and those that the model's generation config and
            tokenizer name.

    Raises:
        ConfigError: the tokenizer lacks a marker and ``add_tokens`` is False, or the token that
            ends a turn is ambiguous.
    """

    def __init__(
        self,
        source: ModelSource,
        model: Any,
        tokenizer: Any,
        add_tokens: bool = True,
        end_of_turn: str | None = None,
        trains: bool = False,
        strings: MarkerStrings | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.model = model.requires_grad_(False)
        self.tokenizer = tokenizer
        self.strings = strings_for(model.config, strings)
        with in_one_line(f"{source.name}: its tables of tokens cannot be had"):
            self.markers, self.new_ids = register_markers(
                model, tokenizer, add_tokens, self.strings
            )
        rows = model.get_input_embeddings().weight.shape[0]
        stops = [token for token in stops_of(model.generation_config) if token < rows]
        ends = turn_ends(tokenizer, stops, end_of_turn)
        if trains or not ends:
            ends = [end_of_turn_id(tokenizer, stops, end_of_turn, source.name)]
        if ends[0] in self.marker_ids:
            raise ConfigError(f"{KEY}: {tokenizer.convert_ids_to_tokens(ends[0])} ends an answer")
        self.end_id = ends[0]
        self.stop_ids = frozenset({*ends, *stops, tokenizer.eos_token_id} - {None})
        self.pad_id = self.end_id  # any id serves: masks are made from lengths

    @property
    def inner(self) -> Any:
        """The transformers model itself."""
        return self.model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.inner.device

    @property
    def marker_ids(self) -> list[int]:
        """The four markers' ids."""
        m = self.markers
        return [m.think_start, m.think_end, m.reflect_start, m.reflect_end]

    @property
    def max_positions(self) -> int:
        """Longest sequence that the model is used with, in tokens."""
        return max_positions_of(self.inner.config)

    @cached_property  # decoding needs it for every text, and a tokenizer may have thousands
    def special_strings(self) -> frozenset[str]:
        """Every string that this tokenizer encodes as a control token."""
        template = str(self.tokenizer.chat_template or "")
        added = self.tokenizer.added_tokens_decoder.values()
        return frozenset(map(str, self.tokenizer.all_special_tokens)).union(
            token.content
            for token in added
            if token.special or token.content in template or token.content in self.strings.all
        )

    @property
    def native_ids(self) -> list[int]:
        """Markers in the model's own chat template, between which it thinks by itself.

        Their rows do not train, as the base reads and writes them too. The thoughts in its texts
        are removed, as in the texts of any teacher.
        """
        template = str(self.tokenizer.chat_template or "")
        name = self.tokenizer.convert_ids_to_tokens
        return [token for token in self.marker_ids if name(token) in template]

    @property
    def added_ids(self) -> list[int]:
        """The other markers, which the base never emits."""
        native = self.native_ids
        return [token for token in self.marker_ids if token not in native]

    def decode(self, ids: list[int]) -> str:
        """Text of a response: markers that were emitted as ids, and all other text escaped."""
        names = {i: self.tokenizer.convert_ids_to_tokens(i) for i in self.marker_ids}
        parts: list[str] = []
        plain: list[int] = []
        for token in [*ids, None]:
            if token is not None and token not in names:
                plain.append(token)
                continue
            text = self.tokenizer.decode(plain, skip_special_tokens=True)
            parts.append(escape_special_tokens(text, self.special_strings))
            plain = []
            if token is not None:
                parts.append(names[token])
        return "".join(parts)

    def active_weights(self, role: Role) -> AbstractContextManager[Any]:
        """The transformers model to draw text from; both roles are the same where nothing trained.

        Args:
            role: which weights are on inside the context.
        """
        return nullcontext(self.inner)


def max_positions_of(config: Any) -> int:
    """Longest sequence that a model is used with, in tokens; 2**31 where its config names none.

    A model with LongRoPE (Ding et al., 2024, arXiv:2402.13753) is used up to its original length
    only: transformers switches the factors of a whole batch as soon as one text is longer, which
    changes the log-probs of the shorter ones.
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]  # one a layer type
    limits = [
        k["original_max_position_embeddings"] for k in kinds if k.get("rope_type") == LONGROPE
    ]
    return min([getattr(text, "max_position_embeddings", None) or UNLIMITED, *limits])


def exported_strings(config: Any) -> MarkerStrings | None:
    """The markers' strings that an exported model was trained with; None for any other model."""
    asked = getattr(config, TRAINED_FOR, None)
    return MarkerStrings.of_record(asked) if isinstance(asked, dict) else None


def strings_for(config: Any, given: MarkerStrings | None) -> MarkerStrings:
    """The markers' strings: as given, else of an exported model, else the default ones.

    Raises:
        ConfigError: the model was exported with other strings.
    """
    own = exported_strings(config)
    if own is not None and given not in (None, own):
        raise ConfigError(
            f"{KEY}: the model was exported with {own}: leave the key out, or give the same"
        )
    return own or given or DEFAULT


def load_language_model(
    name: str,
    key: str,
    dtype: str = "auto",
    attention: str = "sdpa",
    quantization: str | None = None,
    strings: MarkerStrings | None = None,
) -> LanguageModel:
    """A frozen model by its name.

    Args:
        name: a hub id, a folder, or ``package:...``.
        key: the setting to name in an error.
        dtype: auto, float32 or bfloat16.
        attention: attention kernel of transformers.
        quantization: ``4bit`` or None.
        strings: of the markers, for a model that was not exported with its own.

    Raises:
        ConfigError: the model cannot be loaded.
    """
    source = find_model(name, key)
    model, tokenizer = load_base(source, resolve_dtype(dtype), attention, quantization, key)
    strings = exported_strings(model.config) or strings
    return LanguageModel(source, model, tokenizer, strings=strings)
