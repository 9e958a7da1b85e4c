"""Entities that an image may show, and what speaks for each: its text, and the labelled images that are nearest.

Features of a candidate e for an image i, see `NAMES`: z, their cosine in standard deviations of what e has with images
at random; the margin over reference entities that are not e itself; the lead over the next candidate's cosine; the
share of the nearest labelled images that show e, each weighted by how near it is; the margin of the best candidate; how
far the nearest image that is labelled with e lies behind the nearest image of all, and behind the mean of the ten
nearest; e's share of the nearest images of all; and the shares of labelled ones among the fifty and the ten nearest.
What an image shows may be named by no label (`unnamed_features`): then its nearest images tend to have none, or others
that do not agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array
from openmofi.search.rank.features import SAME, Surroundings

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = (
    "z",
    "margin",
    "lead",
    "votes",
    "best margin",
    "behind",
    "behind ten",
    "votes of all",
    "labelled of 50",
    "labelled of 10",
)
NEAREST = 50
"""Images that may be witnesses."""
LOOKED_AT = 4 * NEAREST
"""Nearest images, labelled or not, that are looked at."""
_CLOSE = 10
_BY_TEXT = 16
_SHARP = 20.0
_LEAST = 0.02
_SMALLEST = 1e-300
_FLOOR = -50.0


@dataclass(frozen=True)
class Candidates:
    """Entities that an image may show.

    Attributes:
        entities: (n,) numbers, by falling cosine with the image.
        cosines: (n,) of image and entity text.
        features: (n, 10), see `NAMES`.
    """

    entities: Ints
    cosines: Doubles
    features: Doubles

    def unnamed_features(self) -> Doubles:
        """(1, 9) of the image: of each feature the greatest that a candidate has; the lead says nothing of it."""
        most = self.features.max(axis=0, initial=_FLOOR)
        return np.delete(most, NAMES.index("lead"))[None]


def candidates_of(
    image: Array,
    entities: Array,
    around: Surroundings,
    near: Sequence[tuple[float, Sequence[int]]],
    without: Collection[int] = (),
) -> Candidates:
    """The candidates of an image.

    Args:
        image: (dim,) L2-normalised.
        entities: (e, dim) of all entity texts.
        around: see `Surroundings`.
        near: nearest images, nearest first: cosine, and numbers of the entities that they are labelled with, if any.
        without: numbers of entities that are left out, as though no label named them.
    """
    similarity = (entities @ image).astype(np.float64)
    near = [(cosine, [entity for entity in shown if entity not in without]) for cosine, shown in near]
    witnesses = [(cosine, shown) for cosine, shown in near if shown][:NEAREST]
    votes = _votes(witnesses)
    allowed = similarity.copy()
    allowed[list(without)] = -np.inf
    by_text = np.argsort(-allowed, kind="stable")[: min(_BY_TEXT, len(entities) - len(without))]
    chosen = np.unique(np.concatenate([by_text, np.array(list(votes), np.int64)])).astype(np.int64)
    chosen = chosen[np.argsort(-similarity[chosen], kind="stable")]
    cosines = similarity[chosen]
    usual = (
        (around.background @ entities[chosen].T).astype(np.float64)
        if len(around.background)
        else np.zeros((1, len(chosen)))
    )
    z = (cosines - usual.mean(axis=0)) / np.maximum(usual.std(axis=0), 1e-6)
    margin = around.scale * cosines - _others(image, entities[chosen], around)
    lead = around.scale * (
        cosines - np.array([np.max(np.delete(cosines, place), initial=-1.0) for place in range(len(cosines))])
    )
    share = np.log(np.array([votes.get(entity, 0.0) for entity in chosen.tolist()]) + _LEAST)
    best = np.full(len(chosen), margin.max(initial=_FLOOR))
    features = np.stack([z, margin, lead, share, best], axis=1)
    return Candidates(chosen, cosines, np.hstack([features, _beside(chosen.tolist(), near, witnesses)]))


def _beside(
    chosen: Sequence[int], near: Sequence[tuple[float, Sequence[int]]], witnesses: Sequence[tuple[float, Sequence[int]]]
) -> Doubles:
    """(n, 5) what the nearest images say, labelled or not."""
    if not near:
        return np.zeros((len(chosen), 5))
    cosines = np.array([cosine for cosine, _ in near])
    nearest: dict[int, float] = {}
    for cosine, shown in witnesses:
        for entity in shown:
            nearest.setdefault(entity, cosine)
    # Of what no witness shows, it is not nearer than the last one.
    own = np.array(
        [nearest.get(entity, float(cosines[-1]) if not witnesses else witnesses[-1][0]) for entity in chosen]
    )
    votes = _votes(near[:NEAREST])
    of_all = np.log(np.array([votes.get(entity, 0.0) for entity in chosen]) + _LEAST)
    labelled = np.array([bool(shown) for _, shown in near[:NEAREST]])
    shares = [np.full(len(chosen), labelled.mean()), np.full(len(chosen), labelled[:_CLOSE].mean())]
    return np.stack([own - cosines[0], own - cosines[:_CLOSE].mean(), of_all, *shares], axis=1)


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
