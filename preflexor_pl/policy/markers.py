"""Registers the thinking and reflection markers in a tokenizer and a model.

A new row starts as the mean of the rows of a few describing words: runs start alike, and the row
has the scale of the others. The random rows that the libraries give by default have neither.
"""

from typing import Any

import torch

from preflexor_pl.batches.thinking import Markers
from preflexor_pl.core.chat import encode
from preflexor_pl.core.chat_template import lead_to_answer
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.markers import DEFAULT, DESCRIBING_WORDS, KEY, MarkerStrings


def register_markers(
    model: Any, tokenizer: Any, add_tokens: bool, strings: MarkerStrings = DEFAULT
) -> tuple[Markers, list[int]]:
    """Make every marker one token, and initialise the rows of those that are new.

    Args:
        model: its embedding, and an untied head, are enlarged if they have too few rows.
        tokenizer: gets the missing markers as special tokens.
        add_tokens: whether markers may be added.
        strings: of the markers.

    Returns:
        (ids of the four markers, ids among them that were new).

    Raises:
        ConfigError: see :func:`register_tokens`.
    """
    markers, new = register_tokens(tokenizer, add_tokens, strings)
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for token, words in new.items():
        _first_row(model, token, words)
    return markers, list(new)


def register_tokens(
    tokenizer: Any, add_tokens: bool, strings: MarkerStrings = DEFAULT
) -> tuple[Markers, dict[int, list[int]]]:
    """The tokenizer's part of :func:`register_markers`; needs no model.

    The chat template is extended to where an answer begins: the thinking is between our markers.

    Returns:
        (ids of the four markers, new id -> ids of its describing words).

    Raises:
        ConfigError: a marker is missing and ``add_tokens`` is False, does not become one token, or
            has another use in this tokenizer, or the trigger contains a control token.
    """
    _require_free(tokenizer, strings)
    new = [marker for marker in strings.all if marker not in tokenizer.get_vocab()]
    if new and not add_tokens:
        raise ConfigError(
            f"model.policy.add_tokens is false and the tokenizer lacks {', '.join(new)}: "
            "set it to true, or train on from a model that has them"
        )
    described = zip(strings.all, DESCRIBING_WORDS.values(), strict=True)
    words = {m: encode(tokenizer, " ".join(words)) for m, words in described if m in new}
    if new:
        tokenizer.add_special_tokens(
            {"additional_special_tokens": new}, replace_extra_special_tokens=False
        )
    ids = [tokenizer.convert_tokens_to_ids(marker) for marker in strings.all]
    for marker, token in zip(strings.all, ids, strict=True):
        if encode(tokenizer, f"a{marker}b").count(token) != 1:
            raise ConfigError(f"the tokenizer does not keep {marker} as one token")
    added = set(tokenizer.added_tokens_decoder)
    if added.intersection(encode(tokenizer, strings.suffix)) - {ids[0]}:
        raise ConfigError(
            f"{KEY}.trigger: {strings.trigger!r} contains a control token of the model"
        )
    lead_to_answer(tokenizer)
    return Markers(*ids), {tokenizer.convert_tokens_to_ids(m): words[m] for m in new}


def _require_free(tokenizer: Any, strings: MarkerStrings) -> None:
    """Refuse a marker that is ordinary text for the tokenizer, or begins or ends its texts.

    A control token that the tokenizer has, such as ``<think>``, is used as it is.
    """
    added = tokenizer.get_added_vocab()
    ends = tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.pad_token
    for marker in strings.all:
        if marker in ends or (marker in tokenizer.get_vocab() and marker not in added):
            raise ConfigError(f"{KEY}: {marker} has another use in this tokenizer: choose another")


@torch.no_grad()
def _first_row(model: Any, token: int, words: list[int]) -> None:
    tables = {
        id(t.weight): t.weight
        for t in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    for table in tables.values():  # a single one if the head is tied
        table[token] = table[words].float().mean(0).to(table.dtype)
