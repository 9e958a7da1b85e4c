"""Weighted nearest neighbours, as DINO and DINOv2 evaluate frozen features (dinov2/eval/knn.py).

Of a query's K = max(k) nearest training images by cosine, the similarities divided by the temperature go through a
softmax over all K; for each k the weights of the first k are added up by class, and the class of the greatest sum is
the answer (of equal sums the first class).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.errors import UsageError
from openmofi.evaluation.metrics.ranking import BLOCK_BYTES, Floats, Index, Ints, checked_embeddings, nearest_places

NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURE = 0.07


@dataclass(frozen=True)
class Neighbours:
    """What `nearest_neighbours` found.

    Attributes:
        answers: k → (queries,) class.
        places: (queries, K) the neighbours' places in the training set, nearest first.
        similarities: (queries, K) their cosines.
    """

    answers: dict[int, Ints]
    places: Ints
    similarities: Floats


def nearest_neighbours(train: ArrayLike, labels: ArrayLike, queries: ArrayLike, *, k: Sequence[int] = NEIGHBOURS,
                       temperature: float = TEMPERATURE, block_bytes: int = BLOCK_BYTES) -> Neighbours:
    """Classify each query.

    Args:
        train, queries: (n, d) and (m, d), L2-normalised.
        labels: (n,) classes from 0.
        k: numbers of neighbours.
        temperature: divides similarities.
        block_bytes: memory of a block of scores.

    Raises:
        UsageError: fewer training images than the greatest k.
        OpenMofiError: embeddings that are not normalised.
    """
    base, asked = checked_embeddings(train, "training embeddings"), checked_embeddings(queries, "query embeddings")
    classes = np.asarray(labels, np.int64)
    most = max(k)
    if most > len(base):
        fits = [str(one) for one in k if one <= len(base)]
        raise UsageError(f"k = {most} neighbours cannot be found among {len(base)} training images.",
                         f"Set e.g. k={','.join(fits) or '1'}.")
    if min(k) < 1 or temperature <= 0:
        raise UsageError("k must be at least 1, and the temperature above 0.")
    places = np.empty((len(asked), most), np.int64)
    scores = np.empty((len(asked), most), np.float32)
    for start, (rows, found) in _blocks(base, asked, most, block_bytes):
        places[start : start + len(rows)], scores[start : start + len(rows)] = rows, found
    weights = np.exp((scores - scores[:, :1]).astype(np.float64) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    answers = {one: _votes(classes[places[:, :one]], weights[:, :one]) for one in sorted(set(k))}
    return Neighbours(answers, places, scores)


def _blocks(base: Floats, asked: Floats, most: int, block_bytes: int) -> Iterator[tuple[int, tuple[Ints, Floats]]]:
    for start, scores in Index.of(base).blocks(asked, block_bytes):
        yield start, nearest_places(scores, most)


def _votes(classes: Ints, weights: NDArray[np.float64]) -> Ints:
    """(m, k) classes and weights → (m,) the class of the greatest sum."""
    answers = np.empty(len(classes), np.int64)
    for row, (names, weight) in enumerate(zip(classes, weights, strict=True)):
        distinct, of = np.unique(names, return_inverse=True)
        answers[row] = distinct[np.bincount(of, weights=weight).argmax()]
    return answers
