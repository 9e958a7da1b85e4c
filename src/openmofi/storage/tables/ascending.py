"""Looking up strings in an ascending Arrow array, without a table of hashes: what is searched may be a mapped file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def is_ascending(strings: pa.Array) -> bool:
    """Whether each of them is greater than the one before it, by bytes of UTF-8."""
    return len(strings) < 2 or bool(pc.all(pc.less(strings[:-1], strings[1:])).as_py())


def places_in(strings: pa.Array, wanted: pa.Array) -> NDArray[np.int64]:
    """(len(wanted),) the place of each in `strings`, −1 where it is not there.

    All are looked for at once, by halves: of n strings log₂ n are read for each.

    Args:
        strings: ascending, without nulls.
        wanted: in any order, without nulls.
    """
    wanted = wanted.cast(strings.type)
    low, high = np.zeros(len(wanted), np.int64), np.full(len(wanted), len(strings), np.int64)
    while (searching := low < high).any():
        middle = (low + high) // 2
        less = _compared(pc.less, strings, middle, wanted)
        low, high = np.where(searching & less, middle + 1, low), np.where(searching & ~less, middle, high)
    if not len(strings):
        return low - 1
    return np.where((low < len(strings)) & _compared(pc.equal, strings, low, wanted), low, -1)


def _compared(compare: Any, strings: pa.Array, places: NDArray[np.int64], wanted: pa.Array) -> NDArray[np.bool_]:
    read = strings.take(pa.array(np.minimum(places, len(strings) - 1)))
    compared: NDArray[np.bool_] = compare(read, wanted).to_numpy(zero_copy_only=False)
    return compared
