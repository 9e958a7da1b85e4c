"""The map of a collection: a place in the plane for each image, alike ones near each other, as the page shows it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.search.records import CollectionMap
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import meta, snapshot

LEAST = 10
"""Images of a map, at least."""


def read_map(connection: Connection) -> CollectionMap:
    """See `Index.map`."""
    with snapshot(connection):
        rows = list[Any]()
        if "map" in meta(connection):
            rows = connection.execute("SELECT image, x, y, area FROM map ORDER BY image").fetchall()
        ((vectors,),) = connection.execute("SELECT count(*) FROM images WHERE segment IS NOT NULL")
    table = np.array(rows, np.float64).reshape(-1, 4)
    images, points, areas = table[:, 0].astype(np.int64), table[:, 1:3].astype(np.float32), table[:, 3].astype(np.int64)
    return CollectionMap(images, points, areas, int(vectors) - len(table))


SIDE = 65_535
"""Places are whole numbers from 0 to this, y downwards."""
TYPES = 6
"""Most types that have a colour: more colours could not be told apart by everybody."""
_NAMED = 4


@dataclass(frozen=True)
class MapType:
    """A type that has a colour.

    Attributes:
        type: its name.
        images: how many images on the map are of it.
    """

    type: str
    images: int


@dataclass(frozen=True)
class MapArea:
    """An area of the map.

    Attributes:
        images: how many it has.
        entities: names of those with most labels in it, most first.
        type: its commonest type of those that have a colour, or "".
    """

    images: int
    entities: tuple[str, ...]
    type: str


@dataclass(frozen=True)
class MapAnswer:
    """Columns of one length, an image each, and what they refer to.

    Attributes:
        images: ids, ascending.
        x, y: 0 to 65535, y downwards.
        type: position in `types` of what its likeliest label is; after these come other types, and then no label.
        area: position in `areas`.
        types: those of most images, most first.
        areas: those of most images first.
        missing: images that came after the map was made.
        note: a sentence for the user where there is no map, or "".
    """

    images: list[int]
    x: list[int]
    y: list[int]
    type: list[int]
    area: list[int]
    types: list[MapType]
    areas: list[MapArea]
    missing: int
    note: str = ""


def map_answer(connection: Connection) -> MapAnswer:
    """The map of an index as the page shows it."""
    with snapshot(connection):
        plane = read_map(connection)
        tops = dict(
            connection.execute(
                "SELECT image, entity FROM (SELECT image, entity, row_number() OVER (PARTITION BY image ORDER BY "
                "probability DESC, entity) AS place FROM labels WHERE accepted = 1) AS ranked WHERE place = 1"
            )
        )
        kinds: dict[str, list[str]] = {}
        for entity, kind in connection.execute("SELECT entity, type FROM types ORDER BY entity, type"):
            kinds.setdefault(entity, []).append(kind)
        names = dict(connection.execute("SELECT id, name FROM entities"))
    if not len(plane.images):
        note = "This index has no map yet. Make it with: openmofi index map INDEX."
        if plane.missing < LEAST:
            note = f"A map takes {LEAST} images or more, and this index has {plane.missing}."
        return MapAnswer([], [], [], [], [], [], [], plane.missing, note)
    labels = [tops.get(image, "") for image in plane.images.tolist()]
    types, codes = _typed(labels, kinds)
    whole = np.rint((plane.places * [1, -1] + 1) / 2 * SIDE).astype(int).clip(0, SIDE)
    x, y = whole.T.tolist()
    # Numbered anew where some are missing, so that there are never more areas than images.
    numbers: list[int] = np.unique(plane.areas, return_inverse=True)[1].tolist()
    areas = _areas(numbers, labels, codes, types, names)
    return MapAnswer(plane.images.tolist(), x, y, codes, numbers, types, areas, plane.missing)


def _typed(labels: list[str], kinds: Mapping[str, list[str]]) -> tuple[list[MapType], list[int]]:
    """The types of most images, and each image's: of those that its label's entity has, the one of most images."""
    entities = Counter(labels)
    counts: Counter[str] = Counter()
    for entity, images in entities.items():
        counts.update(dict.fromkeys(kinds.get(entity, ()), images))

    def order(kind: str) -> tuple[int, str]:
        return -counts[kind], kind

    top = {entity: min(kinds[entity], key=order) for entity in entities if kinds.get(entity)}
    totals: Counter[str] = Counter()
    for entity, kind in top.items():
        totals[kind] += entities[entity]
    common = sorted(totals, key=lambda kind: (-totals[kind], kind))[:TYPES]
    position = {kind: number for number, kind in enumerate(common)}
    code = {entity: position.get(top.get(entity, ""), len(common)) for entity in entities} | {"": len(common) + 1}
    return [MapType(kind, totals[kind]) for kind in common], [code[entity] for entity in labels]


def _areas(
    numbers: list[int], labels: list[str], codes: list[int], types: list[MapType], names: Mapping[str, str]
) -> list[MapArea]:
    entities: list[Counter[str]] = [Counter() for _ in range(max(numbers) + 1)]
    colours: list[Counter[int]] = [Counter() for _ in entities]
    for area, entity, code in zip(numbers, labels, codes, strict=True):
        entities[area][entity] += 1
        colours[area][code] += 1
    named = [
        tuple(names.get(entity, entity) for entity, _ in each.most_common() if entity)[:_NAMED] for each in entities
    ]
    return [
        MapArea(each.total(), some, types[top].type if (top := colour.most_common(1)[0][0]) < len(types) else "")
        for each, some, colour in zip(entities, named, colours, strict=True)
    ]
