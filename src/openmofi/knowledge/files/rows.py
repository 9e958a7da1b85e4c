"""Rows of memory-mapped tables of several record batches: taken without copying what is not asked for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike


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
