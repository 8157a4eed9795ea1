"""One way to turn a run's seed and a place in it into the seed of a single draw."""

import hashlib

_BITS = 63  # torch.Generator takes a signed 64-bit seed


def derive_seed(*parts: str | int) -> int:
    """Seed of one draw, a pure function of its place: ``(seed, round, item, "answer")``, say.

    Args:
        parts: whatever names the draw; order matters, and ``1`` differs from ``"1"``.

    Returns:
        An integer in [0, 2**63).
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _BITS)
