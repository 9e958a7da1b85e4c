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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, nearest_rows

IMAGES, TEXT, BOTH = "images", "text", "both"
_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class LabelledIndex:
    """Labelled images.

    Attributes:
        embeddings: (n, d) L2-normalised.
        starts: (n + 1,); image i has `codes[starts[i]:starts[i + 1]]`.
        codes: of the entities.
    """

    embeddings: Floats
    starts: Ints
    codes: Ints

    @classmethod
    def of(cls, embeddings: Floats, codes: Sequence[Sequence[int]]) -> LabelledIndex:
        """From the codes of each image."""
        sizes = [len(of_image) for of_image in codes]
        return cls(embeddings, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
                   np.array([code for of_image in codes for code in of_image], np.int64))


@dataclass(frozen=True)
class Recognised:
    """The outcome of `recognise`, for each way: `IMAGES`, and with texts `TEXT` and `BOTH`.

    Attributes:
        ranks: way → (queries,) rank from 1 of the true entity; 0 where it is not ranked.
        first: way → (queries, few) codes of the first answers, −1 for none, and their probabilities.
    """

    ranks: dict[str, Ints]
    first: dict[str, tuple[Ints, NDArray[np.float64]]]


def recognise(queries: Floats, true: Ints, count: int, labelled: LabelledIndex, texts: Floats | None, *, k: int,
              temperature: float, logit_scale: float, text_weight: float, few: int = 5) -> Recognised:
    """Rank the entities for each query.

    Args:
        queries: (q, d) L2-normalised.
        true: (q,) code of each query's entity; −1 for an entity that has no code.
        count: number of entities; codes are smaller.
        labelled: the labelled images.
        texts: (count, d) L2-normalised; `None`: by images alone.
        k: neighbours.
        temperature: T.
        logit_scale: multiplies cosines with texts.
        text_weight: of the probability by texts in the mean of both.
        few: number of first answers to return.
    """
    ranks: dict[str, list[Ints]] = {}
    first: dict[str, list[tuple[Ints, NDArray[np.float64]]]] = {}
    for rows, ways in _probabilities(queries, count, labelled, texts, k, temperature, logit_scale, text_weight):
        for way, shares in ways.items():
            ranks.setdefault(way, []).append(_ranks(shares, true[rows]))
            codes, best = nearest_rows(shares, few)  # type: ignore[arg-type]
            first.setdefault(way, []).append((np.where(best > 0, codes, -1), np.asarray(best, np.float64)))
    return Recognised({way: np.concatenate(parts) for way, parts in ranks.items()},
                      {way: tuple(np.concatenate(side) for side in zip(*parts, strict=True))  # type: ignore[misc]
                       for way, parts in first.items()})


def _probabilities(queries: Floats, count: int, labelled: LabelledIndex, texts: Floats | None, k: int,
                   temperature: float, logit_scale: float, text_weight: float) -> Iterator[
                       tuple[slice, Mapping[str, NDArray[np.float64]]]]:
    """Blocks of queries with their (rows, count) probabilities, by way."""
    index = Index.of(labelled.embeddings)
    block = max(1, _BLOCK_BYTES // (8 * count))
    for start in range(0, len(queries), block):
        rows = slice(start, min(start + block, len(queries)))
        by_images = np.concatenate([_shares(scores, labelled, count, k, temperature)
                                    for _, scores in index.blocks(queries[rows])])
        ways = {IMAGES: by_images}
        if texts is not None:
            logits = (queries[rows] @ texts.T).astype(np.float64) * logit_scale
            logits = np.exp(logits - logits.max(axis=1, keepdims=True))
            ways[TEXT] = logits / logits.sum(axis=1, keepdims=True)
            ways[BOTH] = (1 - text_weight) * by_images + text_weight * ways[TEXT]
        yield rows, ways


def _shares(scores: Floats, labelled: LabelledIndex, count: int, k: int, temperature: float) -> NDArray[np.float64]:
    """(rows, images) cosines → (rows, count) each entity's share of the total weight."""
    rows, cosines = nearest_rows(scores, k)
    weights = np.exp((cosines - cosines[:, :1]).astype(np.float64) / temperature)
    shares = np.zeros((len(scores), count))
    for row, (neighbours, weight) in enumerate(zip(rows, weights, strict=True)):
        starts, ends = labelled.starts[neighbours], labelled.starts[neighbours + 1]
        codes = np.concatenate([labelled.codes[start:end] for start, end in zip(starts, ends, strict=True)])
        np.add.at(shares[row], codes, np.repeat(weight, ends - starts))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _ranks(shares: NDArray[np.float64], true: Ints) -> Ints:
    ranks = np.zeros(len(true), np.int64)
    for row, code in enumerate(true.tolist()):
        if code >= 0 and shares[row, code] > 0:
            own = shares[row, code]
            ranks[row] = 1 + np.count_nonzero(shares[row] > own) + np.count_nonzero(shares[row, :code] == own)
    return ranks
