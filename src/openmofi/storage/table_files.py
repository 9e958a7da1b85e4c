"""Files of tables, written and read a block of rows at a time; their footers; look-ups in sorted strings."""

import io
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.arrays import Bools, Ints
from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import TAIL, end_of, in_object_store, in_threads, open_address, open_ranges, present
from openmofi.storage.atomic import atomic_path, cast_column, exists, write_error

# A block is a row group of Parquet, or a record batch of Arrow IPC, of `BLOCK_ROWS` rows; the last is shorter. A table
# of one block has the bytes that `write_table` or `write_arrow` give it.

BLOCK_ROWS = 1 << 14
"""Most shards of pairs have fewer rows, and are one block."""

_BUFFER = 1 << 20

Add = Callable[[pa.Table], None]


class _Elsewhere(Exception):
    """An error of the caller's, on its way through `atomic_path`, which would take it for a failure to write."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def table_blocks(path: str | Path, schema: pa.Schema, notes: Mapping[str, str] | None = None) -> Generator[Add]:
    """Write a Parquet file (zstd) atomically; yield a function that takes the table's parts, of any size, in order.

    Args:
        path: local path or fsspec URL; nothing is there if the caller raises.
        schema: of all parts.
        notes: for the file's footer (`table_footer`), as they are at the end of the block.

    Raises:
        OpenMofiError: `path` cannot be written.
    """
    with _through(), atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        with _collected(path, schema, writer.write_table, BLOCK_ROWS, empty=True) as add:
            yield add
        writer.add_key_value_metadata(dict(notes or {}))


@contextmanager
def arrow_blocks(path: str | Path, schema: pa.Schema, rows: int = 0) -> Generator[Add]:
    """Write an uncompressed Arrow IPC file atomically, as `table_blocks` does, in record batches of so many `rows`, or
    of `BLOCK_ROWS`.

    Raises:
        OpenMofiError: `path` cannot be written.
    """
    with (
        _through(),
        atomic_path(path) as temporary,
        pa.ipc.new_file(str(temporary), schema) as writer,
        _collected(path, schema, writer.write_table, rows or BLOCK_ROWS, empty=False) as add,
    ):
        yield add


@contextmanager
def _through() -> Generator[None]:
    try:
        yield
    except _Elsewhere as passing:
        raise passing.error from None


@contextmanager
def _collected(
    path: str | Path, schema: pa.Schema, write: Callable[[pa.Table], None], size: int, *, empty: bool
) -> Generator[Add]:
    """Collect parts into blocks of `size` rows; `empty` says whether a table without rows is written as a block."""
    parts: list[pa.Table] = []
    rows = 0

    def add(part: pa.Table) -> None:
        nonlocal rows
        parts.append(part.replace_schema_metadata(schema.metadata))
        held, rows = rows % size, rows + len(part)
        for _ in range((held + len(part)) // size):
            joined = pa.concat_tables(parts)
            write_block(joined.slice(0, size))
            parts[:] = [joined.slice(size)]

    def write_block(block: pa.Table) -> None:
        try:
            write(block.combine_chunks())
        except OSError as error:
            raise write_error(error, path) from error

    try:
        yield add
    except OSError as error:
        raise _Elsewhere(error) from error
    if rows % size or (empty and not rows):
        write_block(pa.concat_tables([schema.empty_table(), *parts]))


def read_table_blocks(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file that this package wrote; one without rows if it has none.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    with _reading(path), open_address(path) as handle:
        file = pq.ParquetFile(handle)
        blocks = (file.read_row_group(number, columns=columns) for number in range(file.num_row_groups))
        yield from _never_none(blocks, file.schema_arrow)


def parquet_blocks(path: str | Path, schema: pa.Schema, rows: int, *, hint: str) -> Iterator[pa.Table]:
    """Yield any Parquet file in tables of at most `rows` rows, cast to `schema`.

    Raises:
        OpenMofiError: see `openmofi.storage.atomic.read_parquet`; a text is not UTF-8.
    """
    try:
        with open_address(path) as handle:
            file = pq.ParquetFile(handle, buffer_size=_BUFFER)  # of a column's row group a part at a time
            for batch in file.iter_batches(rows, columns=schema.names, use_threads=False):
                batch.validate(full=True)
                table = pa.Table.from_batches([batch])
                yield pa.table(
                    [cast_column(path, table.column(field.name), field, hint) for field in schema], schema=schema
                )
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} is missing.", hint) from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OpenMofiError(f"{path} cannot be read: {reason}.", hint) from error


def rows_at_a_time(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Regroup tables to tables of `rows` rows, each in one chunk; the last has fewer."""
    held, count = list[pa.Table](), 0
    for table in tables:
        while count + len(table) >= rows:
            yield pa.concat_tables([*held, table.slice(0, rows - count)]).combine_chunks()
            table, held, count = table.slice(rows - count), [], 0
        if len(table):
            held.append(table)
            count += len(table)
    if held:
        yield pa.concat_tables(held).combine_chunks()


