"""From scores to probabilities, so that a search can end: fitted when an index is built, on its own labels.

An index of labels knows, by the label job's calibrated probabilities, what many of its images show; decoys made these
(`openmofi.labeling.calibrate`). So the index asks itself: entities that its labels name are queries, by text, by name,
and by images that may show them, as likely as these do, with the entity taken out of the reference. A result that was
judged for the entity is right with the probability that the label job gave. Any other is wrong as far as it is known to
show something else, Σ_e P(e | i), and counts for nothing beyond that. About as many are decoy queries, to which the
index has no answer, so that nothing that they find is right: near entities that no text names, and images without all
others that may show the same.

Recognition asks what images show that were judged, each as likely as it shows what it was judged for; and surely
labelled ones once more with their entity left out, its text and its labels, as though no label named it: so looks what
the index does not know.

A logistic regression over a result's features (`calibration.py`; of texts also `queries.py`) orders results; monotone
regression of its score makes probabilities. There is a curve for queries by text and one for queries by image, since a
cosine means other things.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from openmofi.arrays import Array, Doubles, Ints
from openmofi.encoders import Encoder
from openmofi.engine.protocol import Progress, Quiet
from openmofi.knowledge.texts import filled
from openmofi.search.rank.calibration import (
    MINIMUM,
    NAMES,
    OF_IMAGES,
    Curve,
    Ending,
    Surroundings,
    any_of,
    design_of,
)
from openmofi.search.rank.queries import Meaning, images_by_text, meaning_of
from openmofi.search.rank.recognition import LOOKED_AT, candidates_of
from openmofi.search.rank.state import State
from openmofi.search.store.connection import Connection
from openmofi.search.store.vectors import best

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
class ImageLabels:
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
    def read(cls, state: State, connection: Connection) -> ImageLabels:
        """Read the labels of the last commit."""
        numbers = state.entity_numbers
        rows = connection.execute("SELECT image, entity, probability FROM labels").fetchall()
        positions = state.positions(np.array([row[0] for row in rows], np.int64)).tolist()
        judged, images = defaultdict[int, dict[int, float]](dict), defaultdict[int, list[int]](list)
        for position, (_, entity, probability) in zip(positions, rows, strict=True):
            if position >= 0 and entity in numbers:
                judged[position][numbers[entity]] = probability
        mass = np.zeros(len(state.images))
        for position, entities in judged.items():
            mass[position] = min(sum(entities.values()), 1.0)
            for number in entities:
                images[number].append(position)
        below = defaultdict[int, set[int]](set)
        for parent, child in connection.execute("SELECT above, entity FROM supertypes"):
            if parent in numbers and child in numbers:
                below[numbers[parent]] |= {numbers[parent], numbers[child]}
        return cls(judged, images, mass, {parent: frozenset(within) for parent, within in below.items()})

    def meant(self, entity: int) -> frozenset[int]:
        """Numbers of the entity and of what is below it."""
        return self.below.get(entity, frozenset((entity,)))

    def showing(self, entity: int) -> list[int]:
        """Positions of the images that may show the entity."""
        return [position for each in self.meant(entity) for position in self.images.get(each, ())]

    def right(self, entity: int, positions: Ints) -> tuple[Doubles, Doubles]:
        """(n,) probability that these images show the entity, and (n,) weights: 1 where the label job judged the image
        for it, else how much is known of the image, which is then something else.
        """
        meant = self.meant(entity)
        judged = [
            [probability for each, probability in self.judged.get(position, {}).items() if each in meant]
            for position in positions.tolist()
        ]
        shown = np.array([any_of(each) for each in judged])
        return shown, np.where([bool(each) for each in judged], 1.0, self.mass[positions])

    def named_right(self, entities: Ints, position: int) -> Doubles:
        """(n,) probabilities that an image shows these entities, given that one that it was judged for is shown."""
        shown = [self.right(entity, np.array([position]))[0][0] for entity in entities.tolist()]
        return np.minimum(np.array(shown) / self.mass[position], 1.0)


@dataclass(frozen=True)
class TrialResults:
    """Results of the queries that an index asks itself.

    Attributes:
        features: (n, f).
        right, weight: (n,) see `ImageLabels.right`.
    """

    features: Doubles
    right: Doubles
    weight: Doubles

    @property
    def evidence(self) -> tuple[float, float]:
        """How many are known to be right, and how many to be wrong."""
        return float(self.right @ self.weight), float((1 - self.right) @ self.weight)


@dataclass(frozen=True)
class TrialQuery:
    """A query that an index asks itself.

    Attributes:
        entity: number of the one that is meant.
        vector: (dim,) of the query.
        chance: that it is meant; below 1 for images, which may show something else.
        itself: position of the image that asks; −1 for texts.
        decoy: whether the index has no answer: images that may show the entity are not found.
        meaning: of a text; `None` for images.
    """

    entity: int
    vector: Array
    chance: float = 1.0
    itself: int = -1
    decoy: bool = False
    meaning: Meaning | None = None


def fit_ending(
    state: State, connection: Connection, encoder: Encoder, seed: int = 0, progress: Progress = Quiet()
) -> Ending:
    """Fit the curves of an index, of texts, of images and of recognition; none where its labels say too little."""
    progress.begin("calibrate", 3)
    draw = np.random.default_rng(seed)
    labels = ImageLabels.read(state, connection)
    alive = np.flatnonzero(state.alive)
    background = np.sort(draw.choice(alive, min(_BACKGROUND, len(alive)), replace=False)) if len(alive) else alive
    named = np.array(sorted({entity for entities in labels.judged.values() for entity in entities}), np.int64)
    reference = np.sort(draw.permutation(named)[:_REFERENCE]) if len(state.entities) else named[:0]
    images, entities = tuple(state.images[background].tolist()), tuple(reference.tolist())
    ending = Ending(None, None, None, images, entities, float(encoder.logit_scale or 30.0))
    around = state.around(ending)
    text = image = recognition = unnamed = _rows([])
    if len(state.entities) and len(named):
        text = _results(state, labels, around, _text_queries(state, connection, encoder, named, draw))
    progress.advance({})
    if len(named):
        image = _results(state, labels, around, _image_queries(state, labels, draw))
    progress.advance({})
    if len(named) and len(state.entities):
        recognition, unnamed = recognition_results(state, labels, around, draw)
    progress.advance({})
    trials = {"text": text, "image": image, "recognition": recognition, "unnamed": unnamed}
    return replace(
        ending,
        text=curve_of(text),
        image=curve_of(image),
        entity=curve_of(recognition),
        unnamed=curve_of(unnamed),
        evidence={kind: results.evidence for kind, results in trials.items()},
    )


def _text_queries(
    state: State, connection: Connection, encoder: Encoder, named: Ints, draw: np.random.Generator
) -> list[TrialQuery]:
    """Entities by their texts and by their bare names; half of these are no names to the index, so that it learns what
    keywords are worth.
    """
    entities = np.sort(draw.permutation(named)[: _QUERIES // 2])
    count = len(entities)
    unnamed = np.setdiff1d(np.arange(len(state.entities)), named)
    if len(unnamed):
        # The neighbour of a named entity that no text names: siblings of what is shown, as of what is asked for.
        near = state.entities[entities] @ state.entities[unnamed].T
        decoys = np.unique(unnamed[near.argmax(axis=1)])
        entities = np.concatenate([entities, draw.permutation(decoys)[:count]])
    names = dict(connection.execute("SELECT number, name FROM entities"))
    numbers = entities.tolist()
    vectors = encoder.embed_texts([filled("{name}", names[number], "") for number in numbers])
    queries = []
    for position, (number, vector) in enumerate(zip(numbers, vectors, strict=True)):
        words = images_by_text(connection, names[number], _RESULTS, every=True)
        meaning = meaning_of(connection, names[number], words) if position % 2 else Meaning(words=frozenset(words))
        queries += [
            TrialQuery(number, state.entities[number], decoy=position >= count, meaning=Meaning()),
            TrialQuery(number, vector, decoy=position >= count, meaning=meaning),
        ]
    return queries


def _image_queries(state: State, labels: ImageLabels, draw: np.random.Generator) -> list[TrialQuery]:
    """Images by how likely they show what they were judged for, each as itself and as a decoy."""
    pairs = [
        (position, entity, probability)
        for position, entities in sorted(labels.judged.items())
        for entity, probability in sorted(entities.items())
        if probability > 0
    ]
    if not pairs:
        return []
    chances = np.array([probability for *_, probability in pairs])
    chosen = np.sort(draw.choice(len(pairs), min(_QUERIES, len(pairs)), replace=False, p=chances / chances.sum()))
    return [
        TrialQuery(entity, state.exact.rows(np.array([position]))[0], probability, position, decoy)
        for decoy in (False, True)
        for position, entity, probability in (pairs[number] for number in chosen.tolist())
    ]


def _results(state: State, labels: ImageLabels, around: Surroundings, queries: Sequence[TrialQuery]) -> TrialResults:
    """The best results of queries; of an image without itself. A decoy does not find what may be right."""
    parts: list[tuple[Doubles, Doubles, Doubles]] = []
    for start in range(0, len(queries), _TOGETHER):
        together = queries[start : start + _TOGETHER]
        scores = state.exact.scores(np.stack([query.vector for query in together]))
        scores[:, ~state.alive] = -np.inf
        for query, score in zip(together, scores, strict=True):
            if query.decoy:
                score[labels.showing(query.entity)] = -np.inf
            if query.itself >= 0:
                score[query.itself] = -np.inf
            _, nearest = best(score[None], min(_RESULTS, len(score)))
            positions = nearest[0]
            if query.meaning:
                positions = np.union1d(positions, state.positions(np.array([*query.meaning.words], np.int64)))
                # Of what was judged for a name the probability is known.
                judged = state.positions(np.array([*query.meaning.judged], np.int64))
                positions = np.setdiff1d(positions, judged)
            positions = positions[(positions >= 0) & np.isfinite(score[positions])]
            positions = positions[np.argsort(-score[positions], kind="stable")]
            # What an image shows need not be among the reference: else agreement would be trusted where it is not.
            seen = around if query.meaning or not len(state.entities) else around.without(state.entities[query.entity])
            features = seen.features(query.vector, state.exact.rows(positions), score[positions])
            if query.meaning:
                features = np.hstack([features, query.meaning.features(state.images[positions].tolist())])
            else:
                features = features[:, :OF_IMAGES]
            right, weight = labels.right(query.entity, positions)
            parts.append((features, right, np.ones(len(positions)) if query.decoy else query.chance * weight))
    return _rows(parts)


def recognition_results(
    state: State, labels: ImageLabels, around: Surroundings, draw: np.random.Generator
) -> tuple[TrialResults, TrialResults]:
    """What `entity` and `unnamed` of an `Ending` are fitted to."""
    surest = {position: max(entities.items(), key=lambda item: item[1]) for position, entities in labels.judged.items()}
    sure = np.array([position for position, (_, probability) in surest.items() if probability >= _MASS], np.int64)
    wanted = set(draw.permutation(np.flatnonzero(labels.mass > 0))[:_QUERIES].tolist())
    certain = set(draw.permutation(sure)[:_QUERIES].tolist())
    candidates: list[tuple[Doubles, Doubles, Doubles]] = []
    named: list[tuple[Doubles, Doubles, Doubles]] = []
    for position, vector, near in _seen(state, labels, np.array(sorted(wanted | certain), np.int64)):
        proposed = candidates_of(vector, state.entities, around, near)
        if position in wanted:
            weight = np.full(len(proposed.entities), labels.mass[position])
            candidates.append((proposed.features, labels.named_right(proposed.entities, position), weight))
        if position in certain:
            entity = surest[position][0]
            others = around.without(state.entities[entity])
            hidden = candidates_of(vector, state.entities, others, near, labels.meant(entity))
            named += [
                (proposed.unnamed_features(), np.zeros(1), np.ones(1)),
                (hidden.unnamed_features(), np.ones(1), np.ones(1)),
            ]
    return _rows(candidates), _rows(named)


def _seen(
    state: State, labels: ImageLabels, images: Ints
) -> Iterator[tuple[int, Array, list[tuple[float, list[int]]]]]:
    """Of images at these positions the vector and the nearest other images with what they are labelled with; what looks
    the same is none.
    """
    labelled = {
        position: [entity for entity, probability in entities.items() if probability >= _MASS]
        for position, entities in labels.judged.items()
    }
    for start in range(0, len(images), _TOGETHER):
        together = images[start : start + _TOGETHER]
        vectors = state.exact.rows(together)
        scores = state.exact.scores(vectors)
        scores[:, ~state.alive] = -np.inf
        scores[np.bitwise_count(state.phash[None] ^ state.phash[together, None]) <= _ALIKE] = -np.inf
        cosines, near = best(scores, min(LOOKED_AT, len(state.images)))
        for position, vector, *row in zip(together.tolist(), vectors, cosines.tolist(), near.tolist(), strict=True):
            others = zip(*row, strict=True)
            yield position, vector, [(cosine, labelled.get(at, [])) for cosine, at in others if np.isfinite(cosine)]


def _rows(parts: Sequence[tuple[Doubles, Doubles, Doubles]]) -> TrialResults:
    if not parts:
        return TrialResults(np.zeros((0, len(NAMES))), np.zeros(0), np.zeros(0))
    return TrialResults(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def curve_of(rows: TrialResults) -> Curve | None:
    """Fit a curve to results of trials; `None` where they are too few."""
    if min(rows.evidence) < MINIMUM:
        return None
    weighted = rows.weight > 0
    features, right, weight = rows.features[weighted], rows.right[weighted], rows.weight[weighted]
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    design = design_of(features, mean, deviation)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        score = design @ weights
        shrunk = np.append(weights[:-1], 0.0)
        value = float(weight @ (np.logaddexp(0, score) - right * score) / weight.sum())
        gradient = design.T @ (weight * (expit(score) - right)) / weight.sum()
        return value + _PENALTY * float(shrunk @ shrunk), gradient + 2 * _PENALTY * shrunk

    weights = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    fitted = mean, deviation, weights, *_monotone(design @ weights, right, weight)
    return Curve(*(tuple(map(float, values)) for values in fitted))


def _monotone(score: Doubles, right: Doubles, weight: Doubles) -> tuple[Doubles, Doubles]:
    """Centres and probabilities of bins with about the same number of results known to be right, by rising score."""
    order = np.argsort(score, kind="stable")
    mass = np.cumsum((weight * (right + 1e-3))[order])
    bins = np.minimum((mass / mass[-1] * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(bins, weight[order], _BINS)
    nonempty = count > 0
    centres = np.bincount(bins, (weight * score)[order], _BINS)[nonempty] / count[nonempty]
    shares = np.bincount(bins, (weight * right)[order], _BINS)[nonempty] / count[nonempty]
    return centres, np.asarray(isotonic_regression(shares, weights=count[nonempty]).x)
