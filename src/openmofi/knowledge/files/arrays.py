"""Arrays of a base's folder: written atomically, a block at a time; mapped; checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, DTypeLike, NDArray

from openmofi.storage import atomic_path


def taken(column: pa.ChunkedArray, rows: ArrayLike) -> pa.Array:
    """(n) values of a column at rows, which are in range; Arrow's own `take` joins all batches first."""
    wanted = np.asarray(rows, np.int64)
    if column.num_chunks == 1:
        return column.chunk(0).take(pa.array(wanted))
    if not len(wanted):
        return pa.array([], column.type)
    starts = np.cumsum([0, *map(len, column.chunks)])
    batch = np.searchsorted(starts, wanted, "right") - 1
    order = np.argsort(batch, kind="stable")
    numbers, first = np.unique(batch[order], return_index=True)
    parts = [
        column.chunk(number).take(pa.array(wanted[places] - starts[number]))
        for number, places in zip(numbers.tolist(), np.split(order, first[1:]), strict=True)
    ]
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return pa.concat_arrays(parts).take(pa.array(back))


def taken_table(table: pa.Table, rows: ArrayLike) -> pa.Table:
    """Rows of a table, see `taken`."""
    return pa.table([taken(column, rows) for column in table.columns], schema=table.schema)


_ELEMENTS = 1 << 22

Append = Callable[[NDArray[Any]], None]


def mapped(path: Path) -> NDArray[Any]:
    """A stored array, memory-mapped, read-only."""
    # A plain array over the map: np.memmap's own class makes every slice several times slower.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Store an array."""
    with appended(path, array.dtype, array.shape) as append:
        append(array)


@contextmanager
def appended(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> Iterator[Append]:
    """Store an array whose blocks of rows are given one after another, in the bytes of `np.save`.

    It is no map that is written to: where the disk is full, that would end the process.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.lib.format.write_array_header_1_0(
            handle, {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        )
        handle.flush()  # or a disk that is full would be told of when the file is closed, in place of another's error

        def append(block: NDArray[Any]) -> None:
            handle.write(np.ascontiguousarray(block, dtype).data)

        yield append


def outside(array: NDArray[Any], kind: Any, shape: tuple[int, ...], low: float, high: float) -> str:
    """What is wrong with an array that should have this type and shape and values of `low` to `high`; else `""`.

    It is read in blocks, so that a mapped array of any size needs little memory.
    """
    if array.dtype != kind or array.shape != shape:
        return f"holds {array.dtype} of shape {array.shape} and should hold {np.dtype(kind)} of shape {shape}"
    rows = max(_ELEMENTS // max(int(np.prod(shape[1:])), 1), 1)
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        if not ((block >= low) & (block <= high)).all():  # a NaN is neither
            return f"holds values beyond {low:g} to {high:g}"
    return ""


def bad_offsets(offsets: NDArray[Any], size: int, last: int) -> str:
    """What is wrong with offsets of lists, `size` + 1 that rise from 0 to `last`; else `""`."""
    if problem := outside(offsets, np.int64, (size + 1,), 0, last):
        return problem
    rising = all(
        (offsets[start + 1 : start + _ELEMENTS + 1] >= offsets[start : start + _ELEMENTS][: size - start]).all()
        for start in range(0, size, _ELEMENTS)
    )
    return "" if rising and offsets[0] == 0 and offsets[-1] == last else "does not fit the lists"
