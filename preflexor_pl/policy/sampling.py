"""Draws the next token of each row of a batch, each row from its own seeded random generator.

The repetition penalty is that of CTRL (Keskar et al., 2019, arXiv:1909.05858), over the response
alone.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from preflexor_pl.core.generator import Request


class Sampler:
    """Repetition penalty, temperature, top-k, top-p, then a draw, for each row by itself.

    Args:
        requests: with their sampling settings and seeds.
        suppressed: token ids that are never drawn.
        stop_ids: token ids that are not drawn before ``min_new_tokens``.
        device: where the logits are.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        suppressed: Sequence[int],
        stop_ids: Collection[int],
        device: Any,
    ) -> None:
        self.settings = [request.sampling for request in requests]
        self.noise = [torch.Generator().manual_seed(request.seed) for request in requests]
        self.stop_ids = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
        self.drawn: list[list[int]] = [[] for _ in requests]
        self.suppressed = torch.tensor(list(suppressed), dtype=torch.long, device=device)

    def draw(self, logits: Tensor, rows: Sequence[int]) -> Tensor:
        """The next token of each row.

        Args:
            logits: [R, V], any float dtype.
            rows: [R] which request each row belongs to.

        Returns:
            [R] token ids.
        """
        logits = logits.float().index_fill(1, self.suppressed, -torch.inf)
        for place, row in enumerate(rows):
            if len(self.drawn[row]) < self.settings[row].min_new_tokens:
                logits[place, self.stop_ids] = -torch.inf
            penalty = self.settings[row].repetition_penalty
            if penalty != 1 and self.drawn[row]:
                seen = torch.tensor(self.drawn[row], device=logits.device)
                score = logits[place, seen]
                logits[place, seen] = torch.where(score > 0, score / penalty, score * penalty)
        tokens = logits.argmax(-1)
        for setting in {self.settings[row] for row in rows if self.settings[row].temperature > 0}:
            places = [place for place, row in enumerate(rows) if self.settings[row] == setting]
            index = torch.tensor(places, device=logits.device)
            k = min(setting.top_k or logits.shape[1], logits.shape[1])
            best, ids = (logits[index] / setting.temperature).topk(k)  # [R', k], descending
            probs = best.softmax(-1)
            probs[probs.cumsum(-1) - probs >= setting.top_p] = 0  # the likeliest token stays
            # argmax of p / Exp(1) is a draw from p, and each row has its own generator
            noise = torch.stack(
                [torch.empty(k).exponential_(generator=self.noise[rows[p]]) for p in places]
            )
            choice = (probs / noise.to(probs.device)).argmax(-1, keepdim=True)
            tokens[index] = ids.gather(1, choice).squeeze(1)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            self.drawn[row].append(token)
        return tokens
