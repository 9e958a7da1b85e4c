"""Entities that an image may show, and what speaks for each: its text, and the labelled images that are nearest.

Features of a candidate e for an image i, see `NAMES`: z, their cosine in standard deviations of what e has with images
at random; the margin over reference entities that are not e itself; the lead over the next candidate's cosine; the
share of the nearest labelled images that show e, each weighted by how near it is; and the margin of the best candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array
from openmofi.search.rank.features import SAME, Surroundings

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("z", "margin", "lead", "votes", "best margin")
NEAREST = 50
"""Images that may be witnesses."""
_BY_TEXT = 16
_SHARP = 20.0
_LEAST = 0.02
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Candidates:
    """Entities that an image may show.

    Attributes:
        entities: (n,) numbers, by falling cosine with the image.
        cosines: (n,) of image and entity text.
        features: (n, 5).
    """

    entities: Ints
    cosines: Doubles
    features: Doubles


def candidates_of(image: Array, entities: Array, around: Surroundings, witnesses: Sequence[tuple[float, Sequence[int]]],
                  ) -> Candidates:
    """The candidates of an image.

    Args:
        image: (dim,) L2-normalised.
        entities: (e, dim) of all entity texts.
        around: see `Surroundings`.
        witnesses: nearest labelled images: cosine, and numbers of the entities that they show.
    """
    similarity = (entities @ image).astype(np.float64)
    votes = _votes(witnesses)
    chosen = np.unique(np.concatenate([np.argsort(-similarity, kind="stable")[:_BY_TEXT],
                                       np.array(list(votes), np.int64)])).astype(np.int64)
    chosen = chosen[np.argsort(-similarity[chosen], kind="stable")]
    cosines = similarity[chosen]
    usual = (around.background @ entities[chosen].T).astype(np.float64) if len(around.background) else \
        np.zeros((1, len(chosen)))
    z = (cosines - usual.mean(axis=0)) / np.maximum(usual.std(axis=0), 1e-6)
    margin = around.scale * cosines - _others(image, entities[chosen], around)
    lead = around.scale * (cosines - np.array([np.max(np.delete(cosines, place), initial=-1.0)
                                               for place in range(len(cosines))]))
    share = np.log(np.array([votes.get(entity, 0.0) for entity in chosen.tolist()]) + _LEAST)
    best = np.full(len(chosen), margin.max(initial=-50.0))
    return Candidates(chosen, cosines, np.stack([z, margin, lead, share, best], axis=1))


def _others(image: Array, chosen: Array, around: Surroundings) -> Doubles:
    """(n,) log Σ exp of the scores of reference entities that are not the candidate."""
    if not len(around.reference):
        return np.zeros(len(chosen))
    scores = around.scale * (around.reference @ image).astype(np.float64)
    others = chosen @ around.reference.T < SAME
    peak = scores.max()
    sums = others @ np.exp(scores - peak)
    return np.where(others.any(axis=1), np.log(np.maximum(sums, _SMALLEST)) + peak, 0.0)


def _votes(witnesses: Sequence[tuple[float, Sequence[int]]]) -> Mapping[int, float]:
    """Entity → its share of the witnesses, the nearest of which counts 1."""
    if not witnesses:
        return {}
    nearest = max(cosine for cosine, _ in witnesses)
    weights = [np.exp(_SHARP * (cosine - nearest)) for cosine, _ in witnesses]
    votes: dict[int, float] = {}
    for weight, (_, shown) in zip(weights, witnesses, strict=True):
        for entity in shown:
            votes[entity] = votes.get(entity, 0.0) + float(weight)
    return {entity: vote / float(sum(weights)) for entity, vote in votes.items()}
