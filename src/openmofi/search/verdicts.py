"""Verdicts of people in an index: written, taken back, counted by strata, and as the table that the label job takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.dataset.tables import Folder
from openmofi.errors import UsageError
from openmofi.review.sampling import EDGES, stratum_name
from openmofi.review.verdicts import probability_basis, verdicts_table
from openmofi.search.records import Verdict
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import meta, now, set_meta, snapshot, transaction

_RANGE = " ".join(
    f"WHEN labels.probability >= {float(np.float32(edge))} THEN {position}"
    for position, edge in reversed(list(enumerate(EDGES)))
)
STRATUM = f"(labels.accepted * {len(EDGES)} + CASE {_RANGE} ELSE 0 END)"
"""A label's stratum as a number, in SQL: `divmod(number, len(EDGES))` is (accepted, position of its range)."""
_FIRST_COUNTED = 1
"""The table leaves out the stratum 0: candidates of a probability that no lower threshold would make labels."""
_HEADS = "label_folders"
"""Name in `meta` of what the index's folders of labels were when it took them in: path → head of `verdicts_table`."""
_ROWS = f"""
    SELECT shard, key, entity, verdict, instead, who, made, probability, stratum FROM (
      SELECT verdicts.*, labels.probability, {STRATUM} AS stratum,
        row_number() OVER (PARTITION BY verdicts.id ORDER BY coalesce(labels.probability, -1) DESC) AS place
      FROM verdicts
      LEFT JOIN sources ON sources.shard = verdicts.shard AND (:labels = '' OR sources.labels = :labels)
      LEFT JOIN images ON images.source = sources.id AND images.key = verdicts.key AND images.copy = 0
      LEFT JOIN labels ON labels.image = images.id AND labels.entity = verdicts.entity
      WHERE undone = 0 AND (:entity = '' OR verdicts.entity = :entity)) AS likeliest
    WHERE place = 1 ORDER BY id"""
_STRATA = f"""
    SELECT {STRATUM} AS stratum, count(*), avg(probability) FROM labels
    JOIN images ON images.id = labels.image JOIN sources ON sources.id = images.source
    WHERE (:labels = '' OR sources.labels = :labels) AND (:entity = '' OR labels.entity = :entity)
    GROUP BY stratum ORDER BY stratum"""


def add_verdicts(connection: Connection, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """See `Index.add_verdicts`."""
    made, kept = now(), []
    with transaction(connection):
        for each in verdicts:
            ((number,),) = connection.execute(
                "INSERT INTO verdicts (shard, key, entity, verdict, instead, who, made) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (each.shard, each.key, each.entity, each.verdict, each.instead, each.who, made),
            )
            kept.append(replace(each, when=made, id=int(number)))
    return kept


def undo_verdict(connection: Connection, verdict: int) -> bool:
    """See `Index.undo_verdict`."""
    with transaction(connection):
        return connection.execute("UPDATE verdicts SET undone = 1 WHERE id = ? AND undone = 0", (verdict,)).rowcount > 0


def verdicts_of(connection: Connection, entity: str = "", limit: int = -1) -> list[Verdict]:
    """Verdicts that were not undone, latest first."""
    return [
        Verdict(shard, key, of, verdict, instead, who, made, number)
        for number, shard, key, of, verdict, instead, who, made in connection.execute(
            "SELECT id, shard, key, entity, verdict, instead, who, made FROM verdicts "
            "WHERE undone = 0 AND (? = '' OR entity = ?) ORDER BY id DESC LIMIT ?",
            (entity, entity, limit if limit >= 0 else 2**62),
        )
    ]


def strata_of(connection: Connection, labels: str = "", entity: str = "") -> dict[int, tuple[int, float]]:
    """Return how many labels each stratum has, and the mean of their probabilities, by its number (see `STRATUM`).

    Args:
        connection: of the index.
        labels: a folder of labels that the index was built of; of all where it is empty.
        entity: of its labels alone.
    """
    rows = connection.execute(_STRATA, {"labels": labels, "entity": entity})
    return {stratum: (count, mean) for stratum, count, mean in rows}


def verdict_rows(connection: Connection, labels: str = "", entity: str = "") -> list[dict[str, Any]]:
    """Return verdicts that were not taken back, earliest first, as rows of `openmofi.schema.VERDICTS`.

    `stratum` is the number of `STRATUM`, and `None` as `probability` is, where the index has no such label; see
    `strata_of` for the arguments.
    """
    names = ("shard", "key", "entity", "verdict", "instead", "who", "when", "probability", "stratum")
    rows = connection.execute(_ROWS, {"labels": labels, "entity": entity})
    return [dict(zip(names, row, strict=True)) for row in rows]


def table_of(connection: Connection, labels: str = "", entity: str = "") -> pa.Table:
    """See `Index.verdict_table`."""
    with snapshot(connection):
        path = _labels_folder(connection, labels)
        head = _heads(connection).get(path)
        rows = verdict_rows(connection, path, entity)
        strata = strata_of(connection, path) if head else {}
    counted = [number for number in strata if number >= _FIRST_COUNTED]
    if head is not None:
        described = [(*divmod(number, len(EDGES)), strata[number][0]) for number in counted]
        head = head | {
            "strata": [
                {"name": stratum_name(bool(accepted), position), "accepted": bool(accepted), "labels": count}
                for accepted, position, count in described
            ]
        }
    positions = {number: position for position, number in enumerate(counted)}
    return verdicts_table([{**row, "stratum": positions.get(row["stratum"])} for row in rows], head)


def note_labels(connection: Connection, folders: Sequence[Folder], *, taken_in: bool) -> None:
    """Keep what labels the index has: nothing of `folders` while they are being taken in."""
    heads = _heads(connection)
    for folder in folders:
        settings, inputs = folder.manifest.settings, folder.manifest.inputs
        head = {
            "labels": folder.manifest.fingerprint,
            "basis": probability_basis(settings, inputs),
            "encoder": inputs.get("/encoder", ""),
            "kb": inputs.get("/kb", ""),
        }
        if taken_in:
            heads[folder.path] = head
        elif heads.get(folder.path) != head:
            heads.pop(folder.path, None)
    with transaction(connection):
        set_meta(connection, {_HEADS: json.dumps(heads)})


def _heads(connection: Connection) -> dict[str, dict[str, Any]]:
    heads: dict[str, dict[str, Any]] = json.loads(meta(connection).get(_HEADS, "{}"))
    return heads


def _labels_folder(connection: Connection, labels: str) -> str:
    """The folder of labels that is meant; "" where the index has none, or several and none is named."""
    paths = [
        path for (path,) in connection.execute("SELECT DISTINCT labels FROM sources WHERE labels != '' ORDER BY 1")
    ]
    if not labels:
        return paths[0] if len(paths) == 1 else ""
    meant = next((path for path in paths if path == labels or Path(path).absolute() == Path(labels).absolute()), None)
    if meant is None:
        raise UsageError(
            f"{connection.place} was not built of the labels {labels}.",
            f"It was built of {', '.join(paths) or 'images without labels'}.",
        )
    return meant
