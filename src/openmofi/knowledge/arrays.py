"""Arrays and tries of a base's folder: written atomically, arrays a block at a time; mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
from numpy.typing import DTypeLike, NDArray

from openmofi.storage import atomic_path

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


def save_trie(path: Path, trie: marisa_trie.Trie) -> None:
    """Store a trie."""
    with atomic_path(path) as temporary:
        try:
            trie.save(str(temporary))
        except RuntimeError as error:  # marisa's way to say that a write came out short
            raise OSError(str(error)) from error
