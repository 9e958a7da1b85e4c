"""Exact ranking by cosine, block by block; the matrix of all scores is never held.

Ties: of equal scores the one that stands first in the index ranks first, as in a stable argsort of the negated scores.
Scores are float32 products; equal embeddings get equal scores to the bit (matrix products alone do not give that: the
order of additions depends on a column's place), so that duplicates tie. Scores that are equal only on paper may differ
in the last bit and then are no tie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.errors import OpenMofiError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
BLOCK_BYTES = 32 << 20
"""Memory of a block of scores; a block and its sorted copy are held at once."""

_NORM_TOLERANCE = 1e-2


def checked_embeddings(embeddings: ArrayLike, what: str = "embeddings") -> Floats:
    """(n, d) float32 of L2-normalised rows (to 1 %, since float16 stores them).

    Raises:
        OpenMofiError: another shape, a number that is not finite, or rows that are not normalised.
    """
    values = np.ascontiguousarray(embeddings, np.float32)
    if values.ndim != 2 or not values.size:
        raise OpenMofiError(f"The {what} have the shape {values.shape}; they must be (n, d) and not empty.")
    lengths = np.linalg.norm(values, axis=1)
    wrong = ~(np.abs(lengths - 1) <= _NORM_TOLERANCE)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise OpenMofiError(f"{int(wrong.sum())} of {len(values)} {what} are not L2-normalised: row {row} has the "
                            f"length {lengths[row]:.4g}.", "This protocol ranks by cosine: normalise them first.")
    return values


@dataclass(frozen=True)
class Classes:
    """Rows by class.

    Attributes:
        names: (classes,) the distinct labels, sorted.
        of: (n,) code of each row's class.
        rows: (n,) rows ordered by class, then by place; class c has `rows[starts[c]:starts[c + 1]]`.
        starts: (classes + 1,).
    """

    names: NDArray[Any]
    of: Ints
    rows: Ints
    starts: Ints

    @classmethod
    def group(cls, labels: ArrayLike, count: int) -> Classes:
        """Group `count` labels of any sortable type.

        Raises:
            OpenMofiError: there are more or fewer.
        """
        values = np.asarray(labels)
        if values.shape != (count,):
            raise OpenMofiError(f"There are {count} embeddings, and labels of the shape {values.shape}.",
                                "Give one class for each embedding.")
        names, of = np.unique(values, return_inverse=True)
        codes = of.astype(np.int64)
        sizes = np.bincount(codes, minlength=len(names))
        return cls(names, codes, np.argsort(codes, kind="stable").astype(np.int64),
                   np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    def members(self, row: int) -> Ints:
        """The rows of the class of `row`, itself among them, in ascending order."""
        code = self.of[row]
        return self.rows[self.starts[code] : self.starts[code + 1]]


@dataclass(frozen=True)
class Index:
    """Database vectors, equal ones stored once.

    Attributes:
        vectors: (distinct, d).
        place: (n,) row of `vectors` for each database row; `None` where all are distinct.
        size: n.
    """

    vectors: Floats
    place: Ints | None
    size: int

    @classmethod
    def of(cls, embeddings: Floats) -> Index:
        """Store each distinct row once."""
        first: dict[bytes, int] = {}
        place = np.empty(len(embeddings), np.int64)
        kept: list[int] = []
        for number, row in enumerate(embeddings):
            # Adding zero makes -0.0 the same as 0.0.
            digest = hashlib.blake2b((row + 0).tobytes(), digest_size=16).digest()
            place[number] = first.setdefault(digest, len(first))
            if place[number] == len(kept):
                kept.append(number)
        if len(kept) == len(embeddings):
            return cls(embeddings, None, len(embeddings))
        return cls(embeddings[kept], place, len(embeddings))

    def scores(self, queries: Floats) -> Floats:
        """(q, n) cosines."""
        found = queries @ self.vectors.T
        return found if self.place is None else found[:, self.place]

    def blocks(self, queries: Floats, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Floats]]:
        """(first query, scores (rows, n)) for blocks of queries in order."""
        rows = max(1, block_bytes // (4 * self.size))
        for start in range(0, len(queries), rows):
            yield start, self.scores(queries[start : start + rows])


def ranks_of(scores: Floats, ascending: Floats, places: Ints) -> Ints:
    """Ranks from 1 of some places of one query's ranking; exact, ties by place.

    Args:
        scores: (n,) of the query.
        ascending: `np.sort(scores)`; sorting values alone is an order of magnitude faster than sorting places.
        places: (p,) places in the index, ascending.

    Returns:
        (p,) in the order of `places`.
    """
    wanted = scores[places]
    above = len(scores) - np.searchsorted(ascending, wanted, "right")
    equal = len(scores) - above - np.searchsorted(ascending, wanted, "left")
    ranks = (above + 1).astype(np.int64)
    for number in np.flatnonzero(equal > 1):
        ranks[number] += np.count_nonzero(scores[: places[number]] == wanted[number])
    return ranks
