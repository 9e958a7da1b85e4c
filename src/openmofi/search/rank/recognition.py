"""What an image may show: entities by their texts and by the labelled images that are nearest to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import numpy as np

from openmofi.encoders import Encoder, ImageInput
from openmofi.errors import OpenMofiError
from openmofi.search.query import Example, Region
from openmofi.search.rank.state import State
from openmofi.search.rank.vectorise import image_vectors
from openmofi.search.records import Recognised, Recognition
from openmofi.search.store.reading import entity_records, image_records

_EVIDENCE, _NEAREST = 5, 200


def recognised(state: State, connection: sqlite3.Connection, image: ImageInput | int, region: Region | None,
               limit: int, encoder: Callable[[], Encoder]) -> Recognition:
    """See `Index.recognise`."""
    if not len(state.entities):
        raise OpenMofiError("The index knows no entities that its encoder can compare images with.",
                            "Build it of labels, or with --kb.")
    vector = image_vectors(state, connection, [Example(image, region=region)], encoder)[0]
    similarity = state.entities @ vector
    best = np.argsort(-similarity, kind="stable")[:limit].tolist()
    ids = [state.entity_ids[place] for place in best]
    records = entity_records(connection, ids)
    evidence = _evidence(state, connection, vector, image if isinstance(image, int) else -1)
    images = image_records(connection, [near for entity in ids for near, _ in evidence.get(entity, [])])
    return Recognition(tuple(
        Recognised(records[entity], None, float(similarity[place]),
                   tuple((images[near], cosine) for near, cosine in evidence.get(entity, []) if near in images))
        for entity, place in zip(ids, best, strict=True)))


def _evidence(state: State, connection: sqlite3.Connection, vector: np.ndarray, itself: int,
              ) -> dict[str, list[tuple[int, float]]]:
    """Entity → its nearest labelled images with their cosines."""
    count = min(_NEAREST, len(state.vectors))
    scores, positions = state.vectors.search(vector[None], count, state.alive)
    near: dict[str, list[tuple[int, float]]] = {}
    for score, position in zip(scores[0].tolist(), positions[0].tolist(), strict=True):
        image = int(state.images[position]) if position >= 0 else -1
        if image < 0 or image == itself:
            continue
        for entity, in connection.execute("SELECT entity FROM labels WHERE image = ? AND accepted", (image,)):
            if len(near.setdefault(entity, [])) < _EVIDENCE:
                near[entity].append((image, score))
    return near
