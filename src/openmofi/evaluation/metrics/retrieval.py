"""Image retrieval: every image is a query, images of its class are its positives.

Two conventions, which differ much and are never mixed; with ranks from 1 and R positives of a query:

- `map_incl_query`: GPR1200's official one. The query stays in the index and is one of its positives:
  AP = 1/R Σ_{i=1..R} i / rank_i over the class's R images (Schall et al., GPR1200, MMM 2022; there R = 10), here for
  classes of any size. The query is ranked by its score like all other images. An image that is alone in its class
  counts, with itself as its only positive.
- `map_excl_query`: the query is removed from its own ranking: AP = 1/(R − 1) Σ_{i=1..R−1} i / rank_i. Images that are
  alone in their class have no positive: they are not queries, are counted, and stay in the index. This is average
  precision as in scikit-learn, not MAP@R.
- `recall_at_K_excl_query`: the share of the same queries with a positive among their first K others.

Both precisions use the full ranking. Ties: see
`openmofi.evaluation.metrics.ranking`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.bootstrap import RESAMPLES, Interval, bootstrap_interval
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import BLOCK_BYTES, CosineIndex, checked_embeddings, ranks_of

# The general way ranks blocks of complete rows. Where the images lie class by class, no class is large and no embedding
# repeats, the symmetry of the cosine halves the product, which costs most: a stripe of rows is multiplied with itself
# and the rows after it, and counts for its own queries and for the later ones. What a query's positives score is known
# before, from products within the stripes.

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
    index, sizes = CosineIndex.of(vectors), np.bincount(class_of)
    if len(index.repeats) or sizes.max() > _LARGEST_CLASS or (np.diff(class_of) < 0).any():
        return _by_rows(index, class_of, block_bytes)
    return _by_symmetry(vectors, sizes, block_bytes)


def _by_rows(index: CosineIndex, class_of: Ints, block_bytes: int) -> Iterator[tuple[int, Ints, Ints]]:
    members_of = np.split(np.argsort(class_of, kind="stable"), np.cumsum(np.bincount(class_of))[:-1])
    for start, scores in index.blocks(index.vectors, block_bytes):
        for query, of_query in enumerate(scores, start):
            members = members_of[class_of[query]]
            yield query, members, ranks_of(of_query, members)


def _by_symmetry(vectors: Floats, sizes: Ints, block_bytes: int) -> Iterator[tuple[int, Ints, Ints]]:
    count, bounds = len(vectors), np.concatenate([[0], np.cumsum(sizes)])
    stripes = _stripes(bounds, max(int(sizes.max()), min(_LONGEST_STRIPE, block_bytes // (4 * count))))
    member_scores = _own_scores(vectors, bounds, stripes, int(sizes.max()))
    # Earlier rows with a higher score, or with the same: ties go by row.
    above = np.zeros(member_scores.shape, np.int64)
    for stripe in stripes:
        start, stop = int(stripe[0]), int(stripe[-1])
        scores = vectors[start:stop] @ vectors[start:].T
        later = scores[:, stop - start :]
        for member in range(len(member_scores)):
            above[member, stop:] += (later >= member_scores[member, stop:]).view(np.uint8).sum(axis=0, dtype=np.uint8)
        for first, last in zip(stripe[:-1].tolist(), stripe[1:].tolist(), strict=True):
            members, columns = np.arange(first, last), np.arange(first - start, last - start)
            scores[first - start : last - start, columns] = member_scores[: last - first, first:last].T
            for query in range(first, last):
                yield query, members, 1 + above[: last - first, query] + _above(scores[query - start], columns)


def _stripes(bounds: Ints, longest: int) -> list[Ints]:
    """Bounds of whole classes, cut so that a stripe has at most `longest` rows; stripes share their outer bounds."""
    stripes, first = [], 0
    while first < len(bounds) - 1:
        last = int(np.searchsorted(bounds, bounds[first] + longest, "right")) - 1
        stripes.append(bounds[first : last + 1])
        first = last
    return stripes


def _own_scores(vectors: Floats, bounds: Ints, stripes: list[Ints], largest: int) -> Floats:
    """(largest, n) score of the first, second … member of its class for each query; infinite after the last."""
    result = np.full((largest, bounds[-1]), np.inf, np.float32)
    for stripe in stripes:
        start = int(stripe[0])
        rows = vectors[start : int(stripe[-1])]
        scores = rows @ rows.T
        for first, last in zip(stripe[:-1].tolist(), stripe[1:].tolist(), strict=True):
            result[: last - first, first:last] = scores[first - start : last - start, first - start : last - start].T
    return result


def _above(scores: Floats, columns: Ints) -> Ints:
    """How many of a query's scores are above each of those at `columns`, or the same and before it."""
    count = np.count_nonzero
    return np.array(
        [count(scores > scores[column]) + count(scores[:column] == scores[column]) for column in columns.tolist()],
        np.int64,
    )


RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class RetrievalResult:
    """The outcome of `evaluate_retrieval`. Intervals: 95 %, bootstrap over classes.

    Attributes:
        map_incl_query, map_excl_query, recall_at_excl_query: see the module; recall by K, ascending.
        images, classes: their number in the index.
        queries_without_positives: images alone in their class, which the `excl` metrics leave out.
        ap_incl_query: (images,) of each query.
        ap_excl_query: (images,); NaN for those without positives.
        first_excl_query: (images,) rank of the first positive without the query; 0 for those without positives.
        class_of: (images,) code of each image's class, in the sorted order of the labels; the groups for a
            `paired_bootstrap` of two encoders.
    """

    map_incl_query: float
    map_incl_query_interval: Interval
    map_excl_query: float
    map_excl_query_interval: Interval
    recall_at_excl_query: Mapping[int, float]
    images: int
    classes: int
    queries_without_positives: int
    ap_incl_query: Doubles
    ap_excl_query: Doubles
    first_excl_query: Ints
    class_of: Ints

    def as_dict(self) -> dict[str, Any]:
        """JSON values, without the arrays."""
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if not isinstance(value, np.ndarray | Mapping)
        }
        return values | {f"recall_at_{k}_excl_query": value for k, value in self.recall_at_excl_query.items()}


def evaluate_retrieval(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    recall_at: Sequence[int] = RECALLS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    block_bytes: int = BLOCK_BYTES,
) -> RetrievalResult:
    """Rank all images for each of them, by cosine.

    Args:
        embeddings: (n, d) L2-normalised; ranked as float32.
        labels: (n,) the class of each, of any sortable type.
        recall_at: the K of recall.
        resamples, seed: see `bootstrap_interval`.
        block_bytes: memory of a block of scores; changes results by float32 rounding at most.

    Raises:
        OpenMofiError: embeddings that are not normalised, labels that do not fit, or no class with two images.
    """
    vectors = checked_embeddings(embeddings)
    values = np.asarray(labels)
    if values.shape != (len(vectors),):
        raise OpenMofiError(
            f"There are {len(vectors)} embeddings, and labels of the shape {values.shape}.",
            "Give one class for each embedding.",
        )
    names, class_of = np.unique(values, return_inverse=True)
    if len(names) == len(vectors):
        raise OpenMofiError(
            "No class has two images, so no query has a positive.", "Give at least two images of a class."
        )
    incl, excl, first = _precisions(vectors, class_of, block_bytes)
    has_positives = ~np.isnan(excl)
    return RetrievalResult(
        map_incl_query=float(incl.mean()),
        map_incl_query_interval=bootstrap_interval(incl, class_of, resamples=resamples, seed=seed),
        map_excl_query=float(excl[has_positives].mean()),
        map_excl_query_interval=bootstrap_interval(excl, class_of, resamples=resamples, seed=seed),
        recall_at_excl_query={k: float((first[has_positives] <= k).mean()) for k in sorted(set(recall_at))},
        images=len(vectors),
        classes=len(names),
        queries_without_positives=int((~has_positives).sum()),
        ap_incl_query=incl,
        ap_excl_query=excl,
        first_excl_query=first,
        class_of=class_of,
    )


def _precisions(
    vectors: Floats,
    class_of: Ints,
    block_bytes: int,
) -> tuple[Doubles, Doubles, Ints]:
    """(n,) AP with and without the query, and the rank of the first positive without it (0 where there is none)."""
    incl, excl = np.empty(len(vectors)), np.full(len(vectors), np.nan)
    first = np.zeros(len(vectors), np.int64)
    for query, members, ranks in class_ranks(vectors, class_of, block_bytes):
        own_rank = ranks[np.searchsorted(members, query)]
        ranks.sort()
        incl[query] = average_precision(ranks)
        if len(ranks) > 1:
            others = ranks[ranks != own_rank]
            # Without the query, all later images move up by one.
            others -= others > own_rank
            excl[query], first[query] = average_precision(others), others[0]
    return incl, excl, first


def average_precision(ranks: Ints) -> float:
    """Mean of i / rank_i over the ranks (from 1, ascending, distinct) of all positives of a query."""
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / len(ranks))
