"""One state of an index in memory: which vectors belong to which images, and what searches them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import numpy as np

from openmofi.arrays import Array, Bools, Floats, Hashes, Ints
from openmofi.extensions import own_part
from openmofi.search.rank.calibration import Ending, Surroundings, calibration_of
from openmofi.search.records import IndexInfo, KindCalibration
from openmofi.search.store.connection import Connection, Segment, VectorIndex, Vectors
from openmofi.search.store.database import address_of, column_of, last_commit, meta, snapshot
from openmofi.search.store.vectors import Exact, damaged, entity_segment, segments_of


def refresh_cache(connection: Connection, segments: Sequence[Segment], vectors: Vectors, texts: Array) -> None:
    """Make what makes searches fast, or add to it what it does not have.

    Args:
        connection: to the index, which this process writes.
        segments: of the vectors.
        vectors: of the images.
        texts: (e, dim) of entities; further queries by which is measured what is found.

    Raises:
        OpenMofiError: it cannot be written.
    """
    if connection.vectors().refresh(len(vectors)):
        return
    if isinstance(vectors, Exact) and isinstance(connection.place, Path):
        own_part("vector_caches", "faiss").refresh(connection.place, segments, vectors, texts)


V = TypeVar("V")


class LRUCache(Generic[V]):
    """A least-recently-used cache, value by key; threads may share it.

    Args:
        most: weight of all values, at most; the latest one is kept whatever it weighs.
        weight: of a value; each counts one where not given.
    """

    def __init__(self, most: int, weight: Callable[[V], int] = lambda value: 1) -> None:
        self._most, self._weight = most, weight
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._sum = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        """The value of a key, or `None`."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Hashable, value: V) -> V:
        """Store a value, and return it."""
        with self._lock:
            if key in self._values:
                self._sum -= self._weight(self._values.pop(key))
            self._values[key] = value
            self._sum += self._weight(value)
            while self._sum > self._most and len(self._values) > 1:
                self._sum -= self._weight(self._values.popitem(last=False)[1])
            return value


_ROWS = 65_536
_LISTED = 400_000
"""Images in the lists that are kept, of all queries together: some 100 MB."""


