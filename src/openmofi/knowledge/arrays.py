"""Arrays and tries of a base's folder: written atomically, a block at a time; mapped; checked.

The names of a large base are in several tries, each with the keys of a range, which are asked as if they were one.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import marisa_trie
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
        column.chunk(number).take(pa.array(wanted[positions] - starts[number]))
        for number, positions in zip(numbers.tolist(), np.split(order, first[1:]), strict=True)
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


PART_KEYS = 1 << 20
"""Keys of a trie. While one is built, marisa holds some 110 bytes a key, whatever is set."""
NAMES_MARISA = "names.marisa"
MORE_TRIES = "names.*.marisa"
PARTS = "name_parts"
"""Of a manifest's counts: the first keys of all tries but the first, where there are several."""


class Tries:
    """Tries of the keys of one range after another, with what a `marisa_trie.Trie` is asked for: numbers follow on.

    Args:
        tries: at least one.
        firsts: the first key of each but the first; ascending, in the order of code points.
    """

    def __init__(self, tries: Sequence[marisa_trie.Trie], firsts: Sequence[str]) -> None:
        if len(tries) != len(firsts) + 1 or any(later <= key for key, later in pairwise(firsts)):
            raise ValueError(f"{len(tries)} tries cannot be told apart by {len(firsts)} keys")
        self.tries, self.firsts = tuple(tries), list(firsts)
        self._begins = [0, *accumulate(map(len, tries))]

    def get(self, key: str, default: Any = None) -> Any:
        """The number of a key, or `default`."""
        part = bisect_right(self.firsts, key)
        number = self.tries[part].get(key, -1)
        return default if number < 0 else self._begins[part] + number

    def __getitem__(self, key: str) -> int:
        number = self.get(key, -1)
        if number < 0:
            raise KeyError(key)
        return int(number)

    def __contains__(self, key: str) -> bool:
        return key in self.tries[bisect_right(self.firsts, key)]

    def __len__(self) -> int:
        return self._begins[-1]

    def __iter__(self) -> Iterator[str]:
        return self.iterkeys()

    def restore_key(self, number: int) -> str:
        """The key of a number.

        Raises:
            KeyError: no key has it.
        """
        part = bisect_right(self._begins, number) - 1
        if not 0 <= part < len(self.tries):
            raise KeyError(number)
        return str(self.tries[part].restore_key(number - self._begins[part]))

    def iteritems(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """The keys that begin with `prefix`, with their numbers."""
        for part in self._parts(prefix):
            yield from ((key, self._begins[part] + number) for key, number in self.tries[part].iteritems(prefix))

    def iterkeys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`."""
        for part in self._parts(prefix):
            yield from self.tries[part].iterkeys(prefix)

    def keys(self, prefix: str = "") -> list[str]:
        """As `iterkeys`, in a list."""
        return list(self.iterkeys(prefix))

    def prefixes(self, text: str) -> list[str]:
        """The keys that `text` begins with, the shortest first."""
        # They lie between the text's first letter and the text, and a shorter one before a longer.
        parts = range(bisect_right(self.firsts, text[:1]), bisect_right(self.firsts, text) + 1)
        return [key for part in parts for key in self.tries[part].prefixes(text)]

    def _parts(self, prefix: str) -> Iterator[int]:
        part = bisect_right(self.firsts, prefix)
        yield part
        while part < len(self.firsts) and self.firsts[part].startswith(prefix):
            part += 1
            yield part


Names: TypeAlias = marisa_trie.Trie | Tries
"""Keys and their numbers, from 0 on."""


def built_trie(keys: Iterable[str]) -> marisa_trie.Trie:
    """A trie of keys.

    Of one level, where marisa's default is three: look-ups take two thirds of the time, and a file has 10 bytes a name
    instead of 6.
    """
    return marisa_trie.Trie(keys, num_tries=1)


def built_names(keys: Sequence[str]) -> Names:
    """Names of keys, which are distinct and ascending."""
    firsts = keys[PART_KEYS::PART_KEYS]
    return _one_or_several(
        [built_trie(keys[start : start + PART_KEYS]) for start in range(0, max(len(keys), 1), PART_KEYS)], firsts
    )


def save_names(folder: Path, names: Names) -> dict[str, list[str]]:
    """Store names; return the counts that `open_names` needs."""
    firsts = names.firsts if isinstance(names, Tries) else []
    tries = names.tries if isinstance(names, Tries) else (names,)
    for number, trie in enumerate(tries):
        save_trie(folder / trie_file(number), trie)
    return {PARTS: firsts} if firsts else {}


def open_names(folder: Path, counts: Mapping[str, Any]) -> Names:
    """Map names.

    Args:
        folder: of the base.
        counts: with `PARTS` where there are several tries.
    """
    firsts = counts.get(PARTS, [])
    return _one_or_several(
        [marisa_trie.Trie().mmap(str(folder / trie_file(number))) for number in range(len(firsts) + 1)], firsts
    )


def further_files(counts: Mapping[str, Any]) -> list[str]:
    """Files of a base's names beside `NAMES_MARISA`."""
    firsts = counts.get(PARTS)
    return [trie_file(number) for number in range(1, len(firsts) + 1)] if isinstance(firsts, list) else []


def trie_file(number: int) -> str:
    """Name of the file of a trie, from 0."""
    return f"names.{number}.marisa" if number else NAMES_MARISA


def save_trie(path: Path, trie: marisa_trie.Trie) -> None:
    """Store a trie."""
    with atomic_path(path) as temporary:
        try:
            trie.save(str(temporary))
        except RuntimeError as error:  # marisa's way to say that a write came out short
            raise OSError(str(error)) from error


def _one_or_several(tries: Sequence[marisa_trie.Trie], firsts: Sequence[str]) -> Names:
    return Tries(tries, firsts) if len(tries) > 1 else tries[0]
