"""The relations of a base: lists of each entity's relations, and of what is directly below a class; memory-mapped.

What says that one entity is below another are hypernyms and subclasses (of a class), and instances: an entity is below
its classes and below what these are subclasses of. An instance of a class is no member of that class' own classes: a
species is an animal, and no "taxonomic rank", though it is an instance of "species".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from openmofi.knowledge.arrays import appended, bad_offsets, mapped, outside
from openmofi.knowledge.database import number_of, tables_of
from openmofi.storage import read_arrow, write_arrow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OFFSETS, TAILS, KINDS, NAMES = (
    f"relations/{name}" for name in ("offsets.npy", "tails.npy", "kinds.npy", "names.arrow")
)
BELOW_OFFSETS, BELOW = "relations/below_offsets.npy", "relations/below.npy"
FILES = (OFFSETS, TAILS, KINDS, NAMES, BELOW_OFFSETS, BELOW)
"""A base has all of them, or none: one without relations."""

SUBCLASS = ("hypernym", "subclass of", "parent taxon")
INSTANCE = ("instance_hypernym", "instance of")
"""Relations whose tail is above their head, as builders write them: of a class, and of what is one of it."""
_NAMES = pa.schema([("relation", pa.string())])

Rows = NDArray[np.int64]
Blocks = Iterable[tuple[NDArray[Any], ...]]
"""Numbers of lists, ascending, and a column or more of their values."""


@dataclass(frozen=True)
class Relations:
    """The relations of a base of n entities.

    Attributes:
        offsets: (n+1) int64; relations of the entity at row i are `[offsets[i], offsets[i+1])`, by kind, then by tail.
        tails: int32, rows of entities.
        kinds: unsigned, places in `names`.
        names: of the relations, ascending.
        below_offsets: (2n+1) int64; `below` of list 2i are the subclasses of i, of list 2i+1 its instances.
        below: int32, rows of entities, ascending in a list.
    """

    offsets: NDArray[np.int64]
    tails: NDArray[np.int32]
    kinds: NDArray[np.unsignedinteger[Any]]
    names: tuple[str, ...]
    below_offsets: NDArray[np.int64]
    below: NDArray[np.int32]

    @classmethod
    def of(cls, folder: Path) -> Relations | None:
        """Map the relations of a base; `None` where it has none.

        Raises:
            ValueError: a file is not what was written.
        """
        if not (folder / OFFSETS).is_file():
            return None
        names = read_arrow(folder / NAMES)
        if names.schema != _NAMES:
            raise ValueError(f"{NAMES} has other columns")
        names.validate(full=True)
        arrays = {name: mapped(folder / name) for name in FILES if name != NAMES}
        return cls(
            arrays[OFFSETS],
            arrays[TAILS],
            arrays[KINDS],
            tuple(names.column(0).to_pylist()),
            arrays[BELOW_OFFSETS],
            arrays[BELOW],
        )

    def fits(self, size: int) -> bool:
        """Return whether the files fit together, and fit a base of so many entities."""
        return (
            len(self.offsets) == size + 1
            and len(self.below_offsets) == 2 * size + 1
            and len(self.tails) == len(self.kinds) == self.offsets[-1]
            and len(self.below) == self.below_offsets[-1]
        )

    def wrong_contents(self, size: int) -> dict[str, str]:
        """Return file → what is wrong with its content, `""` for nothing, for a base of so many entities."""
        count, names = len(self.tails), len(self.names)
        return {
            OFFSETS: bad_offsets(self.offsets, size, count),
            TAILS: outside(self.tails, np.int32, (count,), 0, size - 1),
            KINDS: outside(self.kinds, _kind_type(names), (count,), 0, names - 1),
            BELOW_OFFSETS: bad_offsets(self.below_offsets, 2 * size, len(self.below)),
            BELOW: outside(self.below, np.int32, (len(self.below),), 0, size - 1),
        }

    def between(self, start: int, stop: int) -> tuple[Rows, NDArray[Any], NDArray[np.int32]]:
        """Heads, kinds and tails of the relations of the entities at rows `start` to `stop`, in order."""
        lengths = np.diff(self.offsets[start : stop + 1])
        span = slice(int(self.offsets[start]), int(self.offsets[stop]))
        return np.repeat(np.arange(start, stop), lengths), self.kinds[span], self.tails[span]

    def above(self, row: int) -> Rows:
        """Rows of the classes that an entity belongs to, without itself, the nearest first, then by row."""
        subclass = self._is_subclass
        return _closed(
            self._tails(np.array([row]), subclass | self._is_instance), lambda rows: self._tails(rows, subclass), row
        )

    @cached_property
    def _is_subclass(self) -> NDArray[np.bool_]:
        return np.array([name in SUBCLASS for name in self.names])

    @cached_property
    def _is_instance(self) -> NDArray[np.bool_]:
        return np.array([name in INSTANCE for name in self.names])

    def _tails(self, rows: Rows, wanted: NDArray[np.bool_]) -> Rows:
        positions = _positions(self.offsets, rows)
        return self.tails[positions[wanted[self.kinds[positions]]]].astype(np.int64)

    def below_of(self, row: int) -> Rows:
        """Rows of all that belongs to a class, without itself: subclasses, the nearest first, then instances."""
        start = np.array([row])
        subclasses = _closed(self._below(2 * start), lambda rows: self._below(2 * rows), row)
        instances = self._below(2 * np.concatenate([start, subclasses]) + 1)
        return np.concatenate([subclasses, np.setdiff1d(instances, np.append(subclasses, row))])

    def _below(self, lists: Rows) -> Rows:
        return self.below[_positions(self.below_offsets, lists)].astype(np.int64)

    def largest(self, limit: int) -> dict[int, int]:
        """Row → how many entities belong to it in all, of the classes that most entities are directly below."""
        direct = self.below_offsets[2::2] - self.below_offsets[:-2:2]
        rows = np.argsort(-direct, kind="stable")[:limit]
        return {row: len(self.below_of(row)) for row in rows[direct[rows] > 0].tolist()}

    def write_slice(self, folder: Path, rows: Rows) -> None:
        """Write the relations between some entities, by ascending rows, into the folder of a slice of these."""
        new_row = np.full(len(self.offsets) - 1, -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        positions = _positions(self.offsets, rows)
        heads = np.repeat(np.arange(len(rows)), self.offsets[rows + 1] - self.offsets[rows])
        tails, kinds = new_row[self.tails[positions]], self.kinds[positions]
        inside = tails >= 0
        heads, tails, kinds = heads[inside], tails[inside], kinds[inside]
        if not len(heads):
            return
        used, kinds = np.unique(kinds, return_inverse=True)
        names = [self.names[kind] for kind in used.tolist()]
        instance = self._is_instance[used][kinds]
        ordered = (instance | self._is_subclass[used][kinds]) & (heads != tails)
        below = np.unique(np.stack([2 * tails[ordered].astype(np.int64) + instance[ordered], heads[ordered]]), axis=1)
        _write(folder, len(rows), names, len(heads), [(heads, kinds, tails)], below.shape[1], [(below[0], below[1])])


def write_relations(connection: DuckDBPyConnection, folder: Path, entities: int) -> None:
    """Write the relations that are in `edge`, each once; nothing where there is none.

    Args:
        connection: see `openmofi.knowledge.builders.staging.Staged`.
        folder: of the base.
        entities: how many there are.

    Raises:
        OpenMofiError: the disk is full.
    """
    names = [name for _, name in connection.execute("SELECT kind, name FROM kind ORDER BY kind").fetchall()]
    connection.execute("CREATE TABLE related AS SELECT DISTINCT head, kind, tail FROM edge")
    connection.execute(
        """
        CREATE TABLE below AS SELECT DISTINCT 2 * tail::BIGINT + list_contains(?, name)::BIGINT AS list, head
        FROM related JOIN kind USING (kind) WHERE head <> tail AND list_contains(?, name)""",
        [list(INSTANCE), [*SUBCLASS, *INSTANCE]],
    )
    related, below = (number_of(connection, f"SELECT count(*) FROM {name}") for name in ("related", "below"))
    if related:
        _write(
            folder,
            entities,
            names,
            related,
            _arrays(connection, "SELECT head, kind, tail FROM related ORDER BY head, kind, tail"),
            below,
            _arrays(connection, "SELECT list, head FROM below ORDER BY list, head"),
        )


def _arrays(connection: DuckDBPyConnection, query: str) -> Blocks:
    for part in tables_of(connection, query):
        yield tuple(column.to_numpy() for column in part.columns)


def _write(
    folder: Path, size: int, names: Sequence[str], count: int, related: Blocks, count_below: int, below: Blocks
) -> None:
    """Write the files.

    Args:
        folder: of the base.
        size: how many entities it has.
        names: of the relations, ascending.
        count, related: of the relations: head, kind, tail.
        count_below, below: see `Relations.below_offsets`: number of the list, row.
    """
    write_arrow(folder / NAMES, pa.table([list(names)], schema=_NAMES))
    _write_lists(folder, OFFSETS, size, {KINDS: _kind_type(len(names)), TAILS: np.int32}, count, related)
    _write_lists(folder, BELOW_OFFSETS, 2 * size, {BELOW: np.int32}, count_below, below)


def _write_lists(
    folder: Path, offsets: str, size: int, columns: dict[str, DTypeLike], count: int, blocks: Blocks
) -> None:
    ends = np.zeros(size + 1, np.int64)
    with ExitStack() as stack:
        appends = [stack.enter_context(appended(folder / name, kind, (count,))) for name, kind in columns.items()]
        for lists, *values in blocks:
            distinct, lengths = np.unique(lists, return_counts=True)
            ends[distinct + 1] += lengths
            for append, column in zip(appends, values, strict=True):
                append(column)
    with appended(folder / offsets, np.int64, ends.shape) as append:
        append(np.cumsum(ends, out=ends))


def _kind_type(names: int) -> np.dtype[Any]:
    return np.min_scalar_type(max(names - 1, 0))


def _positions(offsets: NDArray[np.int64], lists: Rows) -> Rows:
    """Places of the values of some lists, of one list after another."""
    lengths = offsets[lists + 1] - offsets[lists]
    return np.repeat(offsets[lists] + lengths - np.cumsum(lengths), lengths) + np.arange(lengths.sum())


def _closed(first: Rows, following: Callable[[Rows], Rows], without: int) -> Rows:
    """What is reached, level by level, each once; sets, since most levels have few rows."""
    reached, seen, fresh = list[int](), {without}, first
    while len(fresh):
        level = sorted(set(fresh.tolist()) - seen)
        reached += level
        seen.update(level)
        fresh = following(np.array(level, np.int64))
    return np.array(reached, np.int64)
