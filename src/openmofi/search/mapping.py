"""The map of a collection: a place in the plane for each image, alike ones near each other, as the page shows it."""

import numpy as np

from openmofi.search.records import CollectionMap
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import meta, snapshot

LEAST = 10
"""Images of a map, at least."""
_ROW = np.dtype([("image", np.int64), ("place", np.float32, 2), ("area", np.int64)])


def read_map(connection: Connection) -> CollectionMap:
    """See `Index.map`."""
    with snapshot(connection):
        table = np.zeros(0, _ROW)
        if "map" in meta(connection):
            rows = connection.execute("SELECT image, x, y, area FROM map ORDER BY image")
            table = np.fromiter(((image, (x, y), area) for image, x, y, area in rows), _ROW)
        missing = without_place(connection, len(table))
    return CollectionMap(table["image"], table["place"], table["area"], missing)


def without_place(connection: Connection, placed: int) -> int:
    """How many images with a vector are not among those that have a place."""
    ((vectors,),) = connection.execute("SELECT count(*) FROM images WHERE segment IS NOT NULL")
    return int(vectors) - placed


def has_tiles(connection: Connection) -> bool:
    """Whether the index has a map, and one with tiles: those of the first versions had none."""
    return "map_tiles" in meta(connection)
