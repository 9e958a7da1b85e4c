"""An index, opened: search, recognition, images, entities and verdicts. Threads may share it."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock, local
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from openmofi.arrays import Array
from openmofi.encoders import Encoder, EncoderLike, ImageInput, as_encoder, open_encoder
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.extensions import own_part
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ReadSettings
from openmofi.search.building import build
from openmofi.search.mapping import read_map
from openmofi.search.query import Query, Region
from openmofi.search.rank.queries import as_entity, entities_by_name, named_alike, unknown_entity, vectors_of
from openmofi.search.rank.ranking import ranked
from openmofi.search.rank.recognition import recognised
from openmofi.search.rank.state import LRUCache, State
from openmofi.search.recognise_settings import UNNAMED
from openmofi.search.records import (
    Changes,
    CollectionMap,
    EntityImage,
    EntityRecord,
    ImageRecord,
    IndexInfo,
    Recognition,
    Results,
    Verdict,
)
from openmofi.search.store.connection import Connection, Place, place_of
from openmofi.search.store.database import address_of, column_of, connect, last_commit, meta, require_encoder, snapshot
from openmofi.search.store.reading import (
    ENTITIES_BY_IMAGES,
    ENTITY_IMAGES,
    entity_records,
    image_bytes,
    image_records,
    thumbnail_of,
)
from openmofi.search.store.sqlite import keep_copy
from openmofi.search.upkeep import compact, remove, verify
from openmofi.search.verdicts import add_verdicts, table_of, take_in_verdicts, undo_verdicts, verdicts_of
from openmofi.storage.foreign import guarded

_EMBEDDED = 4096
"""Texts and images of queries whose embeddings are kept."""


class Index:
    """An index that `build_index` made, in a folder or in PostgreSQL; open it with `Index.open`.

    Every call sees the last commit, also of another process that adds to it meanwhile. Threads may share an index.

    Attributes:
        path: its folder, or its server; as text without a password.
        changes: what the last `add` did.
    """

    def __init__(self, path: Place, encoder: EncoderLike | None = None, device: str = "auto") -> None:
        self.path, self.changes = path, Changes()
        self._given, self._device = encoder, device
        self._encoder: Encoder | None = None
        self._state: State | None = None
        self._embedded = LRUCache[Array](_EMBEDDED)
        self._thread, self._lock, self._closing = local(), Lock(), ExitStack()

    @classmethod
    def open(cls, path: str | Place, encoder: EncoderLike | None = None, *, device: str = "auto") -> Index:
        """Open an index.

        Args:
            path: its folder, or `postgresql://USER@HOST/DATABASE?schema=NAME`.
            encoder: an opened one or its spec; by the spec that it was built with where not given. It is opened when a
                query needs it.
            device: of an encoder that is opened by its spec.

        Raises:
            OpenMofiError: there is no index, it is damaged, or an opened encoder is not the index's.
        """
        index = cls(place_of(path), encoder, device)
        if isinstance(index.path, Path):
            keep_copy(index.path, index)
        connection = index.connection
        if encoder is not None and not isinstance(encoder, str):
            require_encoder(index.path, meta(connection), as_encoder(encoder))
        return index

    @property
    def connection(self) -> Connection:
        """The connection of the calling thread to the database."""
        connection: Connection | None = getattr(self._thread, "connection", None)
        if connection is not None and connection.outdated and not connection.in_transaction:
            connection.close()
            connection = None
        if connection is None:
            connection = self._thread.connection = connect(self.path)
        return connection

    @property
    def encoder(self) -> Encoder:
        """The encoder of queries; opened when it is first needed.

        Raises:
            OpenMofiError: it cannot be opened, or is another than the index's.
        """
        with self._lock:
            if self._encoder is None:
                values = meta(self.connection)
                if self._given is None:
                    # Others may have built it: what it names is opened from this machine alone.
                    with guarded(f"The index {address_of(self.path)}"):
                        encoder = open_encoder(values["encoder"], device=self._device)
                elif isinstance(self._given, str):
                    encoder = open_encoder(self._given, device=self._device)
                else:
                    encoder = as_encoder(self._given)
                require_encoder(self.path, values, encoder)
                self._encoder = encoder
            return self._encoder

    @property
    def state(self) -> State:
        """The last commit in memory."""
        commit = last_commit(self.connection)
        with self._lock:
            if self._state is None or self._state.commit != commit:
                self._state = State.read(self.connection, lambda: self.connection, self._state)
            return self._state

    @contextmanager
    def _reading(self) -> Generator[State]:
        """A state and, within the block, a database that is as it was then."""
        while True:
            _ = self.state  # names what is damaged
            with snapshot(self.connection):
                try:
                    state = self.state
                except FileNotFoundError:  # compacted just before the snapshot or by another thread's reading
                    continue
                yield state
                return

    def info(self) -> IndexInfo:
        """What the index holds."""
        return self.state.described(self.connection)

    def add(
        self,
        inputs: Sequence[str],
        *,
        kb: KnowledgeBase | None = None,
        read: ReadSettings = ReadSettings(),
        progress: Progress | None = None,
    ) -> Changes:
        """Take in more images, or bring those of `inputs` up to date; see `openmofi.search.build`."""
        values = meta(self.connection)
        made = {"template": values["template"], "dtype": cast(Any, values["dtype"])}
        self.changes = build(inputs, self.encoder, self.path, kb=kb, **made, read=read, progress=progress)
        return self.changes

    def remove(self, what: Sequence[str]) -> Changes:
        """Take images out, which stay where they are; see `openmofi.search.remove`."""
        return remove(self.path, what)

    def verify(self) -> dict[str, str]:
        """Read all files of the index; return file → what is wrong with it, `""` for nothing."""
        return verify(self.connection)

    def compact(self, progress: Progress | None = None) -> Changes:
        """Drop vectors of removed images, join small segments, and embed anew what a damaged segment held.

        Raises:
            OpenMofiError: another process writes the index, or the encoder that mends it cannot be opened.
        """
        return compact(self.path, lambda: self.encoder, progress)

    def vectors_of(self, queries: Sequence[Query]) -> list[Array | None]:
        """The query vectors of several queries, which go through the encoder together; for `search`.

        Returns:
            for each (dim,) float32, L2-normalised; `None` where it has none.

        Raises:
            OpenMofiError: an image cannot be read, an id or entity is unknown, or the encoder has no texts.
        """
        with self._reading() as state:
            queries = [as_entity(state, self.connection, query)[0] for query in queries]
            return vectors_of(state, self.connection, queries, lambda: self.encoder, self._embedded)

    def search(self, query: Query | str, vector: Array | None = None) -> Results:
        """The images that answer a query, best first.

        Args:
            query: what is asked; a text is one for `Query(text=…)`.
            vector: its `vectors_of`, where that was computed beforehand.

        Raises:
            UsageError: a filter that cannot be applied.
            OpenMofiError: as `vectors_of`.
        """
        started = time.monotonic()
        query = Query(text=query) if isinstance(query, str) else query
        if vector is None and query.has_vector:
            (vector,) = self.vectors_of([query])
        with self._reading() as state:
            results = ranked(state, self.connection, query, vector)
        return replace(results, seconds=time.monotonic() - started)

    def recognise(
        self, image: ImageInput | int, region: Region | None = None, limit: int = 10, *, unnamed: float = UNNAMED
    ) -> Recognition:
        """What an image may show, with probabilities and evidence.

        Args:
            image: see `Example`.
            region: the part that is meant.
            limit: most entities.
            unnamed: share of such images that show what no label names, from 0 up to 1.

        Raises:
            UsageError: `unnamed` is out of its range.
            OpenMofiError: the image cannot be read, or the index knows no entities.
        """
        with self._reading() as state:
            return recognised(
                state, self.connection, image, region, limit, lambda: self.encoder, self._embedded, unnamed
            )

    def image(self, image: int) -> ImageRecord:
        """An image by its id.

        Raises:
            OpenMofiError: the index has no such image.
        """
        if not (records := self.images([image])):
            raise OpenMofiError(f"The index has no image {image}.", "It may have been removed.")
        return records[0]

    def images(self, ids: Sequence[int]) -> list[ImageRecord]:
        """Images by their ids, in this order; unknown ones are left out."""
        records = image_records(self.connection, ids)
        return [records[image] for image in ids if image in records]

    def image_bytes(self, image: int) -> bytes:
        """The encoded bytes of an image, read from where it lies.

        Raises:
            OpenMofiError: the index has no such image, or it is no longer there or has changed.
        """
        return image_bytes(self.connection, image)

    def thumbnail(self, image: int) -> bytes:
        """An image as WebP, at most 256 pixels a side.

        Raises:
            OpenMofiError: as `image_bytes`, or it cannot be decoded.
        """
        return thumbnail_of(self.connection, self.image(image))

    def vectors(self) -> tuple[np.ndarray, Array]:
        """(n,) ids of the images that have vectors, and (n, dim) float32."""
        with self._reading() as state:
            positions = np.flatnonzero(state.alive)
            return state.images[positions], state.exact.rows(positions)

    def entity(self, entity: str) -> EntityRecord:
        """An entity by its identifier.

        Raises:
            UnknownEntityError: the index does not know it.
        """
        records = entity_records(self.connection, [entity])
        if entity not in records:
            raise unknown_entity(self.connection, entity)
        return records[entity]

    def find_entity(self, given: str) -> EntityRecord:
        """An entity by its identifier, or by a name: of several of that name the one with most images.

        Raises:
            UnknownEntityError: the index knows none.
        """
        ids = [] if entity_records(self.connection, [given]) else entities_by_name(self.connection, given, 1)
        return self.entity(ids[0] if ids else given)

    def complete(self, text: str, limit: int = 10) -> list[EntityRecord]:
        """Entities whose name or alias begins with `text`, those with images first, of these those of such a name, then
        those with most images; where there are none, those that are spelt alike. For completion while typing.
        """
        named = entities_by_name(self.connection, text, limit, prefix=True)
        return self._entities(named or list(dict.fromkeys(dict(named_alike(self.connection, text, limit)).values())))

    def similar_entities(self, entity: str, limit: int = 10) -> list[EntityRecord]:
        """Entities whose texts are alike to the encoder, most alike first: those that may be mistaken for it.

        Raises:
            UnknownEntityError: the index does not know it.
        """
        self.entity(entity)
        return self._entities(self.state.alike(entity, limit))

    def entity_images(
        self,
        entity: str,
        *,
        order: Literal["sure", "doubt"] = "sure",
        accepted: bool | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[EntityImage]:
        """Images that were judged to show an entity.

        Args:
            entity: identifier.
            order: from sure to doubtful, or those first of which it is least certain whether they show it.
            accepted: only labels, or only candidates below the threshold; both where not given.
            limit, offset: a page of them.
        """
        by = "labels.probability DESC" if order == "sure" else "abs(labels.probability - 0.5)"
        rows = self.connection.execute(
            f"{ENTITY_IMAGES} ORDER BY {by}, labels.image LIMIT ? OFFSET ?", (entity, accepted, accepted, limit, offset)
        ).fetchall()
        records = image_records(self.connection, [row[0] for row in rows])
        return [
            EntityImage(records[image], probability, bool(label), verdict)
            for image, probability, label, verdict in rows
        ]

    def entities(self, *, type: str = "", limit: int = 100, offset: int = 0) -> list[EntityRecord]:
        """Entities, those with most labelled images first; of a type where one is given."""
        return self._entities(column_of(self.connection, ENTITIES_BY_IMAGES, (type, type, limit, offset)))

    def _entities(self, ids: Sequence[str]) -> list[EntityRecord]:
        records = entity_records(self.connection, ids)
        return [records[entity] for entity in ids]

    def add_verdict(self, verdict: Verdict) -> Verdict:
        """Store a person's verdict on a label; see `add_verdicts`."""
        return self.add_verdicts([verdict])[0]

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Store a person's verdicts on labels, all of them or none; the last one on a label counts.

        Returns:
            them with `id` and `when`.

        Raises:
            OpenMofiError: the index cannot be written.
        """
        return add_verdicts(self.connection, verdicts)

    def undo_verdict(self, verdict: int) -> bool:
        """Take a verdict back by its id; return whether there was one."""
        return undo_verdicts(self.connection, [verdict]) > 0

    def take_in_verdicts(self, table: pa.Table) -> int:
        """Store verdicts of another index, with who gave them and when; return how many were new.

        Those of images that this index does not have are kept for when it has them. One that is not later than
        what was said of its label here is left out, since the last one counts.

        Args:
            table: see `openmofi.schema.VERDICTS`; probabilities and strata are not read.

        Raises:
            OpenMofiError: a verdict is none of y, n and u, or the index cannot be written.
        """
        return take_in_verdicts(self.connection, table)

    def verdict_table(self, labels: str = "", entity: str = "") -> pa.Table:
        """Verdicts that were not taken back, earliest first, as `openmofi label --verdicts` takes them as Parquet.

        Args:
            labels: the folder of labels that they are of, where the index was built of several.
            entity: of its labels alone.

        Returns:
            see `openmofi.schema.VERDICTS`.

        Raises:
            UsageError: the index was not built of `labels`.
        """
        return table_of(self.connection, labels, entity)

    def verdicts(self, entity: str = "", limit: int = -1) -> list[Verdict]:
        """Verdicts that were not taken back, latest first; of an entity where one is given."""
        return verdicts_of(self.connection, limit, 0, **({"entity": entity} if entity else {}))

    def make_map(self, seed: int = 0) -> Changes:
        """Give each image a place in the plane, so that images that are alike lie near each other; equal indexes and
        seeds give equal maps.

        Raises:
            OpenMofiError: there are fewer than 10 images, or another process writes the index.
            MissingExtraError: the extra `map` is not installed.
        """
        changes: Changes = own_part("maps", "tsne")(self.path, seed)
        return changes

    def map(self) -> CollectionMap:
        """The map that `make_map` made last; without places where there is none."""
        return read_map(self.connection)

    def show(self, height: int = 720) -> Any:
        """Show the page of `openmofi serve` in a notebook, in a frame of this height in pixels; a thread serves it to
        this machine alone until `close`. The frame's address opens it once.

        Raises:
            MissingExtraError: IPython or the extra `serve` is not installed.
        """
        return own_part("views", "page")(self, self._closing, height)

    def close(self) -> None:
        """Close this thread's connection, and the page that `show` opened."""
        self._closing.close()
        if (connection := self._thread.__dict__.pop("connection", None)) is not None:
            connection.close()