@dataclass(frozen=True)
class State:
    """Everything that a search needs of a commit.

    Attributes:
        commit: its number.
        meta: what holds for the whole index.
        segments: its files.
        exact: all vectors, by position; those of removed images are among them.
        images: (n,) id of the image at a position; −1 where it was removed.
        phash: (n,) perceptual hashes, uint64.
        vectors: what searches them.
        entities: (e, dim) vectors of entity texts.
        entity_ids: their identifiers.
    """

    commit: int
    meta: dict[str, str]
    segments: tuple[Segment, ...]
    exact: Vectors
    images: Ints
    phash: Hashes
    vectors: VectorIndex
    entities: Array
    entity_ids: tuple[str, ...]

    @cached_property
    def alive(self) -> Bools:
        """(n,) which positions have an image."""
        return self.images >= 0

    @cached_property
    def entity_numbers(self) -> dict[str, int]:
        """Identifier → row of `entities`."""
        return {entity: number for number, entity in enumerate(self.entity_ids)}

    def alike(self, entity: str, count: int) -> list[str]:
        """The entities whose texts are most alike to the encoder, most alike first."""
        if not len(self.entities):
            return []
        number = self.entity_numbers[entity]
        order = np.argsort(-(self.entities @ self.entities[number]), kind="stable")[: count + 1]
        return [self.entity_ids[row] for row in order.tolist() if row != number][:count]

    @cached_property
    def listings(self) -> LRUCache[Sized]:
        """Ranked images of the queries that came last, for their further pages; another commit has others."""
        return LRUCache(_LISTED, len)

    @cached_property
    def ending(self) -> Ending | None:
        """How probable results are; `None` where the index cannot say."""
        return Ending.of_json(self.meta["ending"]) if self.meta.get("ending") else None

    @cached_property
    def calibration(self) -> dict[str, KindCalibration]:
        """Kind of query → whether it has probabilities, and why not."""
        return calibration_of(self.ending, texts=bool(len(self.entities)))

    @cached_property
    def surroundings(self) -> Surroundings:
        """What results are compared with."""
        if self.ending is None:
            raise ValueError("not calibrated")
        return self.around(self.ending)

    def around(self, ending: Ending) -> Surroundings:
        """What results are compared with, by an ending that is perhaps not the index's yet."""
        positions = self.positions(np.array(ending.background, np.int64))
        background, reference = positions[positions >= 0], np.array(ending.reference, np.int64)
        return Surroundings(self.exact.rows(background), self.entities[reference], ending.scale)

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.images, kind="stable")

    @cached_property
    def _ordered(self) -> Ints:
        return self.images[self._order]

    def positions(self, ids: Ints) -> Ints:
        """Positions of images; of those without a vector −1."""
        ordered = self._ordered
        slots = np.searchsorted(ordered, ids)
        slots[slots == len(ordered)] = 0
        return np.where(ordered[slots] == ids, self._order[slots], -1) if len(ordered) else np.full(len(ids), -1)

    def described(self, connection: Connection) -> IndexInfo:
        """What the index holds."""

        def count(query: str) -> int:
            return int(connection.execute(query).fetchone()[0])

        statuses = dict(connection.execute("SELECT status, count(*) FROM images GROUP BY status ORDER BY status"))
        last = connection.execute("SELECT made FROM commits ORDER BY id DESC LIMIT 1").fetchone()
        effort = self.vectors.effort
        alive = int(self.alive.sum())
        return IndexInfo(
            address_of(connection.place),
            sum(statuses.values()),
            statuses,
            alive,
            int(self.meta["dim"]),
            self.meta["dtype"],
            len(self.segments),
            len(self.images) - alive,
            count("SELECT count(*) FROM labels WHERE accepted = 1"),
            count("SELECT count(*) FROM entities"),
            count("SELECT count(*) FROM verdicts WHERE undone = 0"),
            self.meta["encoder"],
            self.meta["fingerprint"],
            tuple(column_of(connection, "SELECT path FROM sources ORDER BY path")),
            tuple(column_of(connection, connection.column_names)),
            bool(self.ending and (self.ending.text or self.ending.image)),
            self.calibration,
            self.vectors.name,
            effort.value if effort else 0,
            effort.recall if effort else None,
            self.commit,
            last[0] if last else "",
            connection.sizes(),
        )

    @classmethod
    def read(
        cls,
        connection: Connection,
        connected: Callable[[], Connection] | None = None,
        before: State | None = None,
        *,
        hold: bool = False,
    ) -> State:
        """Read the state of the last commit.

        Args:
            connection: that it is read by.
            connected: the connection of the thread that asks later; the same one where not given.
            before: an older state, whose vectors are not read again.
            hold: keep all vectors in memory, also many of a server; they are needed one and all.

        Raises:
            OpenMofiError: a segment is damaged.
            FileNotFoundError: the snapshot in which this is called names a file that a writer has compacted since.
        """
        within = connection.in_transaction
        while True:
            commit = last_commit(connection)
            try:
                return cls._read(connection, connected or (lambda: connection), before, hold)
            except FileNotFoundError as error:
                if within:
                    raise
                if last_commit(connection) == commit:  # else it was compacted meanwhile
                    raise damaged(str(error.filename), connection.place, "the file is missing") from error

    @classmethod
    def _read(
        cls, connection: Connection, connected: Callable[[], Connection], before: State | None, hold: bool
    ) -> State:
        with snapshot(connection):
            commit, values, segments = last_commit(connection), meta(connection), segments_of(connection)
            table = _table(connection.execute("SELECT segment, row, id, phash FROM images WHERE segment IS NOT NULL"))
            ids = tuple(entity for (entity,) in connection.execute("SELECT id FROM entities ORDER BY number"))
            dim, of_entities = int(values["dim"]), entity_segment(connection)
            store, address, held = connection.vectors(), connection.place, dict[str, Floats]()
            there = None if hold else store.searched(segments, dim, connected)
            searched: VectorIndex
            if before and isinstance(before.exact, Exact):
                held = dict(zip((each.file for each in before.segments), before.exact.parts, strict=True))
            if there is not None:
                exact, searched = there, there
            else:
                exact = Exact([held[each.file] if each.file in held else store.read(each, dim) for each in segments])
                searched = exact
                if isinstance(address, Path):
                    searched = own_part("vector_caches", "faiss").vector_index(address, segments, exact)
            entities = (
                store.read(of_entities, dim).astype(np.float32) if of_entities else np.zeros((0, dim), np.float32)
            )
        counts = [segment.rows for segment in segments]
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        numbers = np.array([segment.id for segment in segments], np.int64)
        place = np.searchsorted(numbers, table[:, 0])
        known = np.isin(table[:, 0], numbers).all() and min(counts, default=0) >= 0
        if not known or ((table[:, 1] < 0) | (table[:, 1] >= np.array(counts, np.int64)[place])).any():
            raise damaged("of images", address, "rows lie outside of the segments")
        position = start[place] + table[:, 1]
        images, phash = np.full(start[-1], -1, np.int64), np.zeros(start[-1], np.int64)
        images[position], phash[position] = table[:, 2], table[:, 3]
        return cls(commit, values, tuple(segments), exact, images, phash.view(np.uint64), searched, entities, ids)


def _table(rows: Iterable[tuple[int, int, int, int]]) -> Ints:
    """(n, 4) of rows, which are never in memory all together: as Python's numbers they take six times as much."""
    left, parts = iter(rows), [np.zeros((0, 4), np.int64)]
    while some := list(islice(left, _ROWS)):
        parts.append(np.array(some, np.int64))
    return np.concatenate(parts)
