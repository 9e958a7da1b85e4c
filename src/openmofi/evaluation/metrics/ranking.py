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
"""Memory of a block of scores."""

_NORM_TOLERANCE = 1e-2
_FEW = 24


def checked_embeddings(embeddings: ArrayLike, what: str = "embeddings") -> Floats:
    """(n, d) float32 of L2-normalised rows (to 1 %, since float16 stores them).

    Raises:
        OpenMofiError: another shape, a number that is not finite, or rows that are not normalised.
    """
    values = np.ascontiguousarray(embeddings, np.float32)
    if values.ndim != 2 or not values.size:
        raise OpenMofiError(f"The {what} have the shape {values.shape}; they must be (n, d) and not empty.")
    # `np.linalg.norm` would hold the squares of all, as much memory again.
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
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
    """Database vectors, in which equal ones get equal scores.

    Attributes:
        vectors: (n, d); not copied.
        repeats: (r,) rows that are equal to an earlier one.
        originals: (r,) the first row that each of them is equal to.
    """

    vectors: Floats
    repeats: Ints
    originals: Ints

    @classmethod
    def of(cls, embeddings: Floats) -> Index:
        """Find the rows that repeat earlier ones."""
        first: dict[bytes, int] = {}
        repeats, originals = [], []
        for number, row in enumerate(embeddings):
            # Adding zero makes -0.0 the same as 0.0.
            digest = hashlib.blake2b((row + 0).tobytes(), digest_size=16).digest()
            original = first.setdefault(digest, number)
            if original != number:
                repeats.append(number)
                originals.append(original)
        return cls(embeddings, np.array(repeats, np.int64), np.array(originals, np.int64))

    def scores(self, queries: Floats) -> Floats:
        """(q, n) cosines."""
        found = queries @ self.vectors.T
        if len(self.repeats):
            found[:, self.repeats] = found[:, self.originals]
        return found

    def blocks(self, queries: Floats, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Floats]]:
        """(first query, scores (rows, n)) for blocks of queries in order."""
        rows = max(1, block_bytes // (4 * len(self.vectors)))
        for start in range(0, len(queries), rows):
            yield start, self.scores(queries[start : start + rows])


def ranks_of(scores: Floats, places: Ints) -> Ints:
    """Ranks from 1 of some places of one query's ranking; exact, ties by place.

    Few places are counted past, one by one; for many the scores are sorted once, values only, which is an order of
    magnitude faster than sorting places.

    Args:
        scores: (n,) of the query.
        places: (p,) places in the index, ascending.

    Returns:
        (p,) in the order of `places`.
    """
    wanted = scores[places]
    if len(places) <= _FEW:
        count = np.count_nonzero
        return np.array([1 + count(scores > score) + count(scores[:place] == score)
                         for score, place in zip(wanted, places.tolist(), strict=True)], np.int64)
    ascending = np.sort(scores)
    above = len(scores) - np.searchsorted(ascending, wanted, "right")
    equal = len(scores) - above - np.searchsorted(ascending, wanted, "left")
    ranks = (above + 1).astype(np.int64)
    for number in np.flatnonzero(equal > 1):
        ranks[number] += np.count_nonzero(scores[: places[number]] == wanted[number])
    return ranks


def nearest_places(scores: Floats, count: int) -> tuple[Ints, Floats]:
    """The first `count` of each ranking: (q, n) scores → (q, count) places and scores; ties by place.

    By a partial sort: nothing beyond the first `count` is ordered.
    """
    count = min(count, scores.shape[1])
    places = np.empty((len(scores), count), np.int64)
    for row, values in enumerate(scores):
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > least)
        chosen = np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])
        places[row] = chosen[np.lexsort((chosen, -values[chosen]))]
    return places, np.take_along_axis(scores, places, axis=1)
