"""Rows of the database as records; images' bytes from where they lie, and their thumbnails."""

import io
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from openmofi.config import settings_from
from openmofi.errors import OpenMofiError
from openmofi.features.store import content_digits
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.pairs.read_settings import open_regular, open_source
from openmofi.search.records import EntityRecord, ImageRecord, Label
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import column_of, rows_in, transaction
from openmofi.search.store.sqlite import open_existing, opened
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
            with open_regular(path) as handle:
                if 0 <= size <= os.fstat(handle.fileno()).st_size - offset:  # else it has been cut short
                    data = os.pread(handle.fileno(), size, offset)
        else:
            settings = settings_from(ReadSettings(), values=json.loads(reading))
            data = next((pair.image for pair in read_pairs(Shard(path, shard), settings) if pair.key == key), None)
    except OSError as error:
        raise OpenMofiError(
            f"{where} cannot be read: {error.strerror}.",
            "Put it back, or bring the index up to date with the command that built it.",
        ) from error
    if data is None or content_digits(data) != content:
        raise OpenMofiError(
            f"{where} has changed since it was indexed.", "Bring the index up to date with the command that built it."
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
    SELECT labels.image, CASE {_VERDICT} WHEN 'y' THEN 1.0 WHEN 'n' THEN 0.0 ELSE labels.probability END
    FROM {_LABELS} WHERE labels.entity = :entity
    OR labels.entity IN (SELECT entity FROM supertypes WHERE above = :entity)
    UNION ALL SELECT images.id, 1.0 FROM verdicts CROSS JOIN sources ON sources.shard = verdicts.shard
    CROSS JOIN images ON images.source = sources.id AND images.key = verdicts.key
    LEFT JOIN labels ON labels.image = images.id AND labels.entity = verdicts.entity
    WHERE labels.image IS NULL AND verdict = 'y' AND verdicts.id IN (
      SELECT max(id) FROM verdicts WHERE undone = 0 AND (entity = :entity
      OR entity IN (SELECT entity FROM supertypes WHERE above = :entity)) GROUP BY shard, key, entity)
    ORDER BY 1, 2"""
"""Images that were judged for an entity or for what is below it, a row a label, and those of which people say that they
show it where no label does; a person's word is certain."""
ENTITIES_BY_IMAGES = """
    SELECT entities.id FROM entities
    LEFT JOIN (SELECT entity, count(*) AS images FROM labels WHERE accepted = 1 GROUP BY entity)
      AS labelled ON entity = entities.id
    WHERE (? = '' OR id IN (SELECT entity FROM types WHERE type = ?))
    ORDER BY coalesce(images, 0) DESC, popularity DESC, id LIMIT ? OFFSET ?"""


def image_records(connection: Connection, ids: Sequence[int]) -> dict[int, ImageRecord]:
    """Id → image, of those that there are."""
    ids, labels = list(dict.fromkeys(ids)), defaultdict[int, list[Label]](list)
    for image, entity, name, probability, accepted in rows_in(
        connection,
        "SELECT labels.image, labels.entity, coalesce(entities.name, labels.entity), labels.probability, "
        "labels.accepted FROM labels LEFT JOIN entities ON entities.id = labels.entity "
        "WHERE labels.image IN ({}) ORDER BY labels.probability DESC, labels.entity",
        ids,
    ):
        labels[image].append(Label(entity, name, probability, bool(accepted)))
    rows = rows_in(
        connection,
        "SELECT images.id, sources.path, sources.shard, key, images.file, status, content, width, height, "
        "text, url, columns FROM images JOIN sources ON sources.id = images.source WHERE images.id IN ({})",
        ids,
    )
    records = {}
    for image, source, shard, key, file, *seen, columns in rows:
        values = (source, shard, key, os.fsdecode(file or b""), *seen, _decoded(columns), tuple(labels[image]))
        records[image] = ImageRecord(image, *values)
    return records


def _decoded(columns: str) -> dict[str, Any]:
    """An image's metadata; a number that is none (NaN) is known to Python's decoder alone, which takes five times as
    long.
    """
    try:
        return msgspec.json.decode(columns, type=dict[str, Any])
    except msgspec.DecodeError:
        return dict(json.loads(columns))


def entity_records(connection: Connection, ids: Sequence[str]) -> dict[str, EntityRecord]:
    """Id → entity, of those that the index knows."""
    ids, types, aliases = list(dict.fromkeys(ids)), defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for several, table, column in ((types, "types", "type"), (aliases, "aliases", "name")):
        statement = f"SELECT entity, {column} FROM {table} WHERE entity IN ({{}}) ORDER BY 1, 2"
        for entity, value in rows_in(connection, statement, ids):
            several[entity].append(value)
    labelled = "SELECT entity, sum(accepted), count(*) FROM labels WHERE entity IN ({}) GROUP BY entity"
    counts = {entity: counted for entity, *counted in rows_in(connection, labelled, ids)}
    details = "SELECT id, name, description, popularity FROM entities WHERE id IN ({})"
    return {
        entity: EntityRecord(
            entity,
            name,
            description,
            tuple(types[entity]),
            popularity,
            tuple(aliases[entity]),
            *counts.get(entity, (0, 0)),
        )
        for entity, name, description, popularity in rows_in(connection, details, ids)
    }


FILE = "thumbnails.db"
SIDE = 256
"""Pixels of the longer side, at most."""
_QUALITY = 78


def encoded(image: Image.Image) -> bytes:
    """An RGB image, shrunk, as WebP; thread-safe."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "WebP", quality=_QUALITY, method=2)
    return out.getvalue()


def thumbnail_of(index: Connection, image: ImageRecord) -> bytes:
    """The thumbnail of an image; made where there is none, or the cache cannot be read.

    Args:
        index: the connection to its database.
        image: of the index.

    Raises:
        OpenMofiError: as `image_bytes`, or it cannot be decoded.
    """
    if small := _cached(index, image.content):
        return small
    try:
        return encoded(decode_image(image_bytes(index, image.id), size_hint=SIDE))
    except ImageRefused as error:
        raise OpenMofiError(f"Image {image.id} cannot be shown: {error.why}.") from error


def _cached(index: Connection, content: str) -> bytes | None:
    if not isinstance(index.place, Path):
        return _selected(index, content)
    try:
        with closing(open_existing(index.place / FILE)) as cache:
            return _selected(cache, content)
    except sqlite3.DatabaseError:  # also a missing or damaged file
        return None


def _selected(connection: Connection, content: str) -> bytes | None:
    row = connection.execute("SELECT webp FROM thumbnails WHERE content = ?", (content,)).fetchone()
    return None if row is None else bytes(row[0])


@contextmanager
def _written(index: Connection) -> Generator[Connection]:
    """The connection that thumbnails are written by, for the only writer of an index."""
    if not isinstance(index.place, Path):
        yield index
        return
    with closing(opened((index.place / FILE).absolute().as_uri(), index.place)) as cache:
        cache.execute("PRAGMA journal_mode = WAL")
        cache.execute("PRAGMA synchronous = NORMAL")
        cache.execute("CREATE TABLE IF NOT EXISTS thumbnails (content TEXT PRIMARY KEY, webp BLOB NOT NULL)")
        yield cache


def keep_thumbnails(index: Connection, thumbnails: Mapping[str, bytes]) -> None:
    """Keep thumbnails by the content of their images."""
    with _written(index) as cache, transaction(cache):
        cache.executemany(
            "INSERT INTO thumbnails VALUES (?, ?) ON CONFLICT (content) DO UPDATE SET webp = excluded.webp",
            list(thumbnails.items()),
        )


def drop_thumbnails(index: Connection) -> None:
    """Remove the thumbnails of images that are gone, and give their room back."""
    contents = set(column_of(index, "SELECT DISTINCT content FROM images"))
    with _written(index) as cache:
        gone = [row for row in cache.execute("SELECT content FROM thumbnails").fetchall() if row[0] not in contents]
        with transaction(cache):
            cache.executemany("DELETE FROM thumbnails WHERE content = ?", gone)
        if gone and cache is not index:
            cache.execute("VACUUM")
