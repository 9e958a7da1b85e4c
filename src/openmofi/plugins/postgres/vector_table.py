"""Segments of vectors as rows of pgvector's tables, and searching them there."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from openmofi.arrays import Array, Bools, Floats, Ints
from openmofi.search.store.connection import Connection, Segment, Vectors
from openmofi.search.store.database import snapshot
from openmofi.search.store.vectors import Exact, best, content_of, damaged, digest_of

if TYPE_CHECKING:
    from psycopg import Connection as RawConnection


ROWS = 22
"""Bits of an id that say the row; the others are the segment's number."""
_BITS = 40
FROM = 50_000
"""Vectors from which on they stay in the database."""
_GRAPH = "WITH (m = 16, ef_construction = 64)"
_LEAST_EFFORT, _MOST_EFFORT = 200, 1000
"""Of `ef_search`: what gives the recall of FAISS's graph, and what pgvector takes."""
_MOST_SCANNED = 200_000
_HALF_DIM = 4000
_COPIED = "SELECT vector FROM {table} WHERE id >= %s AND id < %s ORDER BY id"


def first_id(file: str) -> int:
    """Return the id of the first vector of a segment."""
    return int(file[-_BITS // 4 :], 16) << ROWS


class PostgresConnection(Connection, Protocol):
    """A connection of `database.py`: psycopg's own, and the errors of statements that go around `execute`."""

    raw: RawConnection[Any]

    def explained(self) -> AbstractContextManager[None]:
        """Say in one sentence what the server refuses."""


@dataclass(frozen=True)
class VectorTable:
    """See `VectorStore`; a segment's name is its number, hexadecimal, with an `e` before those of entities."""

    connection: PostgresConnection

    def write(self, vectors: Array, dtype: str, *, entities: bool = False) -> tuple[str, int, str]:
        """See `VectorStore.write`."""
        from pgvector import HalfVector, Vector

        kind, made = ("halfvec", HalfVector) if dtype == "float16" else ("vector", Vector)
        stored, file = vectors.astype(dtype), f"{'e' * entities}{secrets.randbits(_BITS):010x}"
        with (
            self.connection.explained(),
            self.connection.raw.cursor() as cursor,
            cursor.copy(f"COPY {_table(file)} (id, vector) FROM STDIN WITH (FORMAT BINARY)") as copy,
        ):
            copy.set_types(["int8", kind])
            for number, vector in enumerate(stored, first_id(file)):
                copy.write_row((number, made(vector)))
        return file, len(stored), digest_of(content_of(stored))

    def read(self, segment: Segment, dim: int) -> Floats:
        """See `VectorStore.read`."""
        vectors = self._all(segment)
        if len(vectors) != segment.rows >= 0:
            raise damaged(segment.file, self.connection.place, f"there are {len(vectors)} of {segment.rows}")
        return vectors

    def row(self, file: str, row: int) -> Array:
        """See `VectorStore.row`."""
        return self.rows(np.array([first_id(file) + row]))[0]

    def rows(self, ids: Ints) -> Array:
        """Read the (n, dim) float32 vectors of these ids, in their order.

        Raises:
            OpenMofiError: some are missing.
        """
        vectors = dict(self.fetched("SELECT id, vector FROM vectors WHERE id = ANY(%s)", (ids.tolist(),)))
        if len(vectors) < len(set(ids.tolist())):
            raise damaged("of some images", self.connection.place, "they are not in the table")
        return _stacked([vectors[each] for each in ids.tolist()]).astype(np.float32)

    def problem(self, segment: Segment) -> str:
        """See `VectorStore.problem`."""
        vectors = self._all(segment)
        if len(vectors) != segment.rows >= 0:
            return f"there are {len(vectors)} of {segment.rows} vectors"
        return "" if digest_of(content_of(vectors)) == segment.digest else "they are not those that were written"

    def keep_only(self, files: set[str]) -> None:
        """See `VectorStore.keep_only`."""
        for table in ("vectors", "entity_vectors"):
            named = [first_id(file) >> ROWS for file in files if file and _table(file) == table]
            self.connection.execute(f"DELETE FROM {table} WHERE NOT (id >> {ROWS}) = ANY(?)", (named,))

    def searched(self, segments: Sequence[Segment], dim: int, connected: Callable[[], Connection]) -> Vectors | None:
        """See `VectorStore.searched`; those of a small index are held in memory."""
        enough = sum(segment.rows for segment in segments) >= FROM
        return InDatabase(segments, dim, connected) if enough else None

    def refresh(self, count: int) -> bool:
        """See `VectorStore.refresh`."""
        if count >= FROM and not self.has_graph():
            self.make_graph()
        return True

    def nearest_of(self, query: Array, count: int, ids: Ints) -> tuple[Ints, Array]:
        """Find the nearest of these ids by comparing each: (k,) ids, and (k, dim) float32 vectors."""
        rows = list(
            self.fetched(
                "SELECT id, vector FROM vectors WHERE id = ANY(%s) ORDER BY vector::vector <#> %s LIMIT %s",
                (ids.tolist(), _vector(query), count),
            )
        )
        return _columns(rows, len(query))

    def nearest(self, query: Array, effort: int) -> Iterator[tuple[Ints, Array]]:
        """Yield the nearest by the graph, best first, a batch at a time, as `nearest_of` does. Needs a transaction.

        Args:
            query: (dim,) float32.
            effort: how many are looked for before the graph is walked on, 200 to 1000: pgvector's `ef_search`.
        """
        from psycopg import ServerCursor

        most = min(max(effort, _LEAST_EFFORT), _MOST_EFFORT)
        with self.connection.explained():
            # The planner takes the graph for the whole table's order only where it is told to.
            for name, value in (
                ("hnsw.ef_search", str(most)),
                ("hnsw.iterative_scan", "strict_order"),
                ("hnsw.max_scan_tuples", str(_MOST_SCANNED)),
                ("enable_seqscan", "off"),
            ):
                self.connection.raw.execute("SELECT set_config(%s, %s, true)", (name, value))
            with ServerCursor(self.connection.raw, f"near_{secrets.token_hex(4)}") as cursor:
                cursor.execute(
                    f"SELECT id, vector FROM vectors ORDER BY {self._graphed()} <#> %s::halfvec({len(query)})",
                    (_vector(query),),
                    binary=True,
                )
                self.connection.raw.execute("SET LOCAL enable_seqscan = on")
                while rows := cursor.fetchmany(min(max(effort, 32), most)):
                    yield _columns(rows, len(query))

    def has_graph(self) -> bool:
        """Whether the graph is there."""
        return self.connection.execute("SELECT to_regclass('vectors_near')").fetchone()[0] is not None

    def make_graph(self) -> None:
        """Make pgvector's HNSW index; what is written later comes into it by itself."""
        if self._kind()[0] > _HALF_DIM:
            return
        self.connection.execute("SET maintenance_work_mem = '1GB'")
        self.connection.execute(
            f"CREATE INDEX IF NOT EXISTS vectors_near ON vectors USING hnsw "
            f"(({self._graphed()}) halfvec_ip_ops) {_GRAPH}"
        )
        self.connection.execute("RESET maintenance_work_mem")
        self.connection.execute("ANALYZE vectors")

    def _graphed(self) -> str:
        dim, dtype = self._kind()
        return "vector" if dtype == "float16" else f"vector::halfvec({dim})"

    def _kind(self) -> tuple[int, str]:
        """Return dimension and NumPy type of the images' vectors; those of entities are float16."""
        values = dict(self.connection.execute("SELECT name, value FROM meta WHERE name IN ('dim', 'dtype')"))
        return int(values["dim"]), values["dtype"]

    def _all(self, segment: Segment) -> Floats:
        first = first_id(segment.file)
        table, (dim, dtype) = _table(segment.file), self._kind()
        rows = self.fetched(_COPIED.format(table=table), (first, first + (1 << ROWS)))
        return (
            _stacked([vector for (vector,) in rows])
            .reshape(-1, dim)
            .astype(dtype if table == "vectors" else "float16", copy=False)
        )

    def fetched(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows of a statement in psycopg's form, transferred in binary."""
        from psycopg import Cursor

        if not self.connection.in_transaction:
            self.connection.execute("SELECT 1")  # connects again where the server was restarted
        with self.connection.explained(), Cursor(self.connection.raw) as cursor:
            return cursor.execute(statement, values, binary=True).fetchall()


def _table(file: str) -> str:
    return "entity_vectors" if file.startswith("e") and len(file) > _BITS // 4 else "vectors"


def _vector(query: Array) -> Any:
    from pgvector import Vector

    return Vector(query)


def _stacked(vectors: Sequence[Any]) -> Floats:
    return np.stack([each.to_numpy() for each in vectors]) if vectors else np.zeros((0, 0), np.float32)


def _columns(rows: Sequence[Any], dim: int) -> tuple[Ints, Array]:
    vectors = _stacked([vector for _, vector in rows]).astype(np.float32).reshape(-1, dim)
    return np.array([number for number, _ in rows], np.int64), vectors


assert FROM < 1 << ROWS


# Below 50,000 vectors they are held in memory and all compared, as a folder's are: the same numbers. Beyond, they stay
# in the database. Its graph (HNSW over halves) finds candidates, which are compared again by the vectors themselves;
# with a filter the graph is walked on until enough of what it finds is allowed, and where little is allowed the
# database compares with all of that.

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
        """Read all vectors into memory."""
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
        hits = np.full((len(queries), count), -1, np.int64)
        with snapshot(self.connected()):
            for number, query in enumerate(queries):
                positions, vectors = self._candidates(query, count, allowed)
                values, columns = best((vectors @ query)[None], count)
                valid = columns[0] >= 0
                scores[number], hits[number, valid] = values[0], positions[columns[0][valid]]
        return scores, hits

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
            usable = positions >= 0 if allowed is None else (positions >= 0) & allowed[positions]
            parts.append((positions[usable], vectors[usable]))
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
        """Return the positions of ids; −1 for those that no segment of this state has."""
        firsts, starts, rows = self._bounds()
        order = np.argsort(firsts)
        segment = order[np.maximum(np.searchsorted(firsts[order], ids, side="right") - 1, 0)]
        row = ids - firsts[segment]
        return np.where((row >= 0) & (row < rows[segment]), starts[segment] + row, -1)

    def _bounds(self) -> tuple[Ints, Ints, Ints]:
        rows = np.array([segment.rows for segment in self.segments], np.int64)
        return (np.array([first_id(segment.file) for segment in self.segments], np.int64), np.cumsum(rows) - rows, rows)
