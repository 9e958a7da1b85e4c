"""What a query asks for as a vector in the encoder's space: of images, text, an entity and marked images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from openmofi.arrays import Array
from openmofi.encoders import Encoder, ImageInput
from openmofi.encoders.arrays import normalised
from openmofi.encoders.preprocess import as_image
from openmofi.errors import OpenMofiError
from openmofi.features.store import content_digits
from openmofi.search.query import Example, Query, Region
from openmofi.search.rank.keywords import unknown_entity
from openmofi.search.rank.state import Kept, State
from openmofi.search.store.connection import Connection
from openmofi.search.store.reading import image_bytes

_RIDGE = 0.1


def vectors_of(
    state: State, connection: Connection, queries: Sequence[Query], encoder: Callable[[], Encoder], kept: Kept[Array]
) -> list[Array | None]:
    """See `Index.vectors_of`; `kept` are embeddings of the encoder."""
    pixels = [(number, example) for number, query in enumerate(queries) for example in query.examples]
    texts = [(number, query.text) for number, query in enumerate(queries) if query.text]
    sums: list[Array | None] = [None] * len(queries)

    def add(number: int, vector: Array) -> None:
        held = sums[number]
        sums[number] = vector if held is None else held + vector

    images = image_vectors(state, connection, [example for _, example in pixels], encoder, kept)
    for (number, example), vector in zip(pixels, images, strict=True):
        add(number, example.weight * vector)
    if texts and encoder().has_texts:
        for number, vector in zip(
            [number for number, _ in texts], text_vectors([text for _, text in texts], encoder, kept), strict=True
        ):
            add(number, vector)
    for number, query in enumerate(queries):
        if query.entity:
            add(number, entity_vector(state, connection, query.entity))
        if query.like:
            add(number, marked_vector(state, query))
    return [None if vector is None else normalised(vector[None])[0] for vector in sums]


def text_vectors(texts: Sequence[str], encoder: Callable[[], Encoder], kept: Kept[Array]) -> list[Array]:
    """(dim,) each; what was embedded before is not embedded again."""
    known = {text: kept.get(text) for text in texts}
    if missing := [text for text, vector in known.items() if vector is None]:
        for text, vector in zip(missing, encoder().embed_texts(missing), strict=True):
            known[text] = kept.put(text, vector)
    return [vector for text in texts if (vector := known[text]) is not None]


def image_vectors(
    state: State, connection: Connection, examples: Sequence[Example], encoder: Callable[[], Encoder], kept: Kept[Array]
) -> Array:
    """(n, dim) L2-normalised; a whole image of the index, and what was embedded before, is not embedded again."""
    vectors: list[Array | None] = []
    waiting: list[tuple[int, Image.Image]] = []
    keys = [_key(example) for example in examples]
    for place, example in enumerate(examples):
        position = -1
        if isinstance(example.image, int):
            position = int(state.positions(np.array([example.image]))[0])
        if position >= 0 and example.region is None:
            vectors.append(state.exact.rows(np.array([position]))[0])
            continue
        vectors.append(kept.get(keys[place]) if keys[place] else None)
        if vectors[-1] is not None:
            continue
        source: ImageInput = image_bytes(connection, example.image) if isinstance(example.image, int) else example.image
        waiting.append((place, cropped(as_image(source, encoder().preprocessing, _named(source)), example.region)))
    if waiting:
        embedded = encoder().embed_images([image for _, image in waiting])
        for (place, _), vector in zip(waiting, embedded, strict=True):
            vectors[place] = kept.put(keys[place], vector) if keys[place] else vector
    return (
        np.stack([vector for vector in vectors if vector is not None])
        if vectors
        else np.zeros((0, int(state.meta["dim"])), np.float32)
    )


def _key(example: Example) -> Hashable:
    """What an embedding belongs to; `None` for a file, which may change, and for what costs as much to compare."""
    if isinstance(example.image, bytes):
        return content_digits(example.image), example.region
    if isinstance(example.image, np.ndarray):
        return content_digits(example.image.tobytes()), example.image.shape, example.image.dtype.str, example.region
    return None


def cropped(image: Image.Image, region: Region | None) -> Image.Image:
    """The part of an upright image that is meant; at least a pixel."""
    if region is None:
        return image
    left, top = (
        min(int(part * size), size - 1) for part, size in zip((region.left, region.top), image.size, strict=True)
    )
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
        raise OpenMofiError(
            "The index has no entity vectors, since its encoder embeds images only.", "Filter by the entity instead."
        )
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
