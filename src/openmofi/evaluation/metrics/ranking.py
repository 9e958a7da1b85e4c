"""Exact ranking by cosine in blocks; the matrix of all scores never exists.

Ties: of equal scores the first row of the index ranks first, as in a stable argsort of the negated scores. Scores are
float32 products. Equal embeddings get bitwise equal scores, so that duplicates tie; matrix products alone do not ensure
that, since the order of additions depends on the column. Scores that are equal only in exact arithmetic may differ in
the last bit and are no tie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.arrays import Floats, Ints
from openmofi.errors import OpenMofiError

BLOCK_BYTES = 32 << 20
"""Memory of a block of scores."""

_NORM_TOLERANCE = 1e-2
_FEW = 24


def checked_embeddings(embeddings: ArrayLike, what: str = "embeddings") -> Floats:
    """(n, d) float32 of L2-normalised rows (to 1 %, since float16 stores them).

    Raises:
        OpenMofiError: another shape, a value that is not finite, or rows that are not normalised.
    """
    values = np.ascontiguousarray(embeddings, np.float32)
    if values.ndim != 2 or not values.size:
        raise OpenMofiError(f"The {what} have the shape {values.shape}; they must be (n, d) and not empty.")
    # `np.linalg.norm` would hold all squares, as much memory again.
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
    wrong = ~(np.abs(lengths - 1) <= _NORM_TOLERANCE)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise OpenMofiError(
            f"{int(wrong.sum())} of {len(values)} {what} are not L2-normalised: row {row} has the "
            f"length {lengths[row]:.4g}.",
            "This protocol ranks by cosine; normalise them first.",
        )
    return values


@dataclass(frozen=True)
class Index:
    """Database vectors; equal vectors get equal scores.

    Attributes:
        vectors: (n, d); not copied.
        repeats: (r,) rows equal to an earlier row.
        originals: (r,) the first row that each of them equals.
    """

    vectors: Floats
    repeats: Ints
    originals: Ints

    @classmethod
    def of(cls, embeddings: Floats) -> Index:
        """Find the rows that repeat earlier rows."""
        first: dict[bytes, int] = {}
        repeats, originals = [], []
        for number, row in enumerate(embeddings):
            # Adding zero turns -0.0 into 0.0.
            digest = hashlib.blake2b((row + 0).tobytes(), digest_size=16).digest()
            original = first.setdefault(digest, number)
            if original != number:
                repeats.append(number)
                originals.append(original)
        return cls(embeddings, np.array(repeats, np.int64), np.array(originals, np.int64))

    def scores(self, queries: Floats) -> Floats:
        """(q, n) cosines."""
        scores = queries @ self.vectors.T
        if len(self.repeats):
            scores[:, self.repeats] = scores[:, self.originals]
        return scores

    def blocks(self, queries: Floats, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Floats]]:
        """(first query, scores (rows, n)) for blocks of queries in order."""
        rows = max(1, block_bytes // (4 * len(self.vectors)))
        for start in range(0, len(queries), rows):
            yield start, self.scores(queries[start : start + rows])


def ranks_of(scores: Floats, rows: Ints) -> Ints:
    """Ranks from 1 of some rows of the index for one query; exact, ties by row.

    For few rows the higher scores are counted; for many the scores are sorted once, values only, which is ten times as
    fast as sorting rows.

    Args:
        scores: (n,) of the query.
        rows: (p,) ascending.

    Returns:
        (p,) in the order of `rows`.
    """
    own = scores[rows]
    if len(rows) <= _FEW:
        count = np.count_nonzero
        return np.array(
            [
                1 + count(scores > score) + count(scores[:row] == score)
                for score, row in zip(own, rows.tolist(), strict=True)
            ],
            np.int64,
        )
    ascending = np.sort(scores)
    above = len(scores) - np.searchsorted(ascending, own, "right")
    equal = len(scores) - above - np.searchsorted(ascending, own, "left")
    ranks = (above + 1).astype(np.int64)
    for number in np.flatnonzero(equal > 1):
        ranks[number] += np.count_nonzero(scores[: rows[number]] == own[number])
    return ranks


def own_ranks(scores: NDArray[Any], rows: Ints) -> Ints:
    """Rank from 1 of one row of the index for each query; ties by row.

    Args:
        scores: (q, n).
        rows: (q,).
    """
    own = np.take_along_axis(scores, rows[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < rows[:, None]
    return np.asarray(1 + ((scores > own) | ((scores == own) & earlier)).sum(axis=1), np.int64)


def nearest_rows(scores: Floats, count: int) -> tuple[Ints, Floats]:
    """The first `count` rows of each ranking: (q, n) scores → (q, count) rows and scores; ties by row.

    A partial sort: rows after the first `count` are not ordered.
    """
    count = min(count, scores.shape[1])
    rows = np.empty((len(scores), count), np.int64)
    for query, values in enumerate(scores):
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > least)
        chosen = np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])
        rows[query] = chosen[np.lexsort((chosen, -values[chosen]))]
    return rows, np.take_along_axis(scores, rows, axis=1)
