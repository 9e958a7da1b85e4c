"""Images on their way into an index: looked at, embedded where they are new, committed a few thousand at a time."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders import Encoder
from openmofi.engine import Progress
from openmofi.features.store import FeatureStore, StoredFeatures, content_digits
from openmofi.features.stream import ahead
from openmofi.pairs import ImageRefused, perceptual_hash
from openmofi.pairs.images.decode import MAX_PIXELS, decoding
from openmofi.schema import PairStatus
from openmofi.search.incoming import Incoming, Source
from openmofi.search.records import Changes
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import column_of, note_commit, transaction
from openmofi.search.store.reading import SIDE, encoded, keep_thumbnails
from openmofi.search.store.vectors import note_segment

COMMIT_ROWS = 4096
"""Images of a commit, and so vectors of a segment at most."""
_BATCH = 64


@dataclass(frozen=True)
class _Known:
    """A row of the index, as it is before."""

    id: int
    size: int
    mtime: int
    content: str
    status: str
    text: str


@dataclass(frozen=True)
class _Looked:
    """An image that has been looked at.

    Attributes:
        item: it.
        known: its row of before; `None` for a new one.
        status, content, width, height, phash: of the image now.
        pixels: the encoder's input; `None` where it need not be embedded.
        vector: (segment, row) of an image with the same bytes.
        feature: row of the label job's features of its shard.
        thumbnail: WebP; `None` where there is one.
    """

    item: Incoming
    known: _Known | None
    status: PairStatus
    content: str = ""
    width: int = 0
    height: int = 0
    phash: int | None = None
    pixels: Any = None
    vector: tuple[int, int] | None = None
    feature: int | None = None
    thumbnail: bytes | None = None

    @property
    def unchanged(self) -> bool:
        """Whether its bytes are those of before."""
        return self.known is not None and (self.known.content, self.known.status) == (self.content, self.status)


@dataclass
class Writer:
    """Adds sources to an index, whose only writer it is.

    Attributes:
        connection: to the index's database.
        encoder: embeds images.
        dtype: of segments.
        progress: receives sources, and rows.
        changes: what was done so far.
    """

    connection: Connection
    encoder: Encoder
    dtype: str
    progress: Progress
    changes: Changes = field(default_factory=Changes)
    _lock: Lock = field(default_factory=Lock)
    _features: StoredFeatures | None = None
    _rows: dict[str, int] = field(default_factory=dict)

    def add(self, source: Source) -> None:
        """Take in all images of a source that are new or have changed, and drop those that are no longer there.

        Raises:
            OpenMofiError: it cannot be read, or the index cannot be written. What was committed before is kept.
        """
        number, stamp = self._source(source), source.stamp()
        row = self.connection.execute("SELECT stamp FROM sources WHERE id = ?", (number,)).fetchone()
        if stamp and row[0] == stamp:
            count = self.connection.execute("SELECT count(*) FROM images WHERE source = ?", (number,)).fetchone()[0]
            self.changes = replace(self.changes, unchanged=self.changes.unchanged + count)
            return
        self._reuse(source)
        self.connection.execute("DROP TABLE IF EXISTS seen")
        self.connection.execute("CREATE TEMP TABLE seen (image BIGINT PRIMARY KEY)")
        waiting: list[_Looked] = []
        vectors: list[Array] = []
        batches = ahead(self._with_known(number, source), self._look, _BATCH)
        with closing(batches):
            for batch in batches:
                looked = [each for _, each in batch]
                vectors.append(self._vectors(looked))
                waiting += [replace(each, pixels=None) for each in looked]
                if len(waiting) >= COMMIT_ROWS:
                    self._commit(number, waiting, np.concatenate(vectors))
                    waiting, vectors = [], []
        self._commit(number, waiting, np.concatenate(vectors) if vectors else self._none(), stamp=stamp, whole=True)

    def _reuse(self, source: Source) -> None:
        """Take the features that the label job has kept of a shard, if they are of this encoder's backbone."""
        store = FeatureStore.noted(source.labels.path, self.encoder) if source.labels else None
        self._features, self._rows = None, {}
        if store and store.has(source.shard.name, source.shard.fingerprint):
            self._features = store.open(source.shard.name, source.shard.fingerprint)
            contents = self._features.table.column("content").to_pylist()
            self._rows = {contents[row]: row for row in np.flatnonzero(self._features.usable).tolist()}

    def _source(self, source: Source) -> int:
        """Its row, made if it is new."""
        shard, labels = source.shard, source.labels.path if source.labels else ""
        with transaction(self.connection):
            ((number,),) = self.connection.execute(
                "INSERT INTO sources (path, shard, stamp, reading, labels) VALUES (?, ?, '', ?, ?) ON CONFLICT (path) "
                "DO UPDATE SET reading = excluded.reading, labels = excluded.labels RETURNING id",
                (shard.path, shard.name, json.dumps(asdict(source.settings)), labels),
            )
        return int(number)

    def _with_known(self, number: int, source: Source) -> Iterator[tuple[Incoming, _Known | None]]:
        (indexed,) = self._row("SELECT EXISTS (SELECT 1 FROM images WHERE source = ?)", number)
        before = "SELECT id, size, mtime, content, status, text FROM images WHERE source = ? AND key = ? AND copy = ?"
        for item in source.images():
            row = self._row(before, number, item.key, item.copy) if indexed else None
            yield item, None if row is None else _Known(*row)

    def _row(self, statement: str, *values: object) -> Any:
        """The first row, or `None`; images are looked at in several threads."""
        with self._lock:
            return self.connection.execute(statement, values).fetchone()

    def _look(self, given: tuple[Incoming, _Known | None]) -> _Looked:
        """Read, hash and, where its bytes are new, decode an image; thread-safe."""
        item, before = given
        if before and item.mtime and (before.size, before.mtime) == (item.size, item.mtime) and before.content:
            return _Looked(item, before, PairStatus(before.status), before.content)
        data = item.read()
        if not isinstance(data, bytes):
            return _Looked(item, before, data)
        content = content_digits(data)
        if before and before.content == content and item.status is PairStatus.OK:
            return _Looked(item, before, PairStatus(before.status), content)
        if item.status is not PairStatus.OK:
            return _Looked(item, before, item.status, content)
        twin = "SELECT width, height, phash, segment, row FROM images WHERE content = ? AND segment IS NOT NULL LIMIT 1"
        if row := self._row(twin, content):
            width, height, phash, *vector = row
            return _Looked(item, before, PairStatus.OK, content, width, height, phash, vector=tuple(vector))
        feature = self._rows.get(content)
        try:
            hint = self.encoder.preprocessing.decode_size
            with decoding(data, max_pixels=MAX_PIXELS, size_hint=hint and max(hint, SIDE)) as decoded:
                phash = np.uint64(perceptual_hash(decoded.image))  # a database's integers have a sign
                pixels = self.encoder.preprocess(decoded.image) if feature is None else None
                return _Looked(
                    item,
                    before,
                    PairStatus.OK,
                    content,
                    decoded.width,
                    decoded.height,
                    int(phash.astype(np.int64)),
                    pixels,
                    feature=feature,
                    thumbnail=encoded(decoded.image),
                )
        except ImageRefused as refused:
            return _Looked(item, before, refused.status, content)

    def _vectors(self, looked: Sequence[_Looked]) -> Array:
        """(n, dim) of those of a batch that get a vector: embedded, or of their twin."""
        fresh = [each.pixels for each in looked if each.pixels is not None]
        cached = [each.feature for each in looked if each.feature is not None]
        project, features = self.encoder.project_images, self._features
        embedded = iter(project(self.encoder.image_features(self.encoder.batch(fresh))) if fresh else ())
        projected = iter(project(features.values[cached].astype(np.float32)) if cached and features else ())
        rows = [
            self._stored(*each.vector) if each.vector else next(projected if each.pixels is None else embedded)
            for each in looked
            if each.vector or each.pixels is not None or each.feature is not None
        ]
        self.changes = replace(self.changes, embedded=self.changes.embedded + len(fresh))
        return np.stack(rows) if rows else self._none()

    def _stored(self, segment: int, row: int) -> Array:
        (name,) = self._row("SELECT file FROM segments WHERE id = ?", segment)
        with self._lock:
            return self.connection.vectors().row(name, row)

    def _none(self) -> Array:
        return np.zeros((0, self.encoder.dim), np.float32)

    def _commit(
        self, number: int, looked: Sequence[_Looked], vectors: Array, *, stamp: str = "", whole: bool = False
    ) -> None:
        """Write vectors, then thumbnails, then all that names them, at once."""
        segment = self.connection.vectors().write(vectors, self.dtype) if len(vectors) else None
        thumbnails = {each.content: each.thumbnail for each in looked if each.thumbnail is not None}
        keep_thumbnails(self.connection, thumbnails)
        before = self.changes
        with self._lock, transaction(self.connection) as connection:
            _keep(connection, number, looked, note_segment(connection, *segment) if segment else None)
            self.changes = _counted(before, looked)
            if whole:
                self._finish(connection, number, stamp)
            note_commit(connection, "add", self.changes)
        self.progress.advance({"rows": len(looked)})

    def _finish(self, connection: Connection, number: int, stamp: str) -> None:
        """The source has been read to its end: what was not seen is no longer there."""
        unseen = "SELECT id FROM images WHERE source = ? AND id NOT IN (SELECT image FROM seen)"
        gone = column_of(connection, unseen, (number,))
        drop_images(connection, gone)
        connection.execute("UPDATE sources SET stamp = ? WHERE id = ?", (stamp, number))
        self.changes = replace(self.changes, removed=self.changes.removed + len(gone))


