"""Which entity an image shows: by the nearest labelled images, by the entities' texts, by both.

By images: each of the K nearest labelled images gives its entities the weight exp(cosine / T); an entity's share of the
total weight is its probability (as in `openmofi.evaluation.metrics.knn`, for images with several labels). By texts:
softmax of the cosines with the entities' texts, times a logit scale. By both: the weighted mean of the two
probabilities. An entity without labelled images has probability 0 by images, so results are reported apart for seen
and unseen entities.

Where all neighbours agree, their entity wins by both unless the text weight exceeds one half: a larger text weight
helps unseen entities and hurts seen ones. Entities rank by probability, of equal ones the first code first; an entity
of probability 0 is not ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, nearest_rows, own_ranks

IMAGES, TEXT, BOTH = "images", "text", "both"
_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class Recognised:
    """The outcome of `recognise`, for each way: `IMAGES`, and with texts `TEXT` and `BOTH`.

    Attributes:
        ranks: way → (queries,) rank from 1 of the true entity; 0 where it is not ranked.
        first: way → (queries, few) codes of the first answers, −1 for none, and their probabilities.
    """

    ranks: dict[str, Ints]
    first: dict[str, tuple[Ints, NDArray[np.float64]]]


def recognise(
    queries: Floats,
    true: Ints,
    count: int,
    labelled: Floats,
    codes: Sequence[Sequence[int]],
    texts: Floats | None,
    *,
    k: int,
    temperature: float,
    logit_scale: float,
    text_weight: float,
    few: int = 5,
) -> Recognised:
    """Rank the entities for each query.

    Args:
        queries: (q, d) L2-normalised.
        true: (q,) code of each query's entity; −1 for an entity that has no code.
        count: number of entities; codes are smaller.
        labelled: (n, d) the labelled images, L2-normalised.
        codes: (n,) of the entities of each labelled image.
        texts: (count, d) L2-normalised; `None`: by images alone.
        k: neighbours.
        temperature: T.
        logit_scale: multiplies cosines with texts.
        text_weight: of the probability by texts in the mean of both.
        few: number of first answers to return.
    """
    index, block = Index.of(labelled), max(1, _BLOCK_BYTES // (8 * count))
    ranks: dict[str, list[Ints]] = {}
    first: dict[str, list[tuple[Ints, NDArray[Any]]]] = {}
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        ways = {
            IMAGES: np.concatenate(
                [_shares(scores, codes, count, k, temperature) for _, scores in index.blocks(queries[rows])]
            )
        }
        if texts is not None:
            ways[TEXT] = softmax((queries[rows] @ texts.T).astype(np.float64) * logit_scale, axis=1)
            ways[BOTH] = (1 - text_weight) * ways[IMAGES] + text_weight * ways[TEXT]
        for way, shares in ways.items():
            own = shares[np.arange(len(shares)), true[rows]]
            ranked = (true[rows] >= 0) & (own > 0)
            ranks.setdefault(way, []).append(np.where(ranked, own_ranks(shares, np.maximum(true[rows], 0)), 0))
            nearest, best = nearest_rows(shares, few)
            first.setdefault(way, []).append((np.where(best > 0, nearest, -1), best))
    return Recognised(
        {way: np.concatenate(parts) for way, parts in ranks.items()},
        {
            way: (np.concatenate([rows for rows, _ in parts]), np.concatenate([best for _, best in parts]))
            for way, parts in first.items()
        },
    )


def _shares(
    scores: Floats,
    codes: Sequence[Sequence[int]],
    count: int,
    k: int,
    temperature: float,
) -> NDArray[np.float64]:
    """(rows, images) cosines → (rows, count) each entity's share of the total weight."""
    rows, cosines = nearest_rows(scores, k)
    weights = np.exp((cosines - cosines[:, :1]).astype(np.float64) / temperature)
    shares = np.zeros((len(scores), count))
    for row, (neighbours, weight) in enumerate(zip(rows.tolist(), weights, strict=True)):
        of_neighbours = [codes[neighbour] for neighbour in neighbours]
        np.add.at(
            shares[row],
            np.concatenate(of_neighbours).astype(np.int64),
            np.repeat(weight, [len(of_image) for of_image in of_neighbours]),
        )
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
