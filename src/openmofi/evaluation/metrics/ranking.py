"""Exact ranking and nearest neighbours by cosine, in blocks; the matrix of all scores never exists.

Ties: of equal scores the first row of the index ranks first, as in a stable argsort of the negated scores. Scores are
float32 products. Equal embeddings get bitwise equal scores, so that duplicates tie; matrix products alone do not ensure
that, since the order of additions depends on the column. Scores that are equal only in exact arithmetic may differ in
the last bit and are no tie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.arrays import Floats, Ints
from openmofi.errors import OpenMofiError, UsageError

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
class CosineIndex:
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
    def of(cls, embeddings: Floats) -> CosineIndex:
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
    row_scores = scores[rows]
    if len(rows) <= _FEW:
        count = np.count_nonzero
        return np.array(
            [
                1 + count(scores > score) + count(scores[:row] == score)
                for score, row in zip(row_scores, rows.tolist(), strict=True)
            ],
            np.int64,
        )
    ascending = np.sort(scores)
    above = len(scores) - np.searchsorted(ascending, row_scores, "right")
    equal = len(scores) - above - np.searchsorted(ascending, row_scores, "left")
    ranks = (above + 1).astype(np.int64)
    for number in np.flatnonzero(equal > 1):
        ranks[number] += np.count_nonzero(scores[: rows[number]] == row_scores[number])
    return ranks


def own_ranks(scores: NDArray[Any], rows: Ints) -> Ints:
    """Rank from 1 of one row of the index for each query; ties by row.

    Args:
        scores: (q, n).
        rows: (q,).
    """
    row_scores = np.take_along_axis(scores, rows[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < rows[:, None]
    return np.asarray(1 + ((scores > row_scores) | ((scores == row_scores) & earlier)).sum(axis=1), np.int64)


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


# The similarities of a query's K = max(k) nearest training images (by cosine), divided by the temperature, go through a
# softmax over all K. For each k the weights of the first k are summed by class; the class of the largest sum is the
# answer (the first of equal ones).

NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURE = 0.07


@dataclass(frozen=True)
class Neighbours:
    """The outcome of `nearest_neighbours`.

    Attributes:
        answers: k → (queries,) class.
        rows: (queries, K) the neighbours' rows in the training set, nearest first.
        similarities: (queries, K) their cosines.
    """

    answers: dict[int, Ints]
    rows: Ints
    similarities: Floats


def nearest_neighbours(
    train: ArrayLike,
    labels: ArrayLike,
    queries: ArrayLike,
    *,
    k: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    block_bytes: int = BLOCK_BYTES,
) -> Neighbours:
    """Classify each query.

    Args:
        train, queries: (n, d) and (m, d), L2-normalised.
        labels: (n,) classes from 0.
        k: numbers of neighbours.
        temperature: divides similarities.
        block_bytes: memory of a block of scores.

    Raises:
        UsageError: fewer training images than the largest k, or a k or temperature that is not positive.
        OpenMofiError: embeddings that are not normalised.
    """
    vectors = checked_embeddings(train, "training embeddings")
    query_vectors = checked_embeddings(queries, "query embeddings")
    classes = np.asarray(labels, np.int64)
    if max(k) > len(vectors):
        fitting = [str(count) for count in k if count <= len(vectors)]
        raise UsageError(
            f"k={max(k)} neighbours is more than the {len(vectors)} training images.",
            f"Set e.g. k={','.join(fitting) or '1'}.",
        )
    if min(k) < 1 or temperature <= 0:
        raise UsageError("k must be at least 1, and temperature above 0.")
    blocks = [nearest_rows(scores, max(k)) for _, scores in CosineIndex.of(vectors).blocks(query_vectors, block_bytes)]
    rows, scores = (np.concatenate(column) for column in zip(*blocks, strict=True))
    weights = np.exp((scores - scores[:, :1]).astype(np.float64) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    answers = {count: _votes(classes[rows[:, :count]], weights[:, :count]) for count in sorted(set(k))}
    return Neighbours(answers, rows, scores)


def _votes(classes: Ints, weights: NDArray[np.float64]) -> Ints:
    """(m, k) classes and weights → (m,) the class of the largest sum."""
    answers = np.empty(len(classes), np.int64)
    for row, (names, weight) in enumerate(zip(classes, weights, strict=True)):
        distinct, codes = np.unique(names, return_inverse=True)
        answers[row] = distinct[np.bincount(codes, weights=weight).argmax()]
    return answers
