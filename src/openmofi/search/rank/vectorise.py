"""What a query asks for as a vector in the encoder's space: of images, text, an entity and marked images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from openmofi.encoders import Array, Encoder, ImageInput
from openmofi.encoders.arrays import normalised
from openmofi.encoders.preprocess import as_image
from openmofi.errors import OpenMofiError
from openmofi.search.query import Example, Query, Region
from openmofi.search.rank.keywords import unknown_entity
from openmofi.search.rank.state import State
from openmofi.search.store.connection import Connection
from openmofi.search.store.places import image_bytes

_RIDGE = 0.1


def vectors_of(state: State, connection: Connection, queries: Sequence[Query],
               encoder: Callable[[], Encoder]) -> list[Array | None]:
    """See `Index.vectors_of`."""
    pixels = [(number, example) for number, query in enumerate(queries) for example in query.examples]
    texts = [(number, query.text) for number, query in enumerate(queries) if query.text]
    sums: list[Array | None] = [None] * len(queries)

    def add(number: int, vector: Array) -> None:
        held = sums[number]
        sums[number] = vector if held is None else held + vector

    images = image_vectors(state, connection, [example for _, example in pixels], encoder)
    for (number, example), vector in zip(pixels, images, strict=True):
        add(number, example.weight * vector)
    if texts and encoder().has_texts:
        for (number, _), vector in zip(texts, encoder().embed_texts([text for _, text in texts]), strict=True):
            add(number, vector)
    for number, query in enumerate(queries):
        if query.entity:
            add(number, entity_vector(state, connection, query.entity))
        if query.like:
            add(number, marked_vector(state, query))
    return [None if vector is None else normalised(vector[None])[0] for vector in sums]


def image_vectors(state: State, connection: Connection, examples: Sequence[Example],
                  encoder: Callable[[], Encoder]) -> Array:
    """(n, dim) L2-normalised; a whole image of the index is not embedded again."""
    vectors: list[Array | None] = []
    waiting: list[tuple[int, Image.Image]] = []
    for place, example in enumerate(examples):
        position = -1
        if isinstance(example.image, int):
            position = int(state.positions(np.array([example.image]))[0])
        if position >= 0 and example.region is None:
            vectors.append(state.exact.rows(np.array([position]))[0])
            continue
        vectors.append(None)
        source: ImageInput = image_bytes(connection, example.image) if isinstance(example.image, int) else example.image
        waiting.append((place, cropped(as_image(source, encoder().preprocessing, _named(source)), example.region)))
    if waiting:
        embedded = encoder().embed_images([image for _, image in waiting])
        for (place, _), vector in zip(waiting, embedded, strict=True):
            vectors[place] = vector
    return np.stack([vector for vector in vectors if vector is not None]) if vectors else \
        np.zeros((0, int(state.meta["dim"])), np.float32)


def cropped(image: Image.Image, region: Region | None) -> Image.Image:
    """The part of an upright image that is meant; at least a pixel."""
    if region is None:
        return image
    left, top = (min(int(part * size), size - 1) for part, size in zip((region.left, region.top), image.size,
                                                                        strict=True))
    right, bottom = (round(part * size) for part, size in zip((region.right, region.bottom), image.size, strict=True))
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def entity_vector(state: State, connection: Connection, entity: str) -> Array:
    """(dim,) of its text.

    Raises:
        UnknownEntityError: the index does not know it.
        OpenMofiError: the encoder has no texts.
    """
    if entity not in state.entity_numbers:
        raise unknown_entity(connection, entity)
    if not len(state.entities):
        raise OpenMofiError("The index has no entity vectors, since its encoder embeds images only.",
                            "Filter by the entity instead.")
    vector: Array = state.entities[state.entity_numbers[entity]]
    return vector


def marked_vector(state: State, query: Query) -> Array:
    """(dim,) direction that tells images that were marked right from those marked wrong: ridge regression over them."""
    marked = state.positions(np.array([*query.like, *query.unlike], np.int64))
    sign = np.array([1.0] * len(query.like) + [-1.0] * len(query.unlike), np.float32)[marked >= 0]
    vectors = state.exact.rows(marked[marked >= 0])
    if not len(vectors):
        raise OpenMofiError("None of the marked images has a vector.", "Mark others.")
    if not (sign < 0).any():
        return normalised(vectors.mean(axis=0)[None])[0]
    # In the space of the marked images: as many unknowns as marks, whatever the dimension.
    weights = np.linalg.solve(vectors @ vectors.T + _RIDGE * np.eye(len(vectors), dtype=np.float32), sign)
    return normalised((weights @ vectors).astype(np.float32)[None])[0]


def _named(source: ImageInput) -> str:
    return str(source) if isinstance(source, str | Path) else "The image of the query"
