"""Recognition: entities that an image may show, by their texts and by the labelled images that are nearest."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from openmofi.arrays import Array, Doubles, Ints
from openmofi.encoders import Encoder, ImageInput
from openmofi.errors import OpenMofiError, UsageError
from openmofi.search.query import Example, Region
from openmofi.search.rank.calibration import LIKELY, SAME, Surroundings, with_share
from openmofi.search.rank.queries import image_vectors
from openmofi.search.rank.state import LRUCache, State
from openmofi.search.recognise_settings import UNNAMED
from openmofi.search.records import Recognised, Recognition
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import rows_in
from openmofi.search.store.reading import entity_records, image_records

# Features of a candidate e for an image i, see `NAMES`: z, their cosine in standard deviations of what e has with
# images at random; the margin over reference entities that are not e itself; the lead over the next candidate's cosine;
# the share of the nearest labelled images that show e, each weighted by how near it is; the margin of the best
# candidate; how far the nearest image that is labelled with e lies behind the nearest image of all, and behind the mean
# of the ten nearest; e's share of the nearest images of all; and the shares of labelled ones among the fifty and the
# ten nearest. What an image shows may be named by no label (`unnamed_features`): then its nearest images tend to have
# none, or others that do not agree.

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
class EntityCandidates:
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
) -> EntityCandidates:
    """The candidates of an image.

    Args:
        image: (dim,) L2-normalised.
        entities: (e, dim) of all entity texts.
        around: see `Surroundings`.
        near: nearest images, nearest first: cosine, and numbers of the entities that they are labelled with, if any.
        without: numbers of entities that are left out, as though no label named them.
    """
    similarity = (entities @ image).astype(np.float64)
    near = [(cosine, [entity for entity in labels if entity not in without]) for cosine, labels in near]
    witnesses = [(cosine, labels) for cosine, labels in near if labels][:NEAREST]
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
        cosines - np.array([np.max(np.delete(cosines, position), initial=-1.0) for position in range(len(cosines))])
    )
    share = np.log(np.array([votes.get(entity, 0.0) for entity in chosen.tolist()]) + _LEAST)
    best = np.full(len(chosen), margin.max(initial=_FLOOR))
    features = np.stack([z, margin, lead, share, best], axis=1)
    return EntityCandidates(chosen, cosines, np.hstack([features, _beside(chosen.tolist(), near, witnesses)]))


def _beside(
    chosen: Sequence[int], near: Sequence[tuple[float, Sequence[int]]], witnesses: Sequence[tuple[float, Sequence[int]]]
) -> Doubles:
    """(n, 5) what the nearest images say, labelled or not."""
    if not near:
        return np.zeros((len(chosen), 5))
    cosines = np.array([cosine for cosine, _ in near])
    nearest: dict[int, float] = {}
    for cosine, labels in witnesses:
        for entity in labels:
            nearest.setdefault(entity, cosine)
    # Of what no witness shows, it is not nearer than the last one.
    nearest_cosines = np.array(
        [nearest.get(entity, float(cosines[-1]) if not witnesses else witnesses[-1][0]) for entity in chosen]
    )
    votes = _votes(near[:NEAREST])
    of_all = np.log(np.array([votes.get(entity, 0.0) for entity in chosen]) + _LEAST)
    labelled = np.array([bool(labels) for _, labels in near[:NEAREST]])
    shares = [np.full(len(chosen), labelled.mean()), np.full(len(chosen), labelled[:_CLOSE].mean())]
    return np.stack([nearest_cosines - cosines[0], nearest_cosines - cosines[:_CLOSE].mean(), of_all, *shares], axis=1)


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
    for weight, (_, labels) in zip(weights, witnesses, strict=True):
        for entity in labels:
            votes[entity] = votes.get(entity, 0.0) + float(weight)
    return {entity: vote / float(sum(weights)) for entity, vote in votes.items()}


_EVIDENCE, _SIBLINGS = 5, 3


@dataclass(frozen=True)
class Witness:
    """An image that is near.

    Attributes:
        image: its id.
        cosine: with the image in question.
        entities: numbers of those that it is labelled with, if any.
    """

    image: int
    cosine: float
    entities: tuple[int, ...]


@dataclass(frozen=True)
class LikelyEntity:
    """An entity that an image may show.

    Attributes:
        number: of the entity.
        probability: calibrated; `None` where the index cannot say.
        cosine: of the image and the entity's text.
        evidence: nearest images that are labelled with it.
    """

    number: int
    probability: float | None
    cosine: float
    evidence: tuple[Witness, ...]


@dataclass(frozen=True)
class Likely:
    """What an image may show.

    Attributes:
        entities: likeliest first.
        best: the greatest probability; `None` where the index cannot say.
        even: probability that no label names what is shown, if half of all images were so; `None` likewise.
        unnamed: the same, if as many images are so as was said; `None` likewise.
    """

    entities: tuple[LikelyEntity, ...]
    best: float | None
    even: float | None = None
    unnamed: float | None = None


def likely_entities(
    state: State, connection: Connection, vectors: Array, limit: int, itself: int = -1, unnamed: float = UNNAMED
) -> list[Likely]:
    """What images may show.

    Args:
        state, connection: of the index.
        vectors: (n, dim) of the images, L2-normalised.
        limit: most entities of each.
        itself: id of an image that is no witness.
        unnamed: share of images that show what no label names.

    Raises:
        OpenMofiError: the index knows no entities.
    """
    if not len(state.entities):
        raise OpenMofiError(
            "The index knows no entities that its encoder can compare images with.",
            "Build it of labels, or with --kb KB --entities all.",
        )
    curve = state.ending.entity if state.ending else None
    none = state.ending.unnamed if state.ending and curve else None
    around = state.surroundings if state.ending else Surroundings(vectors[:0], state.entities[:0], 1.0)
    likely = []
    for vector, near in zip(vectors, _nearest(state, connection, vectors, itself), strict=True):
        candidates = candidates_of(vector, state.entities, around, [(each.cosine, each.entities) for each in near])
        even = none(candidates.unnamed_features()) if none else None
        unknown = None if even is None else float(with_share(even, unnamed)[0])
        probabilities = curve(candidates.features) * (1 - (unknown or 0.0)) if curve else None
        order = np.argsort(-(candidates.cosines if probabilities is None else probabilities), kind="stable")[:limit]
        entities = tuple(
            LikelyEntity(
                number := int(candidates.entities[position]),
                None if probabilities is None else float(probabilities[position]),
                float(candidates.cosines[position]),
                tuple(each for each in near if number in each.entities)[:_EVIDENCE],
            )
            for position in order.tolist()
        )
        best = None if probabilities is None else float(probabilities[order].max(initial=0.0))
        likely.append(Likely(entities, best, None if even is None else float(even[0]), unknown))
    return likely


def recognised(
    state: State,
    connection: Connection,
    image: ImageInput | int,
    region: Region | None,
    limit: int,
    encoder: Callable[[], Encoder],
    cache: LRUCache[Array],
    unnamed: float,
) -> Recognition:
    """See `Index.recognise`; `cache` holds embeddings of the encoder."""
    if not 0 <= unnamed < 1:
        raise UsageError(f"unnamed is {unnamed}.", "It is a share of images, from 0 up to 1.")
    vectors = image_vectors(state, connection, [Example(image, region=region)], encoder, cache)
    (outcome,) = likely_entities(state, connection, vectors, limit, image if isinstance(image, int) else -1, unnamed)
    ids = [state.entity_ids[each.number] for each in outcome.entities]
    siblings = [state.alike(entity, _SIBLINGS) for entity in ids]
    records = entity_records(connection, [*ids, *chain.from_iterable(siblings)])
    images = image_records(connection, [near.image for each in outcome.entities for near in each.evidence])
    entities = tuple(
        Recognised(
            records[entity],
            each.probability,
            each.cosine,
            tuple((images[near.image], near.cosine) for near in each.evidence if near.image in images),
            tuple(records[other] for other in others if other in records),
        )
        for entity, each, others in zip(ids, outcome.entities, siblings, strict=True)
    )
    likely = outcome.best is None or outcome.best >= LIKELY
    note = "" if likely else "Nothing that the index knows is likely to be shown."
    if outcome.unnamed is not None and outcome.unnamed >= LIKELY:
        note = "This is likely something that no label names."
    why = str(state.calibration["recognition"]) if outcome.best is None else ""
    return Recognition(entities, note, outcome.unnamed, why)


def _nearest(state: State, connection: Connection, vectors: Array, itself: int) -> list[list[Witness]]:
    """Of each image the nearest ones."""
    allowed = None if state.alive.all() else state.alive
    scores, positions = state.vectors.search(vectors, min(LOOKED_AT, len(state.vectors)), allowed)
    near = [
        [
            (int(state.images[position]), float(score))
            for score, position in zip(*row, strict=True)
            if position >= 0 and state.images[position] != itself
        ]
        for row in zip(scores, positions, strict=True)
    ]
    labels = _labelled(state, connection, sorted({image for row in near for image, _ in row}))
    return [[Witness(image, cosine, labels.get(image, ())) for image, cosine in row] for row in near]


def _labelled(state: State, connection: Connection, images: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Id → numbers of the entities that it is labelled with, where there are some."""
    labels: dict[int, tuple[int, ...]] = {}
    statement = "SELECT image, entity FROM labels WHERE accepted = 1 AND image IN ({})"
    for image, entity in rows_in(connection, statement, images):
        if entity in state.entity_numbers:
            labels[image] = (*labels.get(image, ()), state.entity_numbers[entity])
    return labels
