"""A preference pair as token ids."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TokenizedPair:
    """A pair as ids: the prompt once, and both responses with their end of turn.

    Attributes:
        id: of the pair.
        prompt: ids up to where the model starts to answer.
        chosen: ids of the chosen response.
        rejected: ids of the rejected response.
        reference: log-prob of each token of the two responses under the reference, float32, where
            the loss needs it.
    """

    id: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    reference: tuple[Tensor, Tensor] | None = None

    @property
    def longest(self) -> int:
        """Tokens of the longer side, prompt included."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def total(self) -> int:
        """Tokens of the prompt and of both responses."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)
