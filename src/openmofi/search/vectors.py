"""Finding the nearest vectors: a small protocol, and the exact search that needs nothing but NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from openmofi.arrays import Array, Bools, Floats, Ints

_ROWS = 16_384
_NO_SIGN_COPIES, _BIAS = np.int32(-0x70000001), np.float32(2.0 ** (127 - 15))


@dataclass(frozen=True)
class Effort:
    """What a query looks at.

    Attributes:
        value: cells that are looked into (`nprobe` of FAISS).
        recall: share of the ten nearest that were found with it, of the kind of query with the least.
        queries: by how many it was measured.
        vectors: how many there were.
    """

    value: int
    recall: float
    queries: int
    vectors: int


class VectorIndex(Protocol):
    """Searches L2-normalised vectors by inner product; a position is a row of the vectors that it was made of."""

    @property
    def name(self) -> str:
        """`exact`, FAISS's factory string, or pgvector's."""

    @property
    def effort(self) -> Effort | None:
        """How far a query looks, and what it finds so; `None` where that was not measured, or all are compared."""

    def __len__(self) -> int:
        """How many vectors it holds."""

    def search(self, queries: Array, count: int, allowed: Bools | None = None) -> tuple[Array, Ints]:
        """The nearest of each query.

        Args:
            queries: (q, dim) float32, L2-normalised.
            count: k, how many.
            allowed: (n,) which positions may be found; all where not given.

        Returns:
            (q, k) float32 cosines, falling, and (q, k) int64 positions; −inf and −1 where there are fewer.
        """


class Vectors(VectorIndex, Protocol):
    """The vectors themselves."""

    def scores(self, queries: Array) -> Array:
        """(q, n) float32 cosines of all."""

    def rows(self, positions: Ints) -> Array:
        """(n, dim) float32 vectors at positions."""


@dataclass(frozen=True)
class Exact:
    """Compares a query with every vector, in blocks; the reference that others are measured against.

    Attributes:
        parts: (m, dim) each, one behind another.
    """

    parts: Sequence[Floats]

    @property
    def name(self) -> str:
        """See `VectorIndex.name`."""
        return "exact"

    @property
    def effort(self) -> None:
        """See `VectorIndex.effort`."""

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def scores(self, queries: Array) -> Array:
        """See `Vectors.scores`."""
        if not len(self):
            return np.zeros((len(queries), 0), np.float32)
        return np.concatenate(
            [
                queries @ part[start : start + _ROWS].astype(np.float32).T
                for part in self.parts
                for start in range(0, len(part), _ROWS)
            ],
            axis=1,
        )

    def rows(self, positions: Ints) -> Array:
        """See `Vectors.rows`."""
        if len(self.parts) == 1:
            return as_floats(self.parts[0][positions])
        ends = np.cumsum([len(part) for part in self.parts])
        part = np.searchsorted(ends, positions, side="right")
        dim = self.parts[0].shape[1] if self.parts else 0
        result = np.empty((len(positions), dim), np.float32)
        for number in np.unique(part):
            chosen = part == number
            result[chosen] = as_floats(self.parts[number][positions[chosen] - (ends[number] - len(self.parts[number]))])
        return result

    def search(self, queries: Array, count: int, allowed: Bools | None = None) -> tuple[Array, Ints]:
        """See `VectorIndex.search`."""
        if allowed is None:
            return best(self.scores(queries), count)
        positions = np.flatnonzero(allowed)
        scores, places = best(queries @ self.rows(positions).T, count)
        return scores, np.where(places < 0, -1, positions[places] if len(positions) else -1)


def as_floats(vectors: Floats) -> Array:
    """The same finite values as float32; of float16 in half the time of NumPy's own conversion: sign, exponent and
    mantissa are moved to where float32 has them, and the exponent's bias made up for.
    """
    if vectors.dtype != np.float16:
        return vectors.astype(np.float32)
    bits = vectors.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _NO_SIGN_COPIES
    floats: Array = bits.view(np.float32)
    floats *= _BIAS
    return floats


def best(scores: Array, count: int) -> tuple[Array, Ints]:
    """(q, n) scores → the (q, count) best, falling, and their places; equal ones by place; −inf and −1 at the end."""
    kept = min(count, scores.shape[1])
    values, places = np.full((len(scores), count), -np.inf, np.float32), np.full((len(scores), count), -1, np.int64)
    for number, row in enumerate(scores):
        places[number, :kept] = _best_places(row, kept)
        values[number, :kept] = row[places[number, :kept]]
    return values, places


def _best_places(scores: Array, count: int) -> Ints:
    """Of equal scores at the end of the list those that come first, which a partition alone does not see to."""
    if count in (0, len(scores)):
        return np.argsort(-scores, kind="stable")[:count]
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > least)
    chosen = np.concatenate([above, np.flatnonzero(scores == least)[: count - len(above)]])
    return chosen[np.lexsort((chosen, -scores[chosen]))]
