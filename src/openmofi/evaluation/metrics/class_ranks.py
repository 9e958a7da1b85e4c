"""Ranks of each image's class in the ranking of all images for it, where every image is a query.

The general way ranks blocks of complete rows. Where the images lie class by class, no class is large and no embedding
repeats, the symmetry of the cosine halves the product, which costs most: a stripe of rows is multiplied with itself and
the rows after it, and counts for its own queries and for the later ones. What a query's positives score is known
before, from products within the stripes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, ranks_of

_LARGEST_CLASS = 24
_LONGEST_STRIPE = 255
"""Counts of a stripe fit into 8 bits, whose addition is the fastest."""


def class_ranks(vectors: Floats, class_of: Ints, block_bytes: int) -> Iterator[tuple[int, Ints, Ints]]:
    """(query, members, ranks) for each query in order.

    Members are the rows of the query's class, ascending, the query among them; ranks are theirs from 1, ties by row,
    see `openmofi.evaluation.metrics.ranking`.

    Args:
        vectors: (n, d) L2-normalised.
        class_of: (n,) classes from 0, each with a member.
        block_bytes: memory of a block of scores; at least the rows of a class are held.
    """
    index, sizes = Index.of(vectors), np.bincount(class_of)
    if len(index.repeats) or sizes.max() > _LARGEST_CLASS or (np.diff(class_of) < 0).any():
        return _by_rows(index, class_of, block_bytes)
    return _by_symmetry(vectors, sizes, block_bytes)


def _by_rows(index: Index, class_of: Ints, block_bytes: int) -> Iterator[tuple[int, Ints, Ints]]:
    members_of = np.split(np.argsort(class_of, kind="stable"), np.cumsum(np.bincount(class_of))[:-1])
    for start, scores in index.blocks(index.vectors, block_bytes):
        for query, of_query in enumerate(scores, start):
            members = members_of[class_of[query]]
            yield query, members, ranks_of(of_query, members)


def _by_symmetry(vectors: Floats, sizes: Ints, block_bytes: int) -> Iterator[tuple[int, Ints, Ints]]:
    count, bounds = len(vectors), np.concatenate([[0], np.cumsum(sizes)])
    stripes = _stripes(bounds, max(int(sizes.max()), min(_LONGEST_STRIPE, block_bytes // (4 * count))))
    own = _own_scores(vectors, bounds, stripes, int(sizes.max()))
    # Earlier rows with a higher score, or with the same: ties go by row.
    above = np.zeros(own.shape, np.int64)
    for stripe in stripes:
        start, stop = int(stripe[0]), int(stripe[-1])
        scores = vectors[start:stop] @ vectors[start:].T
        later = scores[:, stop - start :]
        for member in range(len(own)):
            above[member, stop:] += (later >= own[member, stop:]).view(np.uint8).sum(axis=0, dtype=np.uint8)
        for first, last in zip(stripe[:-1].tolist(), stripe[1:].tolist(), strict=True):
            members, places = np.arange(first, last), np.arange(first - start, last - start)
            scores[first - start : last - start, places] = own[: last - first, first:last].T
            for query in range(first, last):
                yield query, members, 1 + above[: last - first, query] + _above(scores[query - start], places)


def _stripes(bounds: Ints, longest: int) -> list[Ints]:
    """Bounds of whole classes, cut so that a stripe has at most `longest` rows; stripes share their outer bounds."""
    stripes, first = [], 0
    while first < len(bounds) - 1:
        last = int(np.searchsorted(bounds, bounds[first] + longest, "right")) - 1
        stripes.append(bounds[first : last + 1])
        first = last
    return stripes


def _own_scores(vectors: Floats, bounds: Ints, stripes: list[Ints], largest: int) -> Floats:
    """(largest, n) what the first, second … member of its class scores for each query; infinite after the last."""
    own = np.full((largest, bounds[-1]), np.inf, np.float32)
    for stripe in stripes:
        start = int(stripe[0])
        rows = vectors[start : int(stripe[-1])]
        scores = rows @ rows.T
        for first, last in zip(stripe[:-1].tolist(), stripe[1:].tolist(), strict=True):
            own[: last - first, first:last] = scores[first - start : last - start, first - start : last - start].T
    return own


def _above(scores: Floats, places: Ints) -> NDArray[np.int64]:
    """How many of a query's scores are above each of those at `places`, or the same and before it."""
    count = np.count_nonzero
    return np.array(
        [count(scores > scores[place]) + count(scores[:place] == scores[place]) for place in places.tolist()], np.int64
    )
