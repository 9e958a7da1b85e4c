"""Weighted nearest neighbours, as DINO and DINOv2 evaluate frozen features (dinov2/eval/knn.py).

The similarities of a query's K = max(k) nearest training images (by cosine), divided by the temperature, go through a
softmax over all K. For each k the weights of the first k are summed by class; the class of the largest sum is the
answer (the first of equal ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.arrays import Floats, Ints
from openmofi.errors import UsageError
from openmofi.evaluation.metrics.ranking import BLOCK_BYTES, Index, checked_embeddings, nearest_rows

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
    blocks = [nearest_rows(scores, max(k)) for _, scores in Index.of(vectors).blocks(query_vectors, block_bytes)]
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
