"""Filters of a query as SQL over the images of an index."""

from __future__ import annotations

import os
import re

import numpy as np
from numpy.typing import NDArray

from openmofi.search.query import Filters
from openmofi.search.rank.keywords import unknown_entity
from openmofi.search.store.connection import Connection

_KNOWN = """SELECT EXISTS (SELECT 1 FROM entities WHERE id = :entity)
    OR EXISTS (SELECT 1 FROM supertypes WHERE above = :entity)
    OR EXISTS (SELECT 1 FROM labels WHERE entity = :entity)"""


def images_within(connection: Connection, filters: Filters) -> NDArray[np.int64]:
    """(n,) ids of the images that pass, ascending.

    Raises:
        UnknownEntityError: the index knows no entity or class of that identifier.
    """
    if filters.entity and not connection.execute(_KNOWN, {"entity": filters.entity}).fetchone()[0]:
        raise unknown_entity(connection, filters.entity)
    conditions, values = ["1 = 1"], dict[str, object]()
    if filters.entity or filters.type or filters.min_probability > 0:
        conditions.append("images.id IN (" + _labelled(filters) + ")")
        values |= {"entity": filters.entity, "type": filters.type, "probability": filters.min_probability}
    if filters.folder:
        folder = filters.folder.rstrip("/")
        path = os.fsencode(folder)
        conditions.append(
            "(images.file >= :first AND images.file < :last OR sources.path = :folder "
            "OR sources.path >= :folder || '/' AND sources.path < :folder || '0')"
        )
        values |= {"first": path + b"/", "last": path + b"0", "folder": folder}
    for number, (names, pattern) in enumerate(_columns(filters)):
        columns = [connection.column(f"name{number}_{place}") for place in range(len(names))]
        conditions.append(f"lower(coalesce({', '.join([*columns, 'NULL'])})) LIKE :like{number} ESCAPE '!'")
        # A star is the only mark of a pattern.
        values[f"like{number}"] = re.sub(r"[!%_]", r"!\g<0>", pattern.lower()).replace("*", "%")
        values |= {f"name{number}_{place}": name for place, name in enumerate(names)}
    for bound, operator in (("since", ">="), ("until", "<=")):
        if day := getattr(filters, bound):
            # 2024-05-01T10:00, 20240501 and EXIF's 2024:05:01 10:00 are the same day.
            digits = f"replace(replace({connection.column('date')}, '-', ''), ':', '')"
            conditions.append(f"substr({digits}, 1, 8) {operator} :{bound}")
            values |= {bound: day.replace("-", ""), "date": "date"}
    rows = connection.execute(
        "SELECT images.id FROM images JOIN sources ON sources.id = images.source WHERE "
        + " AND ".join(conditions)
        + " ORDER BY images.id",
        values,
    )
    return np.fromiter((image for (image,) in rows), np.int64)


def _labelled(filters: Filters) -> str:
    """Images with such a label; one below the threshold counts where a probability was asked for."""
    conditions = ["labels.probability >= :probability" if filters.min_probability else "labels.accepted = 1"]
    if filters.entity:
        conditions.append(
            "(labels.entity = :entity OR labels.entity IN (SELECT entity FROM supertypes WHERE above = :entity))"
        )
    if filters.type:
        conditions.append("labels.entity IN (SELECT entity FROM types WHERE type = :type)")
    return "SELECT labels.image FROM labels WHERE " + " AND ".join(conditions)


def _columns(filters: Filters) -> list[tuple[tuple[str, ...], str]]:
    """Names that a column may have, and what is asked of it."""
    licence = [(("licence", "license"), filters.licence)] if filters.licence else []
    return [*licence, *(((name,), value) for name, value in filters.columns.items())]
