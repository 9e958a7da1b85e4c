"""Recall of images by captions and of captions by images, as on Flickr30k and COCO.

Text to image: the share of captions whose image is among the first k images. Image to text: the share of images
with a caption among the first k captions (Karpathy and Fei-Fei 2015; torchmetrics calls this a hit rate: its recall
would be the share of an image's captions). Ties: see `openmofi.evaluation.metrics.ranking`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import Index, Ints, checked_embeddings, ranks_of


def first_ranks(images: ArrayLike, texts: ArrayLike, image_of: ArrayLike) -> tuple[Ints, Ints]:
    """Rank captions for each image, and images for each caption, by cosine.

    Args:
        images: (n, d) L2-normalised.
        texts: (m, d) L2-normalised.
        image_of: (m,) row of each caption's image.

    Returns:
        (n,) rank from 1 of each image's first own caption, and (m,) rank from 1 of each caption's image.

    Raises:
        OpenMofiError: an image without a caption, or embeddings that are not normalised.
    """
    vectors, captions = checked_embeddings(images), checked_embeddings(texts, "text embeddings")
    owners = np.asarray(image_of, np.int64)
    if len(np.unique(owners)) != len(vectors):
        raise OpenMofiError("There are images without a caption.", "Leave them out.")
    order = np.argsort(owners, kind="stable")
    own = np.split(order, np.flatnonzero(np.diff(owners[order])) + 1)
    return _first(vectors, captions, own), _first(captions, vectors, list(owners[:, None]))


def _first(queries: np.ndarray, database: np.ndarray, positives: list[Ints]) -> Ints:
    """(q,) rank of each query's first positive; `positives`: (q,) rows of `database`, ascending."""
    return np.array(
        [
            ranks_of(scores, positives[query]).min()
            for start, block in Index.of(database).blocks(queries)
            for query, scores in enumerate(block, start)
        ],
        np.int64,
    )
