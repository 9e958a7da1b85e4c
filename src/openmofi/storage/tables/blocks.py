"""Tables that are written and read a block at a time, so that memory does not grow with their rows.

A block is a row group of Parquet, or a record batch of Arrow IPC, of `BLOCK_ROWS` rows; the last is shorter. A table
of one block has the bytes that `write_table` or `write_arrow` give it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import open_address
from openmofi.storage.atomic import atomic_path, cast_column, write_error

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
    """Write a Parquet file (zstd) atomically; what is yielded takes the table's parts, of any size, in order.

    Args:
        path: local path or fsspec URL; nothing is there if the caller raises.
        schema: of all parts.
        notes: for the file's footer (`storage.tables.footers.table_footer`), as they are at the end of the block.

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
    """The row groups of a Parquet file that this package wrote; one without rows if it has none.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    with _reading(path), open_address(path) as handle:
        file = pq.ParquetFile(handle)
        blocks = (file.read_row_group(number, columns=columns) for number in range(file.num_row_groups))
        yield from _never_none(blocks, file.schema_arrow)


def parquet_blocks(path: str | Path, schema: pa.Schema, rows: int, *, hint: str) -> Iterator[pa.Table]:
    """A Parquet file of whoever wrote it, tables of at most so many `rows` at a time, cast to `schema`.

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
    """The rows of tables in tables of so many `rows`, in one chunk each; the last has fewer."""
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


def read_arrow_blocks(path: str | Path) -> Iterator[pa.Table]:
    """The record batches of an Arrow IPC file; one without rows if it has none.

    They are read and not mapped: pages that were mapped once stay with the process.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    with _reading(path), open_address(path) as handle:
        file = pa.ipc.open_file(handle)
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