def read_arrow_blocks(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the record batches of an Arrow IPC file, or some of their columns; one without rows if it has none.

    They are read and not mapped: pages that were mapped once stay with the process. Of other columns nothing is read.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    with _reading(path), (open_ranges if columns else open_address)(path) as handle:
        file = pa.ipc.open_file(handle)
        if columns:
            wanted = [file.schema.get_field_index(name) for name in columns]
            file = pa.ipc.open_file(handle, options=pa.ipc.IpcReadOptions(included_fields=wanted))
        blocks = (pa.Table.from_batches([file.get_batch(number)]) for number in range(file.num_record_batches))
        yield from _never_none(blocks, file.schema)


def _never_none(blocks: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    first = next(blocks, None)
    yield schema.empty_table() if first is None else first
    yield from blocks


@contextmanager
def _reading(path: str | Path) -> Generator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Remove it and start the command again.") from error


def is_ascending(strings: pa.Array) -> bool:
    """Whether each string is greater than the one before it, by bytes of UTF-8."""
    return len(strings) < 2 or bool(pc.all(pc.less(strings[:-1], strings[1:])).as_py())


def places_in(strings: pa.Array, wanted: pa.Array) -> Ints:
    """Return (len(wanted),) the position of each in `strings`, −1 where it is not there.

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


def _compared(compare: Any, strings: pa.Array, positions: Ints, wanted: pa.Array) -> Bools:
    read = strings.take(pa.array(np.minimum(positions, len(strings) - 1)))
    return compare(read, wanted).to_numpy(zero_copy_only=False)


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
    """Whether an error of Arrow means a damaged file; one with a number of the system is a failure to read.

    Arrow reports a damaged footer as an OSError without an error number of the system.
    """
    return not isinstance(error, OSError) or error.errno is None


@dataclass(frozen=True)
class Footer:
    """The footer of a Parquet file, which is read without the rows.

    Attributes:
        rows: how many it has.
        notes: what its writer noted (`write_table`, `openmofi.storage.table_files.table_blocks`), and what Arrow did.
    """

    rows: int
    notes: Mapping[str, str]


def table_footer(path: str | Path) -> Footer | None:
    """Read the footer of a Parquet file; `None` if the file does not exist or is not whole."""
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
    """Read PyArrow's metadata at the end of a Parquet file; nothing else of it is read.

    Raises:
        OSError, pyarrow.ArrowException: it does not exist, or is damaged.
    """
    end = end_of(path)
    longer = len(end) == TAIL and int.from_bytes(end[-8:-4], "little") + 8 > TAIL
    with open_address(path) if longer else io.BytesIO(end) as handle:
        return pq.read_metadata(handle)


def footers(paths: Sequence[str]) -> Iterator[Footer | None]:
    """Read the footer of each file, many at a time; of objects those that listings have."""
    there = present(path for path in paths if in_object_store(path))
    return in_threads(lambda path: None if in_object_store(path) and path not in there else table_footer(path), paths)
