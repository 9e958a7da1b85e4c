"""Which entity an image shows: by the nearest labelled images, by the entities' texts, by both.

By images: of the K nearest labelled images each gives its entities the weight exp(cosine / T); an entity's share
of all weight is its probability (as `openmofi.evaluation.metrics.knn`, for images with several labels). By texts:
softmax of the cosines with the entities' texts, times a logit scale. By both: the weighted mean of the two
probabilities. An entity without labelled images has no share by images, so that entities seen and unseen by the
labels are told apart in the figures.

Where all neighbours agree, their entity wins by both unless the texts weigh more than half: what the weight gives to
unseen entities it takes from seen ones. Ranks: entities of greater probability, and of equal ones those that come
first; an entity of probability 0 is not ranked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, nearest_places

IMAGES, TEXT, BOTH = "images", "text", "both"
_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class Labelled:
    """Labelled images, the index.

    Attributes:
        embeddings: (n, d) L2-normalised.
        starts: (n + 1,); image i has `entities[starts[i]:starts[i + 1]]`.
        entities: codes.
    """

    embeddings: Floats
    starts: Ints
    entities: Ints

    @classmethod
    def of(cls, embeddings: Floats, entities: Sequence[Sequence[int]]) -> Labelled:
        """From the codes of each image's entities."""
        sizes = [len(some) for some in entities]
        return cls(embeddings, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
                   np.array([code for some in entities for code in some], np.int64))


@dataclass(frozen=True)
class Recognised:
    """What `recognise` found, for each way that was asked for.

    Attributes:
        ranks: way → (queries,) rank from 1 of the true entity; 0 where it is not ranked.
        first: way → (queries, few) codes of the first answers, −1 where there is none, and their probabilities.
    """

    ranks: dict[str, Ints]
    first: dict[str, tuple[Ints, NDArray[np.float64]]]


def recognise(queries: Floats, true: Ints, count: int, labelled: Labelled, texts: Floats | None, *, k: int,
              temperature: float, logit_scale: float, text_weight: float, few: int = 5) -> Recognised:
    """Rank the entities for each query.

    Args:
        queries: (q, d) L2-normalised.
        true: (q,) code of the entity that each shows; −1 where it is none of them.
        count: number of entities; codes are below.
        labelled: the index.
        texts: (count, d) L2-normalised, or `None`: then only by images.
        k: neighbours.
        temperature: T.
        logit_scale: of texts.
        text_weight: of the text's probability in the mean of both.
        few: how many first answers to return.
    """
    ranks: dict[str, list[Ints]] = {}
    first: dict[str, list[tuple[Ints, NDArray[np.float64]]]] = {}
    for rows, ways in _probabilities(queries, count, labelled, texts, k, temperature, logit_scale, text_weight):
        for way, shares in ways.items():
            ranks.setdefault(way, []).append(_ranks(shares, true[rows]))
            places, best = nearest_places(shares, few)  # type: ignore[arg-type]
            first.setdefault(way, []).append((np.where(best > 0, places, -1), np.asarray(best, np.float64)))
    return Recognised({way: np.concatenate(parts) for way, parts in ranks.items()},
                      {way: tuple(np.concatenate(side) for side in zip(*parts, strict=True))  # type: ignore[misc]
                       for way, parts in first.items()})


def _probabilities(queries: Floats, count: int, labelled: Labelled, texts: Floats | None, k: int, temperature: float,
                   logit_scale: float, text_weight: float) -> Iterator[
                       tuple[slice, Mapping[str, NDArray[np.float64]]]]:
    """Blocks of queries with (rows, count) probabilities of each way."""
    index = Index.of(labelled.embeddings)
    at_once = max(1, _BLOCK_BYTES // (8 * count))
    for start in range(0, len(queries), at_once):
        rows = slice(start, min(start + at_once, len(queries)))
        by_images = np.concatenate([_shares(scores, labelled, count, k, temperature)
                                    for _, scores in index.blocks(queries[rows])])
        ways = {IMAGES: by_images}
        if texts is not None:
            logits = (queries[rows] @ texts.T).astype(np.float64) * logit_scale
            logits = np.exp(logits - logits.max(axis=1, keepdims=True))
            ways[TEXT] = logits / logits.sum(axis=1, keepdims=True)
            ways[BOTH] = (1 - text_weight) * by_images + text_weight * ways[TEXT]
        yield rows, ways


def _shares(scores: Floats, labelled: Labelled, count: int, k: int, temperature: float) -> NDArray[np.float64]:
    """(rows, images) cosines → (rows, count) each entity's share of the weight."""
    places, near = nearest_places(scores, k)
    weights = np.exp((near - near[:, :1]).astype(np.float64) / temperature)
    shares = np.zeros((len(scores), count))
    for row, (neighbours, weight) in enumerate(zip(places, weights, strict=True)):
        starts, ends = labelled.starts[neighbours], labelled.starts[neighbours + 1]
        codes = np.concatenate([labelled.entities[a:b] for a, b in zip(starts, ends, strict=True)])
        np.add.at(shares[row], codes, np.repeat(weight, ends - starts))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _ranks(shares: NDArray[np.float64], true: Ints) -> Ints:
    ranks = np.zeros(len(true), np.int64)
    for row, code in enumerate(true.tolist()):
        if code >= 0 and shares[row, code] > 0:
            own = shares[row, code]
            ranks[row] = 1 + np.count_nonzero(shares[row] > own) + np.count_nonzero(shares[row, :code] == own)
    return ranks
