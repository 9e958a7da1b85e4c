"""What an image may show: entities by their texts and by the labelled images that are nearest to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openmofi.encoders import Array, Encoder, ImageInput
from openmofi.errors import OpenMofiError
from openmofi.search.query import Example, Region
from openmofi.search.rank.candidates import NEAREST, candidates_of
from openmofi.search.rank.features import Surroundings
from openmofi.search.rank.state import State
from openmofi.search.rank.vectorise import image_vectors
from openmofi.search.records import EntityRecord, ImageRecord, Recognised, Recognition
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import in_chunks, marks
from openmofi.search.store.reading import entity_records, image_records

_EVIDENCE, _SIBLINGS, _LIKELY = 5, 3, 0.5
_Witness = tuple[int, float, list[str]]


def recognised(state: State, connection: Connection, image: ImageInput | int, region: Region | None,
               limit: int, encoder: Callable[[], Encoder]) -> Recognition:
    """See `Index.recognise`."""
    if not len(state.entities):
        raise OpenMofiError("The index knows no entities that its encoder can compare images with.",
                            "Build it of labels, or with --kb.")
    vector = image_vectors(state, connection, [Example(image, region=region)], encoder)[0]
    witnesses = _witnesses(state, connection, vector, image if isinstance(image, int) else -1)
    curve = state.ending.entity if state.ending else None
    around = state.surroundings if state.ending else Surroundings(vector[None][:0], state.entities[:0], 1.0)
    found = candidates_of(vector, state.entities, around,
                          [(cosine, [state.entity_numbers[each] for each in shown]) for _, cosine, shown in witnesses])
    probabilities = curve(found.features) if curve else None
    order = np.argsort(-(probabilities if probabilities is not None else found.cosines), kind="stable")[:limit]
    ids = [state.entity_ids[number] for number in found.entities[order].tolist()]
    siblings = {entity: _siblings(state, entity) for entity in ids}
    records = entity_records(connection, [*ids, *(other for others in siblings.values() for other in others)])
    images = image_records(connection, [image for image, _, shown in witnesses if set(shown) & set(ids)])
    entities = tuple(
        Recognised(records[entity], None if probabilities is None else float(probabilities[place]),
                   float(found.cosines[place]), _evidence(entity, witnesses, images),
                   _records(siblings[entity], records))
        for entity, place in zip(ids, order.tolist(), strict=True))
    likely = probabilities is None or probabilities.max(initial=0.0) >= _LIKELY
    return Recognition(entities, "" if likely else "Nothing that the index knows is likely to be shown.")


def _witnesses(state: State, connection: Connection, vector: Array, itself: int) -> list[_Witness]:
    """The nearest labelled images: id, cosine, entities."""
    scores, positions = state.vectors.search(vector[None], min(4 * NEAREST, len(state.vectors)), state.alive)
    near = {int(state.images[position]): float(score) for score, position in zip(scores[0], positions[0], strict=True)
            if position >= 0 and state.images[position] != itself}
    shown: dict[int, list[str]] = {}
    for part in in_chunks(list(near)):
        for image, entity in connection.execute(
                f"SELECT image, entity FROM labels WHERE accepted = 1 AND image IN ({marks(part)})", list(part)):
            if entity in state.entity_numbers:
                shown.setdefault(image, []).append(entity)
    return [(image, cosine, shown[image]) for image, cosine in near.items() if image in shown][:NEAREST]


def _evidence(entity: str, witnesses: list[_Witness], images: dict[int, ImageRecord],
              ) -> tuple[tuple[ImageRecord, float], ...]:
    return tuple((images[image], cosine) for image, cosine, shown in witnesses
                 if entity in shown and image in images)[:_EVIDENCE]


def _siblings(state: State, entity: str) -> list[str]:
    """Entities whose texts are most alike to the encoder."""
    number = state.entity_numbers[entity]
    order = np.argsort(-(state.entities @ state.entities[number]), kind="stable")[:_SIBLINGS + 1]
    return [state.entity_ids[place] for place in order.tolist() if place != number][:_SIBLINGS]


def _records(ids: list[str], records: dict[str, EntityRecord]) -> tuple[EntityRecord, ...]:
    return tuple(records[entity] for entity in ids if entity in records)
