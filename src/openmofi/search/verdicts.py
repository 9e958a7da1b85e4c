"""Verdicts of people in an index: their table for the label job, the precision that they show, what to judge next."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.review.precision import EDGES, allocation, precision_by, stratum_name
from openmofi.review.verdicts import AGENT, KIND, Stratum, Verdicts, probability_basis, verdicts_table
from openmofi.review.verdicts import Verdict as CountedVerdict
from openmofi.search.records import EntityRecord, ImageRecord, Verdict, VerdictValue
from openmofi.search.store.connection import Connection, Place
from openmofi.search.store.database import column_of, connect, meta, now, set_meta, snapshot, transaction
from openmofi.search.store.reading import entity_records, image_records

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
_SAID = "SELECT shard, key, entity, verdict, instead, who, made FROM verdicts {where} ORDER BY id"
_INSERT = "INSERT INTO verdicts (shard, key, entity, verdict, instead, who, made) VALUES (?, ?, ?, ?, ?, ?, ?)"
_SAID_NAMES = ["shard", "key", "entity", "verdict", "instead", "who", "when"]
_STRATA = f"""
    SELECT {STRATUM} AS stratum, count(*), avg(probability) FROM labels
    JOIN images ON images.id = labels.image JOIN sources ON sources.id = images.source
    WHERE (:labels = '' OR sources.labels = :labels) AND (:entity = '' OR labels.entity = :entity)
    GROUP BY stratum ORDER BY stratum"""


def add_verdicts(connection: Connection, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """See `Index.add_verdicts`."""
    made, stored = now(), []
    with transaction(connection):
        for each in verdicts:
            row = (each.shard, each.key, each.entity, each.verdict, each.instead, each.who, made)
            ((number,),) = connection.execute(f"{_INSERT} RETURNING id", row)
            stored.append(replace(each, when=made, id=int(number)))
    return stored


def take_in_verdicts(connection: Connection, table: pa.Table) -> int:
    """See `Index.take_in_verdicts`."""
    if wrong := set(table["verdict"].to_pylist()) - set(get_args(VerdictValue)):
        raise OpenMofiError(f"A verdict is {min(map(str, wrong))!r:.40}, not y, n or u.", "Write the file again.")
    with transaction(connection):
        known = set(connection.execute(_SAID.format(where="")))
        latest: dict[tuple[str, ...], str] = {}
        for row in known:
            latest[row[:3]] = max(latest.get(row[:3], ""), row[6])
        rows = [tuple(row[name] or "" for name in _SAID_NAMES) for row in table.select(_SAID_NAMES).to_pylist()]
        # The last verdict on a label counts: an older one may not come behind it.
        new = [row for row in dict.fromkeys(rows) if row not in known and row[6] > latest.get(row[:3], "")]
        connection.executemany(_INSERT, new)
    return len(new)


def kept_verdicts(address: Place) -> pa.Table:
    """Return the verdicts of an index of any version, without probabilities, which other versions keep in other ways.

    Raises:
        OpenMofiError: there is no index, or its verdicts are kept in another way, too.
    """
    with closing(connect(address, any_version=True)) as connection:
        try:
            rows = list(connection.execute(_SAID.format(where="WHERE undone = 0")))
        except Exception as error:  # of SQLite or a server
            raise OpenMofiError(
                f"The verdicts of {address} cannot be read: {error}.", "Use the version that wrote it."
            ) from error
    return verdicts_table([dict(zip(_SAID_NAMES, row, strict=True)) for row in rows], None)


def undo_verdicts(connection: Connection, verdicts: Sequence[int]) -> int:
    """Take verdicts back by their ids, all of them or none; return how many there were."""
    statement = "UPDATE verdicts SET undone = 1 WHERE id = ? AND undone = 0"
    with transaction(connection):
        return sum(connection.execute(statement, (each,)).rowcount for each in verdicts)


def verdicts_of(connection: Connection, limit: int = -1, offset: int = 0, **of: str) -> list[Verdict]:
    """Verdicts that were not undone, latest first; `of` are columns and their values, such as `who="ann"`."""
    only = "".join(f" AND {column} = ?" for column in of)
    rows = connection.execute(
        "SELECT shard, key, entity, verdict, instead, who, made, id FROM verdicts "
        f"WHERE undone = 0{only} ORDER BY id DESC LIMIT ? OFFSET ?",
        (*of.values(), limit if limit >= 0 else 2**62, offset),
    )
    return [Verdict(*row) for row in rows]


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
        head = head | {"folder": path, "strata": [asdict(_stratum(number, strata[number][0])) for number in counted]}
    positions = {number: position for position, number in enumerate(counted)}
    return verdicts_table([{**row, "stratum": positions.get(row["stratum"])} for row in rows], head)


def _stratum(number: int, labels: int) -> Stratum:
    accepted, position = divmod(number, len(EDGES))
    return Stratum(stratum_name(bool(accepted), position), bool(accepted), labels)


def note_labels(connection: Connection, folders: Sequence[Folder], *, taken_in: bool) -> None:
    """Record which labels the index has: nothing of `folders` while they are being taken in."""
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
    return json.loads(meta(connection).get(_HEADS, "{}"))


def _labels_folder(connection: Connection, labels: str) -> str:
    """The folder of labels that is meant; "" where the index has none, or several and none is named."""
    paths = column_of(connection, "SELECT DISTINCT labels FROM sources WHERE labels != '' ORDER BY 1")
    if not labels:
        return paths[0] if len(paths) == 1 else ""
    meant = next((path for path in paths if path == labels or Path(path).absolute() == Path(labels).absolute()), None)
    if meant is None:
        built = ", ".join(paths) or "images without labels"
        raise UsageError(f"The index was not built of the labels {labels}.", f"It was built of {built}.")
    return meant


_PRIME = 2**31 - 1
_WITHIN = "(:entity = '' OR labels.entity = :entity) AND (:accepted IS NULL OR labels.accepted = :accepted)"
_JUDGED = f"""
    SELECT DISTINCT images.id, verdicts.entity FROM verdicts CROSS JOIN images ON images.key = verdicts.key
    CROSS JOIN sources ON sources.id = images.source AND sources.shard = verdicts.shard
    WHERE undone = 0 AND substr(who, 1, {len(AGENT)}) <> '{AGENT}' AND (:entity = '' OR verdicts.entity = :entity)"""
"""The labels that a person judged. CROSS JOIN keeps SQLite from beginning with the many images."""


@dataclass(frozen=True)
class JudgedLabels:
    """What verdicts say of labels, or of candidates below the threshold.

    Attributes:
        labels: how many there are.
        expected: their mean probability.
        judged, right: verdicts that are not `u`, and those of them that are `y`.
        precision: by the verdicts, see `openmofi.review.precision.precision_by`; `None` while none is judged.
        lower, upper: its interval of 95 %; 0..1 while none is judged.
    """

    labels: int
    expected: float
    judged: int
    right: int
    precision: float | None
    lower: float
    upper: float


@dataclass(frozen=True)
class RangePrecision(JudgedLabels):
    """What verdicts say of the labels in a range of probability.

    Attributes:
        low, high: ends of the range.
    """

    low: float
    high: float


@dataclass(frozen=True)
class ReviewedPrecision(JudgedLabels):
    """What verdicts say of all labels.

    Attributes:
        strata: those that have labels.
        agents: labels that agents judged, whose verdicts are left out: precision stands on what people saw.
    """

    strata: tuple[RangePrecision, ...]
    agents: int


@dataclass(frozen=True)
class ToJudge:
    """A label that a person should look at.

    Attributes:
        image, entity: what it says.
        probability, accepted: see `openmofi.search.Label`.
        verdict: what was said of it last, or "".
    """

    image: ImageRecord
    entity: EntityRecord
    probability: float
    accepted: bool
    verdict: str = ""


def precision(connection: Connection, entity: str = "", accepted: bool | None = True) -> ReviewedPrecision:
    """Return the precision of labels, as far as verdicts show it.

    Args:
        connection: of the index.
        entity: of its labels alone.
        accepted: labels, or candidates below the threshold; both for `None`.
    """
    strata = _strata(connection, entity, accepted)
    numbers = list(strata)
    people, agents = _last_rows(connection, entity)
    said = tuple(
        CountedVerdict(*label, row["verdict"], row["probability"], numbers.index(row["stratum"]))
        for label, row in people.items()
        if row["stratum"] in strata
    )
    parts = tuple(_stratum(number, labels) for number, (labels, _) in strata.items())
    verdicts = Verdicts(KIND, 1, "", "", "", "", ("probability",), 0, len(said), parts, said)

    def figures(chosen: Set[int]) -> tuple[int, float, int, int, float | None, float, float]:
        labels = sum(strata[number][0] for number in chosen)
        mean = sum(count * mean for count, mean in map(strata.__getitem__, chosen)) / max(labels, 1)
        result = precision_by(verdicts, labels, mean, [numbers[each.stratum] in chosen for each in said])
        return labels, mean, result.judged, result.right, result.corrected, *(result.interval or (0.0, 1.0))

    ends = [*EDGES, 1.0]
    ranges = [(number, number % len(EDGES)) for number in numbers]
    return ReviewedPrecision(
        *figures(strata.keys()),
        tuple(RangePrecision(*figures({number}), ends[edge], ends[edge + 1]) for number, edge in ranges),
        sum(row["stratum"] in strata for row in agents.values()),
    )


def to_judge(
    connection: Connection,
    entity: str = "",
    *,
    order: Literal["active", "doubt", "sure"] = "active",
    accepted: bool | None = True,
    who: str = "",
    limit: int = 50,
) -> list[ToJudge]:
    """Labels that no person has judged yet, those first that say most.

    Args:
        connection: of the index.
        entity: of its labels alone.
        order: `active` draws by chance from strata of probability, from each as many as narrow the interval of the
            precision most (see `allocation`); `doubt` begins with the least certain, `sure` with the surest.
        accepted: labels, or candidates below the threshold; both for `None`.
        who: the reviewer; each draws others.
        limit: how many.
    """
    values = {"entity": entity, "accepted": accepted}
    judged = set(connection.execute(_JUDGED, {"entity": entity}))
    if order == "active":
        strata = _strata(connection, entity, accepted)
        before = Counter(row["stratum"] for row in _last_rows(connection, entity)[0].values())
        labels, means = zip(*strata.values(), strict=True) if strata else ((), ())
        counts = allocation(labels, means, limit, [before[number] for number in strata])
        drawn = [
            _unjudged(connection, values, _drawn(who), int(count), judged, number)
            for number, count in zip(strata, counts, strict=True)
            if count
        ]
        rows = [row for part in itertools.zip_longest(*drawn) for row in part if row]
    else:
        by = "labels.probability DESC" if order == "sure" else "abs(labels.probability - 0.5)"
        rows = _unjudged(connection, values, by, limit, judged)
    images = image_records(connection, [row[0] for row in rows])
    entities = entity_records(connection, [row[1] for row in rows])
    return [
        ToJudge(images[image], entities.get(of, EntityRecord(of, of)), probability, bool(label))
        for image, of, probability, label in rows
        if image in images
    ]


def _drawn(who: str) -> str:
    """A hash of labels in SQL, which draws as well as chance does, the same each time, for each reviewer others.

    Squares modulo a prime: what is linear in the images' ids would go along with any pattern that these have.
    """
    step, start = (
        int.from_bytes(blake2b(who.encode(), digest_size=4, salt=salt).digest(), "big") % _PRIME
        for salt in (b"step", b"start")
    )
    value = f"(labels.image % {_PRIME} * {step} + CAST(labels.probability * {_PRIME} AS INTEGER) + {start}) % {_PRIME}"
    for _ in range(2):
        value = f"(({value}) * ({value}) + {step}) % {_PRIME}"
    return value


def _strata(connection: Connection, entity: str, accepted: bool | None) -> dict[int, tuple[int, float]]:
    """`strata_of`, of the labels, of the candidates below the threshold, or of both."""
    strata = strata_of(connection, entity=entity)
    return {number: each for number, each in strata.items() if accepted in (None, number >= len(EDGES))}


def _last_rows(connection: Connection, entity: str) -> list[dict[tuple[str, str, str], dict[str, Any]]]:
    """The last verdict of people on each label, and that of agents."""
    last: list[dict[tuple[str, str, str], dict[str, Any]]] = [{}, {}]
    for row in verdict_rows(connection, entity=entity):
        last[row["who"].startswith(AGENT)][row["shard"], row["key"], row["entity"]] = row
    return last


def _unjudged(
    connection: Connection,
    values: Mapping[str, object],
    by: str,
    limit: int,
    judged: Set[tuple[int, str]],
    stratum: int = -1,
) -> list[tuple[int, str, float, int]]:
    """The first labels in an order, of a stratum or of all, that are not among those that were judged."""
    rows = connection.execute(
        f"SELECT labels.image, labels.entity, labels.probability, labels.accepted FROM labels WHERE {_WITHIN} "
        f"AND (:stratum < 0 OR {STRATUM} = :stratum) ORDER BY {by}, labels.image, labels.entity LIMIT :most",
        {**values, "stratum": stratum, "most": limit + len(judged)},
    )
    return [row for row in rows if row[:2] not in judged][:limit]
