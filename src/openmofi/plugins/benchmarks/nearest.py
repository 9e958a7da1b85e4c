"""The nearest rows of a database that comes in parts, in which queries look for listed images, and average precisions
over the first k.

There are two definitions, which differ where scores tie. With R positives of a query:

- `average_precision_at`: AP@k = 1 / min(R, k) · Σ_{i ≤ k, i relevant} P(i), image by image, as Google Landmarks v2
  has it (delf, python/datasets/google_landmarks_dataset/metrics.py);
- `tied_average_precision_at`: the same over groups of equal scores, P being the precision at the end of the group.
  That is scikit-learn's average precision over the first k times (positives among them) / min(R, k), as ILIAS has it
  (ilias-vrg/ilias, evaluation/src/dataset.py).

Ties: of equal scores the earlier row is among the first k. A product's last bit depends on the part that it was
computed in, so that duplicates in two parts may not tie.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from openmofi.arrays import Bools, Doubles, Floats, Ints
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import BLOCK_BYTES, CosineIndex, nearest_rows
from openmofi.evaluation.protocol import NEIGHBOURS_SHOWN, Answer, Failure, Features, ImageId, data_fingerprint
from openmofi.features.images import EmbeddedImages, ImageSource


class Nearest:
    """The k nearest rows of each query so far.

    Args:
        queries: (q, d) L2-normalised.
        k: how many are kept.

    Attributes:
        rows: (q, ≤ k) rows of the database, numbered over all parts, nearest first.
        scores: (q, ≤ k) their cosines.
        count: rows of the database so far.
    """

    def __init__(self, queries: Floats, k: int) -> None:
        self._queries, self._k = queries, k
        self.rows: Ints = np.zeros((len(queries), 0), np.int64)
        self.scores: Floats = np.zeros((len(queries), 0), np.float32)
        self.count = 0

    def add(self, part: Floats, block_bytes: int = BLOCK_BYTES) -> None:
        """Add (n, d) further images to the database."""
        rows, scores = [], []
        for start, block in CosineIndex.of(part).blocks(self._queries, block_bytes):
            held = slice(start, start + len(block))
            near, near_scores = nearest_rows(block, self._k)
            # What is held comes first, so that of equal scores the earlier row is kept.
            both = np.concatenate([self.rows[held], near + self.count], axis=1)
            chosen, best = nearest_rows(np.concatenate([self.scores[held], near_scores], axis=1), self._k)
            rows.append(np.take_along_axis(both, chosen, axis=1))
            scores.append(best)
        self.rows, self.scores = np.concatenate(rows), np.concatenate(scores)
        self.count += len(part)


def without_own(nearest: Nearest, own: Ints) -> tuple[Ints, Floats]:
    """(q, k − 1) rows and scores without each query's own row, or without the last where its own is not among them.

    Args:
        nearest: of k ≥ 2.
        own: (q,) the row of each query.
    """
    others = nearest.rows != own[:, None]
    others[others.all(axis=1), -1] = False
    shape = (len(own), nearest.rows.shape[1] - 1)
    return nearest.rows[others].reshape(shape), nearest.scores[others].reshape(shape)


def average_precision_at(relevant: ArrayLike, positives: int, k: int) -> float:
    """AP@k, see the module.

    Args:
        relevant: (≥ k,) or fewer, of the nearest images, the nearest first.
        positives: how many the query has in all, at least 1.
        k: how many images are looked at.
    """
    hits = np.asarray(relevant, bool)[:k]
    precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precisions[hits].sum() / min(positives, k))


def tied_average_precision_at(relevant: ArrayLike, scores: ArrayLike, positives: int, k: int) -> float:
    """AP@k over groups of equal scores, see the module.

    Args:
        relevant, scores: (≥ k,) or fewer, of the nearest images, the nearest first.
        positives, k: see `average_precision_at`.
    """
    hits, values = np.asarray(relevant, bool)[:k], np.asarray(scores)[:k]
    if not len(hits):
        return 0.0
    ends: Ints = np.flatnonzero(np.append(np.diff(values) != 0, True))
    hits_so_far = np.cumsum(hits)[ends]
    return float((np.diff(hits_so_far, prepend=0) * hits_so_far / (ends + 1)).sum() / min(positives, k))


@dataclass(frozen=True)
class Searched:
    """The nearest images of each query.

    Attributes:
        rows, scores: (q, k), see `Nearest`.
        row_of: key → row of the listed images that could be read.
        count: images of the database that could be read.
        refused: parts without their embeddings, for `Measured.images`.
        prints: fingerprint of each part.
    """

    rows: Ints
    scores: Floats
    row_of: dict[str, int]
    count: int
    refused: list[EmbeddedImages]
    prints: list[str]

    def relevant(self, positives: Sequence[Set[str]]) -> Bools:
        """Return (q, k) whether each image is among its query's positives, which are (q,) sets of keys."""
        return np.stack(
            [
                np.isin(rows, [self.row_of[key] for key in keys if key in self.row_of])
                for rows, keys in zip(self.rows, positives, strict=True)
            ]
        )


def search(features: Features, queries: Floats, sources: Sequence[ImageSource], listed: Set[str], k: int) -> Searched:
    """Stream the database and keep each query's `k` nearest.

    Args:
        features: embeds the images.
        queries: (q, d) L2-normalised.
        sources: the database, in order.
        listed: keys of the images that some query looks for.
        k: how many are kept.

    Raises:
        OpenMofiError: none of the listed images can be read.
    """
    nearest, row_of, refused, prints = Nearest(queries, k), dict[str, int](), [], []
    for part in features.stream(sources):
        row_of |= {key: row for row, key in enumerate(part.keys, nearest.count) if key in listed}
        nearest.add(part.embeddings)
        prints.append(data_fingerprint([part], [part.keys]))
        refused.append(replace(part, shards=[], keys=[], contents=[], embeddings=part.embeddings[:0].copy()))
    if not row_of:
        raise OpenMofiError(
            "None of the images that queries look for can be read.", "Check the folder of the database."
        )
    return Searched(nearest.rows, nearest.scores, row_of, nearest.count, refused, prints)


def worst(
    ids: Sequence[ImageId],
    names: Sequence[str],
    values: Doubles,
    searched: Searched,
    relevant: Bools,
    count: int,
) -> list[Failure]:
    """The queries of the lowest values, with the names of their nearest images as far as they are listed."""
    name_of = {row: key for key, row in searched.row_of.items()} if count else {}
    nearest = slice(NEIGHBOURS_SHOWN)
    return [
        Failure(
            ids[query],
            names[query],
            float(values[query]),
            [
                Answer(None, name_of.get(row, "an image that no query looks for"), float(score), bool(right))
                for row, score, right in zip(
                    searched.rows[query, nearest].tolist(),
                    searched.scores[query, nearest],
                    relevant[query, nearest],
                    strict=True,
                )
            ],
        )
        for query in np.argsort(values, kind="stable")[:count].tolist()
    ]
