"""The vectors of an index in PostgreSQL, searched there.

Below 50,000 vectors they are held in memory and all compared, as a folder's are: the same numbers. Beyond, they stay in
the database. Its graph (HNSW over halves) finds candidates, which are compared again by the vectors themselves; with a
filter the graph is walked on until enough of what it finds is allowed, and where little is allowed the database
compares with all of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.encoders import Array
from openmofi.plugins.postgres.vector_table import VectorTable, first_id
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import snapshot
from openmofi.search.store.segments import Segment
from openmofi.search.vectors import Bools, Exact, Ints, best

_FEW = 0.02
"""Share of allowed vectors below which all of these are compared."""
_SPARE = 2


@dataclass(frozen=True)
class InDatabase:
    """Vectors in PostgreSQL; see `Vectors`.

    Attributes:
        segments: whose vectors they are, one behind another.
        dim: of a vector.
        connected: the calling thread's connection.
    """

    segments: Sequence[Segment]
    dim: int
    connected: Callable[[], Connection]

    @property
    def name(self) -> str:
        """See `VectorIndex.name`."""
        return "pgvector HNSW16,halfvec" if self._table.has_graph() else "pgvector exact"

    @property
    def effort(self) -> None:
        """See `VectorIndex.effort`."""

    @property
    def _table(self) -> VectorTable:
        table = self.connected().vectors()
        assert isinstance(table, VectorTable)
        return table

    def __len__(self) -> int:
        return sum(segment.rows for segment in self.segments)

    def held(self) -> Exact:
        """All of them in memory."""
        return Exact([self._table.read(segment, self.dim) for segment in self.segments])

    def scores(self, queries: Array) -> Array:
        """See `Vectors.scores`; reads all vectors."""
        return self.held().scores(queries)

    def rows(self, positions: Ints) -> Array:
        """See `Vectors.rows`."""
        if not len(positions):
            return np.zeros((0, self.dim), np.float32)
        return self._table.rows(self._ids(positions))

    def search(self, queries: Array, count: int, allowed: Bools | None = None) -> tuple[Array, Ints]:
        """See `VectorIndex.search`."""
        scores = np.full((len(queries), count), -np.inf, np.float32)
        found = np.full((len(queries), count), -1, np.int64)
        with snapshot(self.connected()):
            for number, query in enumerate(queries):
                positions, vectors = self._candidates(query, count, allowed)
                values, places = best((vectors @ query)[None], count)
                kept = places[0] >= 0
                scores[number], found[number, kept] = values[0], positions[places[0][kept]]
        return scores, found

    def _candidates(self, query: Array, count: int, allowed: Bools | None) -> tuple[Ints, Array]:
        share = 1.0 if allowed is None else float(allowed.mean())
        table = self._table
        if share < _FEW or not table.has_graph():
            ids = self._ids(np.arange(len(self)) if allowed is None else np.flatnonzero(allowed))
            near, vectors = table.nearest_of(query, count, ids)
            return self._positions(near), vectors
        wanted, parts = _SPARE * count, list[tuple[Ints, Array]]()
        for near, vectors in table.nearest(query, int(wanted / max(share, 0.1))):
            positions = self._positions(near)
            kept = positions >= 0 if allowed is None else (positions >= 0) & allowed[positions]
            parts.append((positions[kept], vectors[kept]))
            if sum(len(some) for some, _ in parts) >= wanted:
                break
        return (
            np.concatenate([np.zeros(0, np.int64), *(some for some, _ in parts)]),
            np.concatenate([np.zeros((0, self.dim), np.float32), *(theirs for _, theirs in parts)]),
        )

    def _ids(self, positions: Ints) -> Ints:
        firsts, starts, _ = self._bounds()
        segment = np.searchsorted(starts, positions, side="right") - 1
        return firsts[segment] + positions - starts[segment]

    def _positions(self, ids: Ints) -> Ints:
        """Positions of ids; −1 of those that no segment of this state has."""
        firsts, starts, rows = self._bounds()
        order = np.argsort(firsts)
        segment = order[np.maximum(np.searchsorted(firsts[order], ids, side="right") - 1, 0)]
        row = ids - firsts[segment]
        return np.where((row >= 0) & (row < rows[segment]), starts[segment] + row, -1)

    def _bounds(self) -> tuple[Ints, Ints, Ints]:
        rows = np.array([segment.rows for segment in self.segments], np.int64)
        return (np.array([first_id(segment.file) for segment in self.segments], np.int64), np.cumsum(rows) - rows, rows)