def drop_images(connection: Connection, images: Sequence[int]) -> None:
    """Remove images with their labels and texts; their vectors stay in the segments until these are compacted."""
    connection.drop_texts(images)
    connection.executemany("DELETE FROM images WHERE id = ?", [(image,) for image in images])


def _keep(connection: Connection, number: int, looked: Sequence[_Looked], segment: int | None) -> None:
    """Rows of images, their labels and texts: few statements, since each goes all the way to a server."""
    has_vector = [each.content != "" and each.status is PairStatus.OK and not each.unchanged for each in looked]
    vector_rows = [
        (segment, row) if there else (None, None)
        for there, row in zip(has_vector, (np.cumsum(has_vector) - 1).tolist(), strict=True)
    ]
    last = connection.execute("SELECT coalesce(max(id), 0) FROM images").fetchone()[0]
    connection.executemany(
        'INSERT INTO images (source, key, copy, text, url, columns, file, size, mtime, "offset", status, content, '
        "width, height, phash, segment, row) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (number, each.item.key, each.item.copy, *_said(each.item), *_seen(each), *vector_row)
            for each, vector_row in zip(looked, vector_rows, strict=True)
            if each.known is None
        ],
    )
    # Numbers rise, in the order of the rows; this is the only writer.
    new = iter(column_of(connection, "SELECT id FROM images WHERE id > ? ORDER BY id", (last,)))
    images = [next(new) if each.known is None else each.known.id for each in looked]
    old = [
        (image, each, vector_row)
        for image, each, vector_row in zip(images, looked, vector_rows, strict=True)
        if each.known
    ]
    connection.executemany(
        'UPDATE images SET text = ?, url = ?, columns = ?, file = ?, size = ?, mtime = ?, "offset" = ? WHERE id = ?',
        [(*_said(each.item), image) for image, each, _ in old],
    )
    connection.executemany(
        "UPDATE images SET status = ?, content = ?, width = ?, height = ?, phash = ?, segment = ?, row = ? "
        "WHERE id = ?",
        [(*_seen(each), *vector_row, image) for image, each, vector_row in old if not each.unchanged],
    )
    connection.executemany("DELETE FROM labels WHERE image = ?", [(image,) for image, *_ in old])
    connection.executemany("INSERT INTO seen VALUES (?) ON CONFLICT DO NOTHING", [(image,) for image in images])
    connection.executemany(
        "INSERT INTO labels VALUES (?, ?, ?, ?, ?)",
        [
            (image, label.entity, label.probability, label.accepted, label.link_score)
            for image, each in zip(images, looked, strict=True)
            for label in each.item.labels
        ],
    )
    rows = zip(images, looked, strict=True)
    changed = [(image, each) for image, each in rows if each.known is None or each.known.text != each.item.text]
    connection.keep_texts([(image, each.item.text) for image, each in changed])


def _said(item: Incoming) -> tuple[object, ...]:
    """What its source says of an image, as columns of the table."""
    # PostgreSQL has no character 0, in JSON either.
    columns = json.dumps(item.columns, ensure_ascii=False, sort_keys=True).replace("\\u0000", "\\ufffd")
    return item.text, item.url, columns, item.file, item.size, item.mtime, item.offset


def _seen(looked: _Looked) -> tuple[object, ...]:
    """What its bytes say, likewise."""
    return looked.status, looked.content, looked.width, looked.height, looked.phash


def _counted(before: Changes, looked: Sequence[_Looked]) -> Changes:
    fresh = [each for each in looked if not each.unchanged]
    statuses = Counter(before.statuses) + Counter(str(each.status) for each in fresh)
    return replace(
        before,
        added=before.added + sum(each.known is None for each in fresh),
        changed=before.changed + sum(each.known is not None for each in fresh),
        unchanged=before.unchanged + len(looked) - len(fresh),
        statuses=dict(statuses),
    )
