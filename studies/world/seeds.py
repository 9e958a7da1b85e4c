"""Randomness that depends on names, not on order: the same draw whatever process makes it, and when."""

from __future__ import annotations

import hashlib
import random


def seed_of(*parts: object) -> int:
    """A 64-bit seed for the named thing; parts are joined as text."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def rng_of(*parts: object) -> random.Random:
    """A generator for the named thing."""
    return random.Random(seed_of(*parts))


def share_of(*parts: object) -> float:
    """A number in [0, 1) for the named thing."""
    return seed_of(*parts) / 2**64


def pick(rng: random.Random, shares: tuple[float, ...]) -> int:
    """An index drawn with the given probabilities."""
    return rng.choices(range(len(shares)), weights=shares)[0]
