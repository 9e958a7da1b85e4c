"""Arrays and tries of a base's folder: written atomically, arrays a block at a time; mapped; checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
from numpy.typing import DTypeLike, NDArray

from openmofi.storage import atomic_path

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
        np.lib.format.write_array_header_1_0(handle, {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape})

        def append(block: NDArray[Any]) -> None:
            handle.write(np.ascontiguousarray(block, dtype).data)

        yield append


def built_trie(keys: Iterable[str]) -> marisa_trie.Trie:
    """A trie of names.

    Of one level, where marisa's default is three: look-ups take two thirds of the time, and a file has 10 bytes a name
    instead of 6. While it is built marisa holds some 110 bytes a name, whatever is set: all names and tables of them.
    """
    return marisa_trie.Trie(keys, num_tries=1)


def save_trie(path: Path, trie: marisa_trie.Trie) -> None:
    """Store a trie."""
    with atomic_path(path) as temporary:
        try:
            trie.save(str(temporary))
        except RuntimeError as error:  # marisa's way to say that a write came out short
            raise OSError(str(error)) from error


def outside(array: NDArray[Any], kind: Any, shape: tuple[int, ...], low: float, high: float) -> str:
    """What is wrong with an array that should have this type and shape and values of `low` to `high`; else `""`.

    It is read in blocks, so that a mapped array of any size needs little memory.
    """
    if array.dtype != kind or array.shape != shape:
        return f"holds {array.dtype} of shape {array.shape} and should hold {np.dtype(kind)} of shape {shape}"
    rows = max(_ELEMENTS // max(int(np.prod(shape[1:])), 1), 1)
    for start in range(0, len(array), rows):
        block = array[start:start + rows]
        if not ((block >= low) & (block <= high)).all():  # a NaN is neither
            return f"holds values beyond {low:g} to {high:g}"
    return ""


def bad_offsets(offsets: NDArray[Any], size: int, last: int) -> str:
    """What is wrong with offsets of lists, `size` + 1 that rise from 0 to `last`; else `""`."""
    if problem := outside(offsets, np.int64, (size + 1,), 0, last):
        return problem
    rising = all((offsets[start + 1:start + _ELEMENTS + 1] >= offsets[start:start + _ELEMENTS][:size - start]).all()
                 for start in range(0, size, _ELEMENTS))
    return "" if rising and offsets[0] == 0 and offsets[-1] == last else "does not fit the lists"
