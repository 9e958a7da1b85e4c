"""DuckDB as builders use it: joins and sorts that go to disk where the set memory is short.

See https://duckdb.org/docs/stable/guides/performance/how_to_tune_workloads.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.engine.protocol import cores
from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage.atomic import write_error

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "4GB"
"""What a build may use where nothing is said."""
JOINED = 0.5
"""The share of the memory that DuckDB's limit gets: it needs more than it counts, and is not alone."""
_LEAST = 500_000_000
_A_THREAD = 125_000_000
"""Bytes that DuckDB's guide asks for a thread."""
_BATCH = 1 << 16
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(M|G|T)(i?)B", re.IGNORECASE)
_FULL = ("no space left", "could not write all bytes", "failed to offload")
_NO_ROOM = 1 << 16


def memory_bytes(memory: str) -> int:
    """Bytes of a size such as `8GB` or `500MiB`.

    Raises:
        UsageError: it is no size, or too little to build in.
    """
    match = _SIZE.fullmatch(memory.strip())
    if not match:
        raise UsageError(f"{memory!r} is no size of memory.", "Sizes are such as 8GB or 500MB.")
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** {"M": 2, "G": 3, "T": 4}[match[2].upper()])
    if size < _LEAST:
        raise UsageError(f"{memory} of memory is too little.", f"Give at least {_LEAST // 10**6}MB.")
    return size


@contextmanager
def connected(folder: Path, memory: int) -> Iterator[DuckDBPyConnection]:
    """A database in memory that goes to `folder` where it needs more than `memory` bytes.

    Raises:
        OpenMofiError: the disk is full, or the memory does not do.
    """
    import duckdb

    spilled = folder / "spilled"
    try:
        with duckdb.connect(
            config={
                "memory_limit": f"{memory // 10**6}MB",
                "temp_directory": str(spilled),
                "threads": max(min(cores(), memory // _A_THREAD), 1),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
            }
        ) as connection:
            connection.execute("SET enable_progress_bar = false")
            try:
                yield connection
            except duckdb.Error as error:
                raise _said(error, folder) from error
    except duckdb.Error as error:
        raise _said(error, folder) from error
    finally:
        shutil.rmtree(spilled, ignore_errors=True)


def _said(error: Exception, folder: Path) -> OpenMofiError:
    reason = str(error).partition("\n")[0].rstrip(".")
    if any(sign in reason.lower() for sign in _FULL) or shutil.disk_usage(folder).free < _NO_ROOM:
        return OpenMofiError(
            f"The disk is full: {folder} could not be written.", "Free some space and start the same command again."
        )
    return OpenMofiError(f"{folder} could not be joined: {reason}.", "Give more --memory, and start the command again.")


def quoted(path: Path) -> str:
    """A path as it stands in a query."""
    return "'" + str(path).replace("'", "''") + "'"


@contextmanager
def part_file(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Write a Parquet file that is joined and then removed; what is yielded takes its row groups, in order.

    It need not outlive this process, so it is not synced.

    Raises:
        OpenMofiError: the disk is full.
    """
    try:
        with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
            yield writer.write_table
    except OSError as error:
        raise write_error(error, path) from error


def tables_of(connection: DuckDBPyConnection, query: str) -> Iterator[pa.Table]:
    """The rows of a query, a table of some thousand at a time."""
    for batch in connection.sql(query).to_arrow_reader(_BATCH):
        yield pa.Table.from_batches([batch])


def number_of(connection: DuckDBPyConnection, query: str) -> int:
    """The only value of a query, a whole number; 0 for null."""
    # All rows are fetched, or the connection would count as busy.
    return int(connection.execute(query).fetchall()[0][0] or 0)
