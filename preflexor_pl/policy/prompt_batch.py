"""A batch of prompts in a model's cache, which then grows by a token of each row at a time.

A row's logits must not depend on the other rows. For attention models prompts are padded on the
left, so that a sliding window, which counts columns, counts tokens; a prompt that several rows have
is read once, and so is a common beginning. A recurrent state would include the padding. So other
models read as many tokens of each prompt as the shortest one has, and the rest of the longer
prompts a token at a time while the others generate.
"""

import inspect
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

SHARED_FROM = 16  # a common beginning of at least this many tokens is read once
CACHES = "past_key_values", "cache_params"  # names of a model's cache


class PromptBatch:
    """Prompts in a model, and the next token of each row.

    Args:
        model: a transformers model in eval mode.
        prompts: ids of each, at least one.
        pad: id of the padding; any id serves.
    """

    def __init__(self, model: Any, prompts: list[list[int]], pad: int) -> None:
        self.model = model
        self.known = set(inspect.signature(model.forward).parameters)
        self.cache: dict[str, Any] = {}  # by the name that the model gives it
        self.padded = is_paddable(model)
        self.copies: list[int] = []  # of each row the one whose prompt it has, until they are read
        first = list(dict.fromkeys(map(tuple, prompts)))
        if self.padded and len(first) < len(prompts):
            order = {prompt: place for place, prompt in enumerate(first)}
            self.copies = [order[tuple(prompt)] for prompt in prompts]
            prompts = list(map(list, first))
        longest = max(map(len, prompts))
        if self.padded:
            read = prompts
            shared = _shared(prompts)
            self.seen = shared
            if shared:
                missing = [longest - len(prompt) for prompt in prompts]
                self.cache = {CACHES[0]: self._read_once(prompts[0][:shared], missing)}
        else:
            self.seen, length = 0, min(map(len, prompts))
            read = [prompt[:length] for prompt in prompts]
        self.waiting = [p[len(r) :] for p, r in zip(prompts, read, strict=True)]
        width = max(map(len, read))
        ids = [[pad] * (width - len(p)) + p for p in read]
        mask = [[0] * (width - len(p)) + [1] * len(p) for p in read]
        self.ids = torch.tensor(ids, device=model.device)  # [R, L], all that is read so far or next
        self.mask = torch.tensor(mask, device=model.device)

    def read(self) -> tuple[list[int], Tensor]:
        """Run the model on the tokens that it has not read yet.

        Returns:
            (places of the rows whose prompt is complete, their logits [R', V] of the next token).
        """
        logits = self._forward(self.ids[:, self.seen :], self.mask)
        if self.cache:  # without one the model reads everything again
            self.seen = self.ids.shape[1]
        if self.copies:
            self.keep(self.copies)
            logits, self.copies = logits[self.copies], []
        places = [place for place, left in enumerate(self.waiting) if not left]
        return places, logits if len(places) == len(self.waiting) else logits[places]

    def add(self, places: Sequence[int], tokens: Tensor) -> None:
        """Append a token to each row.

        Args:
            places: rows whose prompt is complete.
            tokens: [R'] of these rows; the others get the next token of their prompt.
        """
        column = torch.tensor(
            [left.pop(0) if left else 0 for left in self.waiting], device=self.ids.device
        )
        column[list(places)] = tokens
        self.ids = torch.cat([self.ids, column[:, None]], 1)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(column), 1)], 1)

    def keep(self, places: Sequence[int]) -> None:
        """Keep the rows in ``places`` alone, in this order; a row may be there several times."""
        kept = torch.tensor(places, device=self.ids.device)
        for cache in self.cache.values():
            cache.reorder_cache(kept)
        self.ids, self.mask = self.ids[kept], self.mask[kept]
        self.waiting = [self.waiting[place] for place in places]

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits [R, V] after the last of ``ids`` [R, T]; ``mask`` [R, L] covers the cache too."""
        from transformers import DynamicCache, EncoderDecoderCache

        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        given = {"position_ids": positions, "use_cache": True, "logits_to_keep": 1, **self.cache}
        if self.padded:  # a recurrent layer would apply the mask to the new tokens only
            given["attention_mask"] = mask
        output = self.model(
            input_ids=ids, **{name: value for name, value in given.items() if name in self.known}
        )
        # Rows cannot be removed from a model's own kind of cache, or from states inside it.
        self.cache = {
            name: output[name]
            for name in CACHES
            if type(output.get(name)) in (DynamicCache, EncoderDecoderCache)
        }
        return output.logits[:, -1]

    def _read_once(self, beginning: list[int], missing: list[int]) -> Any:
        """A cache of the common beginning of all prompts, shifted as each row needs it.

        Args:
            beginning: S ids.
            missing: [R] tokens of padding on the left of each row, by which its beginning is
                shifted to the right. Tokens that this moves beyond column S are read by the row.
        """
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

        once, cache = (DynamicCache(config=self.model.config) for _ in range(2))
        once.layers = [  # a sliding window would drop keys that shifted rows still see
            DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer
            for layer in once.layers
        ]
        ids = torch.tensor([beginning], device=self.model.device)
        self.cache = {CACHES[0]: once}
        self._forward(ids, torch.ones_like(ids))
        shift = torch.tensor(missing, device=ids.device)[:, None]  # [R, 1]
        source = (torch.arange(len(beginning), device=ids.device) - shift).clamp(min=0)  # [R, S]
        for layer, filled in zip(once.layers, cache.layers, strict=True):
            if isinstance(layer, DynamicLayer) and isinstance(filled, DynamicLayer):
                if layer.keys is None or layer.values is None:  # it shares those of another layer
                    continue
                both = (kept[0][:, source].transpose(0, 1) for kept in (layer.keys, layer.values))
                filled.update(*both)  # [R, H, S, D]
        return cache


def is_paddable(model: Any) -> bool:
    """Whether padding on the left leaves the model's logits unchanged.

    It does where the cache holds keys and values only, and forward takes a mask and positions.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

    known = inspect.signature(model.forward).parameters
    if model._is_stateful or not {"attention_mask", "position_ids", CACHES[0]} <= set(known):
        return False
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer, DummyLayer}


def _shared(prompts: list[list[int]]) -> int:
    """Length of the common beginning, at least one token less than each prompt; 0 if short."""
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    count = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, columns))
    return count if len(prompts) > 1 and count >= SHARED_FROM else 0
