"""Parquet's footers, read without rows: whether files are whole, and their notes; look-ups in sorted strings."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import in_object_store, open_address, open_end, present
from openmofi.storage.atomic import exists
from openmofi.storage.threads import in_threads


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


def is_whole(path: str | Path) -> bool:
    """Whether a file that `write_table` (.parquet) or `write_arrow` (.arrow) wrote is there, with its end.

    Both keep what they hold at the end: of a file that was cut off, or whose end a crash left as zeros, nothing can be
    read. Rows are not looked at. An object of a store is whole where there is one.
    """
    if in_object_store(path):
        return exists(path)
    opened = pq.ParquetFile if str(path).endswith(".parquet") else pa.ipc.open_file
    try:
        with open_address(path) as handle:
            opened(handle)
    except FileNotFoundError:
        return False
    except (OSError, pa.ArrowException) as error:
        if not is_damage(error):
            raise
        return False
    return True


def whole(paths: Sequence[str]) -> Iterator[bool]:
    """Whether each file is there with its end, see `is_whole`; objects are asked for by listings."""
    there = present(path for path in paths if in_object_store(path))
    return in_threads(lambda path: path in there if in_object_store(path) else is_whole(path), paths)


def is_damage(error: Exception) -> bool:
    """Whether Arrow says so of a file's content; an error that the system numbers is one of reading.

    Arrow reports a damaged footer as an OSError without an error number of the system.
    """
    return not isinstance(error, OSError) or error.errno is None


@dataclass(frozen=True)
class Footer:
    """What stands at the end of a Parquet file, and is read without its rows.

    Attributes:
        rows: how many it has.
        notes: what its writer noted (`write_table`, `openmofi.storage.tables.blocks.table_blocks`), and what Arrow did.
    """

    rows: int
    notes: Mapping[str, str]


def table_footer(path: str | Path) -> Footer | None:
    """The end of a Parquet file; `None` if the file does not exist or is not whole."""
    try:
        metadata = parquet_metadata(path)
    except (OSError, pa.ArrowException, ValueError) as error:
        if not is_damage(error) and not isinstance(error, FileNotFoundError):
            raise
        return None
    notes = metadata.metadata or {}
    return Footer(
        int(metadata.num_rows),
        {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in notes.items()},
    )


def parquet_metadata(path: str | Path) -> pq.FileMetaData:
    """What PyArrow reads at the end of a Parquet file; of an object that end alone is fetched.

    Raises:
        OSError, pyarrow.ArrowException: it does not exist, or is damaged.
    """
    with open_end(path) as handle:
        try:
            return pq.read_metadata(handle)
        except (OSError, pa.ArrowException) as error:
            if not isinstance(handle, io.BytesIO) or not is_damage(error):
                raise
    with open_address(path) as handle:  # its footer is longer than the end that was fetched
        return pq.read_metadata(handle)


def footers(paths: Sequence[str]) -> Iterator[Footer | None]:
    """`table_footer` of each file, many at a time; of objects those that there are, by listings."""
    there = present(path for path in paths if in_object_store(path))
    return in_threads(lambda path: None if in_object_store(path) and path not in there else table_footer(path), paths)


def require_footer(path: str | Path) -> Footer:
    """The end of a Parquet file.

    Raises:
        OpenMofiError: it does not exist, or is not whole.
    """
    if footer := table_footer(path):
        return footer
    raise OpenMofiError(f"{path} cannot be read.", "Start the same command again: it is made again.")
