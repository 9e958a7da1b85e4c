"""Verdicts of people in an index: kept, taken back, and as the table that the label job takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.dataset.tables import Folder
from openmofi.errors import UsageError
from openmofi.labeling.verdicts.file import probability_basis, verdicts_table
from openmofi.search.records import Verdict
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import meta, now, set_meta, snapshot, transaction

BOUNDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Where strata of probability begin."""
STRATUM = (
    "CASE "
    + " ".join(
        f"WHEN labels.probability >= {bound} THEN {number}" for number, bound in reversed(list(enumerate(BOUNDS)))
    )
    + " ELSE 0 END"
)
"""Position of a label's stratum, in SQL."""
_COUNTED = "(labels.accepted = 1 OR labels.probability >= 0.1)"
"""Labels, and the candidates that a lower threshold would make labels; as in `openmofi.dataset.review.cells`."""
_HEADS = "label_folders"
"""Name in `meta` of what the index's folders of labels were when it took them in: path → head of `verdicts_table`."""
_ROWS = f"""
    SELECT shard, key, entity, verdict, instead, who, made, probability, code FROM (
      SELECT verdicts.*, labels.probability,
        CASE WHEN {_COUNTED} THEN labels.accepted * {len(BOUNDS)} + {STRATUM} END AS code,
        row_number() OVER (PARTITION BY verdicts.id ORDER BY coalesce(labels.probability, -1) DESC) AS place
      FROM verdicts
      LEFT JOIN sources ON sources.shard = verdicts.shard AND (:labels = '' OR sources.labels = :labels)
      LEFT JOIN images ON images.source = sources.id AND images.key = verdicts.key AND images.copy = 0
      LEFT JOIN labels ON labels.image = images.id AND labels.entity = verdicts.entity
      WHERE undone = 0 AND (:entity = '' OR verdicts.entity = :entity)) AS likeliest
    WHERE place = 1 ORDER BY id"""
_STRATA = f"""
    SELECT labels.accepted * {len(BOUNDS)} + {STRATUM} AS code, count(*) FROM labels
    JOIN images ON images.id = labels.image JOIN sources ON sources.id = images.source
    WHERE sources.labels = ? AND {_COUNTED} GROUP BY code ORDER BY code"""


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


def table_of(connection: Connection, labels: str = "", entity: str = "") -> pa.Table:
    """See `Index.verdict_table`."""
    with snapshot(connection):
        path = _labels_folder(connection, labels)
        head = _heads(connection).get(path)
        rows = connection.execute(_ROWS, {"labels": path, "entity": entity}).fetchall()
        counts = dict(connection.execute(_STRATA, (path,))) if head else {}
    position = {code: number for number, code in enumerate(counts)}
    head = head and {**head, "strata": [_stratum(code, labels) for code, labels in counts.items()]}
    names = ("shard", "key", "entity", "verdict", "instead", "who", "when", "probability")
    return verdicts_table(
        [{**dict(zip(names, row, strict=False)), "stratum": position.get(row[-1])} for row in rows], head
    )


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


def _stratum(code: int, labels: int) -> dict[str, Any]:
    accepted, number = divmod(code, len(BOUNDS))
    low, high = max(BOUNDS[number], 0.0 if accepted else 0.1), [*BOUNDS[1:], 1.0][number]
    return {
        "name": f"{'accepted' if accepted else 'below the threshold'}, {low:.2f}–{high:.2f}",
        "accepted": bool(accepted),
        "labels": labels,
    }
