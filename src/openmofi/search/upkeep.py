"""Keeping an index whole: images are removed; what is damaged is named, and mended from the images."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from openmofi.arrays import Array, Ints
from openmofi.encoders import Encoder
from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ImageRefused, decode_image
from openmofi.search.building import note_problems
from openmofi.search.records import Changes
from openmofi.search.store.connection import Connection, Place, Segment, place_of
from openmofi.search.store.database import DATABASE, column_of, meta, note_commit, only_writer, snapshot, transaction
from openmofi.search.store.reading import drop_thumbnails, image_bytes
from openmofi.search.store.vectors import FOLDER, entity_segment, note_segment, remove_unnamed, segments_of
from openmofi.search.writer import drop_images

ROWS = 262_144
"""Vectors of a segment after `compact`, at most."""
_BATCH = 64


def verify(connection: Connection) -> dict[str, str]:
    """See `Index.verify`."""
    vectors = connection.vectors()
    tables = {DATABASE if isinstance(connection.place, Path) else "tables": connection.problem()}
    with snapshot(connection):
        of_entities = entity_segment(connection)
        segments = segments_of(connection) + ([of_entities] if of_entities else [])
        return tables | {f"{FOLDER}/{segment.file}": vectors.problem(segment) for segment in segments}


def compact(address: Place, encoder: Callable[[], Encoder], progress: Progress | None) -> Changes:
    """See `Index.compact`."""
    progress = progress or Quiet()
    with only_writer(address) as connection:
        vectors_of = connection.vectors()
        remove_unnamed(connection, vectors_of)
        segments, anew, lost = segments_of(connection), list[int](), list[int]()
        progress.begin("compact", len(segments))
        dtype = meta(connection)["dtype"]
        parts = _joined(_left(connection, encoder, segments, anew, lost, progress))
        written = [(vectors_of.write(vectors, dtype), images) for images, vectors in parts]
        with transaction(connection):
            connection.execute("UPDATE images SET segment = NULL, row = NULL")
            for segment, images in written:
                number = note_segment(connection, *segment)
                connection.executemany(
                    "UPDATE images SET segment = ?, row = ? WHERE id = ?",
                    [(number, row, image) for row, image in enumerate(images.tolist())],
                )
            connection.executemany("DELETE FROM segments WHERE id = ?", [(each.id,) for each in segments])
            # They are looked at again when their source is added again.
            connection.executemany(
                "UPDATE images SET content = '', status = 'image_missing', mtime = 0 WHERE id = ?",
                [(image,) for image in lost],
            )
            if lost:
                connection.execute("UPDATE sources SET stamp = ''")
            statuses = {"image_missing": len(lost)} if lost else {}
            changes = Changes(embedded=len(anew), changed=len(lost), statuses=statuses)
            note_commit(connection, "compact", changes)
        remove_unnamed(connection, vectors_of)
        drop_thumbnails(connection)
        return changes


def _left(
    connection: Connection,
    encoder: Callable[[], Encoder],
    segments: Sequence[Segment],
    anew: list[int],
    lost: list[int],
    progress: Progress,
) -> Iterator[tuple[Ints, Array]]:
    """Of each segment the images that are left, and their vectors, (n,) and (n, dim). Where it is damaged they are
    embedded again, and noted in `anew`, or in `lost` where they cannot be.
    """
    store, dim = connection.vectors(), int(meta(connection)["dim"])
    for segment in segments:
        named = connection.execute("SELECT id, row FROM images WHERE segment = ? ORDER BY row", (segment.id,))
        images, rows = np.array(named.fetchall(), np.int64).reshape(-1, 2).T
        if store.problem(segment):
            yield _embedded(connection, encoder(), images.tolist(), anew, lost)
        else:
            yield images, store.read(segment, dim)[rows].astype(np.float32)
        progress.advance({"rows": len(rows)})


def _embedded(
    connection: Connection, encoder: Encoder, images: Sequence[int], anew: list[int], lost: list[int]
) -> tuple[Ints, Array]:
    first, parts = len(anew), [np.zeros((0, encoder.dim), np.float32)]
    for start in range(0, len(images), _BATCH):
        decoded = dict[int, Image.Image]()
        for image in images[start : start + _BATCH]:
            try:
                data = image_bytes(connection, image)
                decoded[image] = decode_image(data, size_hint=encoder.preprocessing.decode_size)
            except (OpenMofiError, ImageRefused):
                lost.append(image)
        if decoded:
            parts.append(encoder.embed_images(list(decoded.values())))
            anew += decoded
    return np.array(anew[first:], np.int64), np.concatenate(parts)


def _joined(parts: Iterator[tuple[Ints, Array]]) -> Iterator[tuple[Ints, Array]]:
    """The same rows in larger parts, which hold nothing of removed images."""
    images: list[Ints] = []
    vectors: list[Array] = []
    for some, theirs in parts:
        if images and sum(map(len, images)) + len(some) > ROWS:
            yield np.concatenate(images), np.concatenate(vectors)
            images, vectors = [], []
        if len(some):
            images.append(some)
            vectors.append(theirs)
    if images:
        yield np.concatenate(images), np.concatenate(vectors)


def remove(index: str | Place, what: Sequence[str]) -> Changes:
    """Remove images from an index; the images themselves stay.

    Args:
        index: its folder, or its address in PostgreSQL.
        what: each a source's path, a folder or file of images, or `SHARD/KEY`.

    Raises:
        UsageError: one of them matches nothing.
        OpenMofiError: another process writes the index.
    """
    with only_writer(place_of(index)) as connection:
        removed = 0
        for each in what:
            with transaction(connection):
                images = _matching(connection, each)
                if not images:
                    raise UsageError(
                        f"{each} matches nothing in {connection.place}.",
                        "Give a source (openmofi index info lists them), an image's path, or SHARD/KEY.",
                    )
                drop_images(connection, images)
                connection.execute(
                    "DELETE FROM sources WHERE id NOT IN (SELECT source FROM images) AND path = ?", (each,)
                )
                # What was removed comes back only when its source is added again.
                connection.execute("UPDATE sources SET stamp = ''")
                removed += len(images)
                note_commit(connection, "remove", Changes(removed=len(images)))
        note_problems(connection)
        return Changes(removed=removed)


def _matching(connection: Connection, what: str) -> list[int]:
    file = os.fsencode(what.rstrip("/"))
    shard, _, key = what.partition("/")
    return column_of(
        connection,
        "SELECT images.id FROM images JOIN sources ON sources.id = images.source WHERE sources.path = :path "
        "OR images.file = :file OR (images.file >= :first AND images.file < :last) "
        "OR (sources.shard = :shard AND images.key = :key)",
        {"path": what, "file": file, "first": file + b"/", "last": file + b"0", "shard": shard, "key": key},
    )
