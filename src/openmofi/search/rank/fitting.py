"""From scores to probabilities, so that a search can end: fitted when an index is built, on its own labels.

An index of labels knows, by the label job's calibrated probabilities, what many of its images show; decoys made these
(`openmofi.labeling.calibrate`). So the index asks itself: entities that its labels name are queries, whose results are
right with the probability that the label job gives. About as many are decoy queries, to which it has no answer, so that
nothing that they find is right: texts of near entities that no text names, and images without all others that may show
the same. What an image is not known to show counts for nothing: a result has the weight Σ_e P(e | i) of all that is
known of its image, and is right with P(q | i) of that.

A logistic regression over a result's features (`features.py`) orders results; monotone regression of its score makes
probabilities. There is a curve for queries by text and one for queries by image, since a cosine means other things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from openmofi.encoders import Array, Encoder
from openmofi.knowledge.texts import filled
from openmofi.search.rank.calibration import Curve, Ending, design_of
from openmofi.search.rank.candidates import NEAREST, candidates_of
from openmofi.search.rank.features import NAMES, Surroundings
from openmofi.search.rank.state import State
from openmofi.search.rank.vectors import best
from openmofi.search.store.connection import Connection

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
MINIMUM = 200
"""Results that are known to be right, at least, by the sum of their probabilities."""
_QUERIES = 400
_RESULTS = 100
_TOGETHER = 32
_BACKGROUND, _REFERENCE = 1024, 1024
_PENALTY = 1e-3
_BINS = 200
_MASS = 0.8
_ALIKE = 10
"""Bits of perceptual hashes, up to which images may be the same one."""


@dataclass(frozen=True)
class Known:
    """What the labels say of the images, by position.

    Attributes:
        judged: position → entity number → probability.
        images: entity number → positions of the images that may show it.
        mass: (n,) how much is known of the image, 0..1.
        below: entity number → numbers of itself and of what is below it, where there is something.
    """

    judged: dict[int, dict[int, float]]
    images: dict[int, list[int]]
    mass: Doubles
    below: dict[int, frozenset[int]]

    @classmethod
    def read(cls, state: State, connection: Connection) -> Known:
        """Of the last commit."""
        numbers = {entity: number for number, entity in enumerate(state.entity_ids)}
        rows = connection.execute("SELECT image, entity, probability FROM labels").fetchall()
        positions = state.positions(np.array([row[0] for row in rows], np.int64)).tolist()
        judged: dict[int, dict[int, float]] = {}
        for position, (_, entity, probability) in zip(positions, rows, strict=True):
            if position >= 0 and entity in numbers:
                judged.setdefault(position, {})[numbers[entity]] = probability
        mass = np.zeros(len(state.images))
        images: dict[int, list[int]] = {}
        for position, entities in judged.items():
            mass[position] = min(sum(entities.values()), 1.0)
            for entity in entities:
                images.setdefault(entity, []).append(position)
        above = connection.execute("SELECT above, entity FROM supertypes").fetchall()
        children: dict[int, set[int]] = {}
        for parent, child in above:
            if parent in numbers and child in numbers:
                children.setdefault(numbers[parent], set()).add(numbers[child])
        return cls(judged, images, mass, {parent: frozenset((parent, *below)) for parent, below in children.items()})

    def showing(self, entity: int) -> list[int]:
        """Positions of the images that may show the entity."""
        return [position for each in self.below.get(entity, frozenset((entity,)))
                for position in self.images.get(each, ())]

    def right(self, entity: int, positions: Ints) -> tuple[Doubles, Doubles]:
        """(n,) probability that these images show the entity, given what is known of them, and (n,) weights."""
        meant = self.below.get(entity, frozenset((entity,)))
        shown = np.array([min(sum(probability for each, probability in self.judged.get(position, {}).items()
                                  if each in meant), 1.0) for position in positions.tolist()])
        weight = np.maximum(self.mass[positions], shown)
        return np.divide(shown, weight, out=np.zeros(len(shown)), where=weight > 0), weight


@dataclass(frozen=True)
class Rows:
    """Results of the queries that an index asks itself.

    Attributes:
        features: (n, f).
        right, weight: (n,) see `Known.right`.
    """

    features: Doubles
    right: Doubles
    weight: Doubles


def fit_ending(state: State, connection: Connection, encoder: Encoder, seed: int = 0) -> Ending:
    """Fit the curves of an index; none where its labels say too little."""
    draw = np.random.default_rng(seed)
    known = Known.read(state, connection)
    alive = np.flatnonzero(state.alive)
    background = np.sort(draw.choice(alive, min(_BACKGROUND, len(alive)), replace=False)) if len(alive) else alive
    named = np.array(sorted({entity for entities in known.judged.values() for entity in entities}), np.int64)
    reference = np.sort(draw.permutation(named)[:_REFERENCE]) if len(state.entities) else named[:0]
    ending = Ending(None, None, None, tuple(state.images[background].tolist()), tuple(reference.tolist()),
                    float(encoder.logit_scale or 30.0))
    around = state.around(ending)
    text = image = entity = None
    if len(state.entities) and len(named):
        entities, vectors = _text_queries(state, connection, encoder, named, draw)
        decoys = ~np.isin(entities, named)
        text = _curve(_asked(state, known, around, entities, vectors, np.full(len(entities), -1), decoys))
    if len(named):
        entities, positions = (np.tile(each, 2) for each in _image_queries(known, draw))
        decoys = np.arange(len(entities)) >= len(entities) // 2
        image = _curve(_asked(state, known, around, entities, state.exact.rows(positions), positions, decoys))
        if len(state.entities):
            entity = _curve(_recognised(state, known, around, draw))
    return Ending(text, image, entity, ending.background, ending.reference, ending.scale)


def _text_queries(state: State, connection: Connection, encoder: Encoder, named: Ints,
                  draw: np.random.Generator) -> tuple[Ints, Array]:
    """Entities, and what asks for them: their texts, and of every other one its bare name."""
    asked = np.sort(draw.permutation(named)[:_QUERIES])
    unnamed = np.setdiff1d(np.arange(len(state.entities)), named)
    if len(unnamed):
        # The neighbour of a named entity that no text names: siblings of what is shown, as of what is asked for.
        near = state.entities[asked] @ state.entities[unnamed].T
        decoys = np.unique(unnamed[near.argmax(axis=1)])
        asked = np.concatenate([asked, draw.permutation(decoys)[:len(asked)]])
    names = dict(connection.execute("SELECT number, name FROM entities"))
    vectors = state.entities[asked].copy()
    bare = np.arange(0, len(asked), 2)
    vectors[bare] = encoder.embed_texts([filled("{name}", names[number], "") for number in asked[bare].tolist()])
    return asked, vectors


def _image_queries(known: Known, draw: np.random.Generator) -> tuple[Ints, Ints]:
    """Entities, and positions of images that are likely to show them."""
    likely = [(max(entities, key=lambda entity: entities[entity]), position)
              for position, entities in sorted(known.judged.items()) if max(entities.values()) >= 0.9]
    chosen = np.sort(draw.permutation(len(likely))[:_QUERIES])
    pairs = np.array(likely, np.int64).reshape(-1, 2)[chosen]
    return pairs[:, 0], pairs[:, 1]


def _asked(state: State, known: Known, around: Surroundings, entities: Ints, vectors: Array, itself: Ints,
           decoys: NDArray[np.bool_]) -> Rows:
    """The best results of queries; of an image without itself. A decoy does not find what may be right."""
    parts: list[tuple[Doubles, Doubles, Doubles]] = []
    for start in range(0, len(entities), _TOGETHER):
        queries = vectors[start:start + _TOGETHER]
        scores = state.exact.scores(queries)
        scores[:, ~state.alive] = -np.inf
        for place in np.flatnonzero(decoys[start:start + _TOGETHER]).tolist():
            scores[place, known.showing(int(entities[start + place]))] = -np.inf
        cosines, positions = best(scores, min(_RESULTS + 1, scores.shape[1]))
        for place, query in enumerate(queries):
            kept = np.isfinite(cosines[place]) & (positions[place] != itself[start + place])
            found = positions[place][kept][:_RESULTS]
            features = around.features(query, state.exact.rows(found), cosines[place][kept][:_RESULTS])
            right, weight = known.right(int(entities[start + place]), found)
            parts.append((features, right, np.ones(len(found)) if decoys[start + place] else weight))
    return _rows(parts)


def _recognised(state: State, known: Known, around: Surroundings, draw: np.random.Generator) -> Rows:
    """Candidates of images of which something is known; what looks the same is no witness."""
    images = np.flatnonzero(known.mass >= _MASS)
    images = np.sort(draw.permutation(images)[:_QUERIES])
    labelled = np.zeros(len(state.images), bool)
    labelled[[position for position, entities in known.judged.items() if max(entities.values()) >= _MASS]] = True
    parts: list[tuple[Doubles, Doubles, Doubles]] = []
    for position in images.tolist():
        others = labelled & (np.bitwise_count(state.phash ^ state.phash[position]) > _ALIKE)
        vector = state.exact.rows(np.array([position]))
        cosines, near = state.exact.search(vector, NEAREST, others)
        witnesses = [(float(cosine), [entity for entity, probability in known.judged[place].items()
                                      if probability >= _MASS])
                     for cosine, place in zip(cosines[0], near[0].tolist(), strict=True) if place >= 0]
        found = candidates_of(vector[0], state.entities, around, witnesses)
        right, weight = np.array([known.right(entity, np.array([position]))
                                  for entity in found.entities.tolist()])[..., 0].T
        parts.append((found.features, right, weight))
    return _rows(parts)


def _rows(parts: Sequence[tuple[Doubles, Doubles, Doubles]]) -> Rows:
    if not parts:
        return Rows(np.zeros((0, len(NAMES))), np.zeros(0), np.zeros(0))
    return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _curve(rows: Rows) -> Curve | None:
    known = rows.weight > 0
    features, right, weight = rows.features[known], rows.right[known], rows.weight[known]
    if float(right @ weight) < MINIMUM or float((1 - right) @ weight) < MINIMUM:
        return None
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    design = design_of(features, mean, deviation)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        score = design @ weights
        shrunk = np.append(weights[:-1], 0.0)
        value = float(weight @ (np.logaddexp(0, score) - right * score) / weight.sum())
        gradient = design.T @ (weight * (expit(score) - right)) / weight.sum()
        return value + _PENALTY * float(shrunk @ shrunk), gradient + 2 * _PENALTY * shrunk

    weights = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    return Curve(*(tuple(map(float, values)) for values in (
        mean, deviation, weights, *_monotone(design @ weights, right, weight))))


def _monotone(score: Doubles, right: Doubles, weight: Doubles) -> tuple[Doubles, Doubles]:
    """Centres and probabilities of bins with about the same number of results known to be right, by rising score."""
    order = np.argsort(score, kind="stable")
    mass = np.cumsum((weight * (right + 1e-3))[order])
    bins = np.minimum((mass / mass[-1] * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(bins, weight[order], _BINS)
    kept = count > 0
    centres = np.bincount(bins, (weight * score)[order], _BINS)[kept] / count[kept]
    shares = np.bincount(bins, (weight * right)[order], _BINS)[kept] / count[kept]
    return centres, np.asarray(isotonic_regression(shares, weights=count[kept]).x)
