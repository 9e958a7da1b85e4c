"""What images may show: entities by their texts and by the labelled images that are nearest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array, Encoder, ImageInput
from openmofi.errors import OpenMofiError, UsageError
from openmofi.search.query import Example, Region
from openmofi.search.rank.calibration import with_share
from openmofi.search.rank.candidates import LOOKED_AT, candidates_of
from openmofi.search.rank.features import Surroundings
from openmofi.search.rank.kept import Kept
from openmofi.search.rank.state import State
from openmofi.search.rank.vectorise import image_vectors
from openmofi.search.recognise_settings import UNNAMED
from openmofi.search.records import EntityRecord, ImageRecord, Recognised, Recognition
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import in_chunks, marks
from openmofi.search.store.reading import entity_records, image_records

LIKELY = 0.5
"""From this probability on an entity is likely to be shown."""
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
class Likely:
    """Entities that an image may show, likeliest first.

    Attributes:
        entities: (n,) numbers.
        probabilities: (n,) calibrated; `None` where the index cannot say.
        cosines: (n,) of the image and the entities' texts.
        evidence: (n,) of each the nearest images that are labelled with it.
        unnamed: probability that no label names what is shown; `None` where the index cannot say.
        even: the same if half of all images were so.
    """

    entities: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    cosines: NDArray[np.float64]
    evidence: tuple[tuple[Witness, ...], ...]
    even: float | None = None
    unnamed: float | None = None

    @property
    def best(self) -> float | None:
        """The greatest probability; `None` where the index cannot say."""
        return None if self.probabilities is None else float(self.probabilities.max(initial=0.0))


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
        found = candidates_of(vector, state.entities, around, [(each.cosine, each.entities) for each in near])
        even = none(found.unnamed_features()) if none else None
        unknown = None if even is None else float(with_share(even, unnamed)[0])
        probabilities = curve(found.features) * (1 - (unknown or 0.0)) if curve else None
        order = np.argsort(-(found.cosines if probabilities is None else probabilities), kind="stable")[:limit]
        entities = found.entities[order]
        likely.append(
            Likely(
                entities,
                None if probabilities is None else probabilities[order],
                found.cosines[order],
                tuple(
                    tuple(each for each in near if entity in each.entities)[:_EVIDENCE] for entity in entities.tolist()
                ),
                None if even is None else float(even[0]),
                unknown,
            )
        )
    return likely


def recognised(
    state: State,
    connection: Connection,
    image: ImageInput | int,
    region: Region | None,
    limit: int,
    encoder: Callable[[], Encoder],
    kept: Kept[Array],
    unnamed: float,
) -> Recognition:
    """See `Index.recognise`; `kept` are embeddings of the encoder."""
    if not 0 <= unnamed < 1:
        raise UsageError(f"unnamed is {unnamed}.", "It is a share of images, from 0 up to 1.")
    vectors = image_vectors(state, connection, [Example(image, region=region)], encoder, kept)
    (found,) = likely_entities(state, connection, vectors, limit, image if isinstance(image, int) else -1, unnamed)
    ids = [state.entity_ids[number] for number in found.entities.tolist()]
    siblings = {entity: _siblings(state, entity) for entity in ids}
    records = entity_records(connection, [*ids, *(other for others in siblings.values() for other in others)])
    images = image_records(connection, [each.image for evidence in found.evidence for each in evidence])
    probabilities = [None] * len(ids) if found.probabilities is None else found.probabilities.tolist()
    entities = tuple(
        Recognised(records[entity], probability, cosine, _shown(evidence, images), _records(siblings[entity], records))
        for entity, probability, cosine, evidence in zip(
            ids, probabilities, found.cosines.tolist(), found.evidence, strict=True
        )
    )
    likely = found.best is None or found.best >= LIKELY
    note = "" if likely else "Nothing that the index knows is likely to be shown."
    if found.unnamed is not None and found.unnamed >= LIKELY:
        note = "This is likely something that no label names."
    return Recognition(entities, note, found.unnamed)


def _nearest(state: State, connection: Connection, vectors: Array, itself: int) -> list[list[Witness]]:
    """Of each image the nearest ones."""
    allowed = None if state.alive.all() else state.alive
    scores, positions = state.vectors.search(vectors, min(LOOKED_AT, len(state.vectors)), allowed)
    near = [
        [
            (int(state.images[position]), float(score))
            for score, position in zip(*found, strict=True)
            if position >= 0 and state.images[position] != itself
        ]
        for found in zip(scores, positions, strict=True)
    ]
    shown = _labelled(state, connection, sorted({image for found in near for image, _ in found}))
    return [[Witness(image, cosine, shown.get(image, ())) for image, cosine in found] for found in near]


def _labelled(state: State, connection: Connection, images: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Id → numbers of the entities that it is labelled with, where there are some."""
    shown: dict[int, tuple[int, ...]] = {}
    for part in in_chunks(images):
        for image, entity in connection.execute(
            f"SELECT image, entity FROM labels WHERE accepted = 1 AND image IN ({marks(part)})", list(part)
        ):
            if entity in state.entity_numbers:
                shown[image] = (*shown.get(image, ()), state.entity_numbers[entity])
    return shown


def _shown(evidence: Sequence[Witness], images: dict[int, ImageRecord]) -> tuple[tuple[ImageRecord, float], ...]:
    return tuple((images[each.image], each.cosine) for each in evidence if each.image in images)


def _siblings(state: State, entity: str) -> list[str]:
    """Entities whose texts are most alike to the encoder."""
    number = state.entity_numbers[entity]
    order = np.argsort(-(state.entities @ state.entities[number]), kind="stable")[: _SIBLINGS + 1]
    return [state.entity_ids[place] for place in order.tolist() if place != number][:_SIBLINGS]


def _records(ids: list[str], records: dict[str, EntityRecord]) -> tuple[EntityRecord, ...]:
    return tuple(records[entity] for entity in ids if entity in records)
