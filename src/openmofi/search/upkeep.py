"""Keeping an index whole: images are removed; what is damaged is named, and mended from the images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from openmofi.arrays import Array, Ints
from openmofi.encoders import Encoder
from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ImageRefused, decode_image
from openmofi.search.records import Changes
from openmofi.search.store.connection import Connection, Place, place_of
from openmofi.search.store.database import DATABASE, column_of, meta, note_commit, only_writer, snapshot, transaction
from openmofi.search.store.reading import Thumbnails, image_bytes
from openmofi.search.store.vectors import (
    FOLDER,
    Segment,
    VectorStore,
    entity_segment,
    note_segment,
    remove_unnamed,
    segments_of,
)
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


@dataclass
class _Mending:
    """Vectors of images, from their segments, or embedded again where these are damaged.

    Attributes:
        connection: to the index.
        segments: where its vectors are.
        encoder: opened when something is damaged.
        embedded: how many were embedded.
    """

    connection: Connection
    segments: VectorStore
    encoder: Callable[[], Encoder]
    lost: list[int]
    embedded: int = 0

    def vectors(self, segment: Segment, images: Ints, rows: Ints) -> tuple[Ints, Array]:
        """(n,) the images that have a vector, and (n, dim)."""
        if not self.segments.problem(segment):
            stored = self.segments.read(segment, int(meta(self.connection)["dim"]))
            return images, stored[rows].astype(np.float32)
        kept, parts = [], []
        for start in range(0, len(images), _BATCH):
            decoded = [
                (image, pixels)
                for image in images[start : start + _BATCH].tolist()
                if (pixels := self._decoded(image)) is not None
            ]
            if decoded:
                kept += [image for image, _ in decoded]
                parts.append(self.encoder().embed_images([pixels for _, pixels in decoded]))
        self.embedded += len(kept)
        none = np.zeros((0, self.encoder().dim), np.float32)
        return np.array(kept, np.int64), np.concatenate([none, *parts])

    def _decoded(self, image: int) -> Image.Image | None:
        try:
            return decode_image(image_bytes(self.connection, image), size_hint=self.encoder().preprocessing.decode_size)
        except (OpenMofiError, ImageRefused):
            self.lost.append(image)
            return None


def compact(place: Place, encoder: Callable[[], Encoder], progress: Progress | None) -> Changes:
    """See `Index.compact`."""
    progress = progress or Quiet()
    with only_writer(place) as connection:
        vectors_of = connection.vectors()
        remove_unnamed(connection, vectors_of)
        mending = _Mending(connection, vectors_of, encoder, [])
        segments = segments_of(connection)
        progress.begin("compact", len(segments))
        written: list[tuple[tuple[str, int, str], Ints]] = []
        for images, vectors in _joined(_read(connection, mending, segments, progress)):
            written.append((vectors_of.write(vectors, meta(connection)["dtype"]), images))
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
                [(image,) for image in mending.lost],
            )
            if mending.lost:
                connection.execute("UPDATE sources SET stamp = ''")
            changes = Changes(
                embedded=mending.embedded,
                changed=len(mending.lost),
                statuses={"image_missing": len(mending.lost)} if mending.lost else {},
            )
            note_commit(connection, "compact", changes)
        remove_unnamed(connection, vectors_of)
        with closing(Thumbnails(connection)) as thumbnails:
            thumbnails.keep_only(set(column_of(connection, "SELECT DISTINCT content FROM images")))
        return changes


def _read(
    connection: Connection,
    mending: _Mending,
    segments: Sequence[Segment],
    progress: Progress,
) -> Iterator[tuple[Ints, Array]]:
    for segment in segments:
        rows = np.array(
            connection.execute("SELECT id, row FROM images WHERE segment = ? ORDER BY row", (segment.id,)).fetchall(),
            np.int64,
        ).reshape(-1, 2)
        yield mending.vectors(segment, rows[:, 0], rows[:, 1])
        progress.advance({"rows": len(rows)})


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
