"""Rows of the database as records."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from openmofi.config import settings_from
from openmofi.errors import OpenMofiError
from openmofi.features.store import content_digits
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.read_settings import open_source
from openmofi.search.records import EntityRecord, ImageRecord, Label
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import in_chunks, marks
from openmofi.storage import Shard


def image_bytes(connection: Connection, image: int) -> bytes:
    """The encoded bytes of an image.

    Raises:
        OpenMofiError: there is no such image, or it is no longer there, or other bytes are.
    """
    row = connection.execute(
        'SELECT sources.path, sources.shard, sources.reading, key, images.file, size, "offset", content FROM images '
        "JOIN sources ON sources.id = images.source WHERE images.id = ?",
        (image,),
    ).fetchone()
    if row is None:
        raise OpenMofiError(f"The index has no image {image}.", "It may have been removed.")
    path, shard, reading, key, file, size, offset, content = row
    where = os.fsdecode(file) if file else f"{path} ({key})"
    data: bytes | None = None
    try:
        if file:
            with open_source(os.fsdecode(file)) as handle:
                data = handle.read()
        elif offset >= 0:
            with open(path, "rb") as handle:
                data = os.pread(handle.fileno(), size, offset)
        else:
            settings = settings_from(ReadSettings(), values=json.loads(reading))
            data = next((pair.image for pair in read_pairs(Shard(path, shard), settings) if pair.key == key), None)
    except OSError as error:
        raise OpenMofiError(
            f"{where} cannot be read: {error.strerror}.",
            "Put it back, or bring the index up to date with openmofi index add.",
        ) from error
    if data is None or content_digits(data) != content:
        raise OpenMofiError(
            f"{where} has changed since it was indexed.", "Bring the index up to date with openmofi index add."
        )
    return data


_VERDICT = """(
      SELECT verdict FROM verdicts WHERE verdicts.shard = sources.shard AND verdicts.key = images.key
      AND verdicts.entity = labels.entity AND undone = 0 ORDER BY verdicts.id DESC LIMIT 1)"""
_LABELS = "labels JOIN images ON images.id = labels.image JOIN sources ON sources.id = images.source"
ENTITY_IMAGES = f"""
    SELECT labels.image, labels.probability, labels.accepted, coalesce({_VERDICT}, '')
    FROM {_LABELS} WHERE labels.entity = ? AND (? IS NULL OR labels.accepted = ?)"""
JUDGED = f"""
    SELECT image, CASE WHEN sum(shown) < 1 THEN sum(shown) ELSE 1.0 END FROM (
      SELECT labels.image, CASE {_VERDICT} WHEN 'y' THEN 1.0 WHEN 'n' THEN 0.0 ELSE labels.probability END AS shown
      FROM {_LABELS} WHERE labels.entity = :entity
      OR labels.entity IN (SELECT entity FROM supertypes WHERE above = :entity)) AS judged
    GROUP BY image ORDER BY 2 DESC, image"""
"""Images that were judged for an entity or for what is below it, with probabilities; a person's word is certain."""
ENTITIES_BY_IMAGES = """
    SELECT entities.id FROM entities
    LEFT JOIN (SELECT entity, count(*) AS images FROM labels WHERE accepted = 1 GROUP BY entity)
      AS labelled ON entity = entities.id
    WHERE (? = '' OR id IN (SELECT entity FROM types WHERE type = ?))
    ORDER BY coalesce(images, 0) DESC, popularity DESC, id LIMIT ? OFFSET ?"""


def image_records(connection: Connection, ids: Sequence[int]) -> dict[int, ImageRecord]:
    """Id → image, of those that there are."""
    records: dict[int, ImageRecord] = {}
    for part in in_chunks(list(dict.fromkeys(ids))):
        labels: defaultdict[int, list[Label]] = defaultdict(list)
        for image, entity, name, probability, accepted in connection.execute(
            "SELECT labels.image, labels.entity, coalesce(entities.name, labels.entity), labels.probability, "
            "labels.accepted FROM labels LEFT JOIN entities ON entities.id = labels.entity "
            f"WHERE labels.image IN ({marks(part)}) ORDER BY labels.probability DESC, labels.entity",
            list(part),
        ):
            labels[image].append(Label(entity, name, probability, bool(accepted)))
        for row in connection.execute(
            "SELECT images.id, sources.path, sources.shard, key, images.file, status, content, width, height, "
            "text, url, columns FROM images JOIN sources ON sources.id = images.source "
            f"WHERE images.id IN ({marks(part)})",
            list(part),
        ):
            image, source, shard, key, file, status, content, width, height, text, url, columns = row
            records[image] = ImageRecord(
                image,
                source,
                shard,
                key,
                os.fsdecode(file) if file else "",
                status,
                content,
                width,
                height,
                text,
                url,
                _decoded(columns),
                tuple(labels[image]),
            )
    return records


def _decoded(columns: str) -> dict[str, Any]:
    """An image's metadata; a number that is none (NaN) is known to Python's decoder alone, which takes five times as
    long.
    """
    try:
        decoded: dict[str, Any] = msgspec.json.decode(columns)
    except msgspec.DecodeError:
        decoded = json.loads(columns)
    return decoded


def entity_records(connection: Connection, ids: Sequence[str]) -> dict[str, EntityRecord]:
    """Id → entity, of those that the index knows."""
    records: dict[str, EntityRecord] = {}
    for part in in_chunks(list(dict.fromkeys(ids))):
        several: dict[str, defaultdict[str, list[str]]] = {}
        for table, column in (("types", "type"), ("aliases", "name")):
            several[table] = defaultdict(list)
            for entity, value in connection.execute(
                f"SELECT entity, {column} FROM {table} WHERE entity IN ({marks(part)}) ORDER BY 1, 2", list(part)
            ):
                several[table][entity].append(value)
        counts = {
            entity: (images, named)
            for entity, images, named in connection.execute(
                f"SELECT entity, sum(accepted), count(*) FROM labels WHERE entity IN ({marks(part)}) GROUP BY entity",
                list(part),
            )
        }
        for entity, name, description, popularity in connection.execute(
            f"SELECT id, name, description, popularity FROM entities WHERE id IN ({marks(part)})", list(part)
        ):
            records[entity] = EntityRecord(
                entity,
                name,
                description,
                tuple(several["types"][entity]),
                popularity,
                tuple(several["aliases"][entity]),
                *counts.get(entity, (0, 0)),
            )
    return records
