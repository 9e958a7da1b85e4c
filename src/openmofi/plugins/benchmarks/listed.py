"""Shared by protocols whose queries look for listed images in a database that is read in parts."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from openmofi.arrays import Bools, Doubles, Floats, Ints
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import NEIGHBOURS_SHOWN, Answer, Failure, Features, ImageId, data_fingerprint
from openmofi.features.images import EmbeddedImages, ImageSource
from openmofi.plugins.benchmarks.nearest import Nearest


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
