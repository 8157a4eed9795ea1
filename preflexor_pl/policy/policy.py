"""The model in training: one copy of the weights, policy with adapters on, base with them off."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from losses import PairLogps
from losses.logps import sum_pairs, token_logps
from preflexor_pl.batches.collate import PairBatch
from preflexor_pl.core.chat import end_of_turn_id
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.inert import make_inert
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy.adapters import attach_lora
from preflexor_pl.policy.card import write_adapter
from preflexor_pl.policy.load import find_model, load_base
from preflexor_pl.policy.markers import register_markers


class Policy(nn.Module):
    """Weights, tokenizer and markers of the model that is trained.

    Args:
        settings: which model, and how it is held.
        seed: of the adapters' first values.

    Attributes:
        model: the peft model.
        tokenizer: with the markers registered.
        markers: ids of the four markers.
        stop_ids: ids that end the model's turn.

    Raises:
        ConfigError: the model cannot be had, or a marker row would get no gradient.
    """

    def __init__(self, settings: PolicySettings, seed: int = 0) -> None:
        super().__init__()
        self.settings = settings
        self.source = find_model(settings.model_name)
        base, self.tokenizer = load_base(settings, self.source)
        self.markers, self.new_ids = register_markers(base, self.tokenizer, settings.add_tokens)
        self.trained_rows = [self.markers.think_start, self.markers.think_end]
        self.end_id = end_of_turn_id(self.tokenizer)
        if self.end_id is None:
            raise ConfigError(
                f"{settings.model_name}: its tokenizer has no token that ends a turn: set eos_token"
            )
        self.stop_ids = frozenset({self.end_id, self.tokenizer.eos_token_id} - {None})
        self.pad_id = self.end_id  # any id does: masks come from lengths, never from the pad id
        start = derive_seed(seed, "lora")
        self.model: Any = attach_lora(base, settings.lora, self.trained_rows, start)

    @property
    def inner(self) -> Any:
        """The transformers model itself, with the adapters' layers in place."""
        return self.model.get_base_model()

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
        """Longest sequence that the model was made for."""
        config = self.inner.config
        return getattr(config.get_text_config(), "max_position_embeddings", None) or 2**31

    def logps(self, batch: PairBatch) -> PairLogps:
        """Summed log-probs of the supervised tokens of each side of each pair.

        Args:
            batch: B pairs on the policy's device.

        Returns:
            PairLogps in float32, differentiable in the trained weights.
        """
        # Columns before every row's first target need no logits: most prompts are longer than 1.
        first = int(batch.first_target)
        keep = batch.labels.shape[1] - first + 1
        output = self.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            use_cache=False,
            logits_to_keep=keep,
        )
        targets = batch.labels[:, first:]  # [2B, K]
        logits = output.logits[:, :-1]  # [2B, K, V]
        logps = token_logps(logits.flatten(0, 1), targets.flatten()).view_as(targets)
        return sum_pairs(logps, targets)

    def decode(self, ids: list[int]) -> str:
        """Text of a response: markers as strings where they were emitted as ids, the rest inert."""
        names = {i: self.tokenizer.convert_ids_to_tokens(i) for i in self.marker_ids}
        parts: list[str] = []
        plain: list[int] = []
        for token in [*ids, None]:
            if token is not None and token not in names:
                plain.append(token)
                continue
            text = self.tokenizer.decode(plain, skip_special_tokens=True)
            parts.append(make_inert(text, self.special_strings))
            plain = []
            if token is not None:
                parts.append(names[token])
        return "".join(parts)

    @property
    def special_strings(self) -> list[str]:
        """Every string that this tokenizer would read as a control token."""
        return [str(t) for t in self.tokenizer.all_special_tokens] + [
            token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special
        ]

    def save_adapter(self, folder: Path) -> None:
        """Save what trains, with tokenizer and card; plain peft and transformers can load it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_adapter(self, folder)

    def check_gradients(self) -> None:
        """Refuse a model whose trained marker rows would get no gradient.

        Raises:
            ConfigError: names the rows.
        """
        ids = torch.tensor([self.trained_rows], device=self.device)
        with torch.enable_grad():
            self.model(input_ids=ids, use_cache=False).logits[
                ..., self.trained_rows
            ].sum().backward()
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        missing = [
            name for name, p in trained if p.grad is None or ("token" in name and not p.grad.any())
        ]
        self.zero_grad(set_to_none=True)
        if missing:
            raise ConfigError(f"these weights would get no gradient: {', '.join(missing)[:200]}")
