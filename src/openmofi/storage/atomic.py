"""Atomic writes and locks: a reader sees the old file or the whole new one, never a part.

Local files are written under a temporary name beside their path, fsynced and renamed. On object stores (any
other fsspec protocol) an object appears only when its upload has ended, which is the same promise.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import (
    filesystem_of,
    in_object_store,
    is_remote,
    local_path,
    open_address,
    require_local,
    store_errors,
)
from openmofi.storage.copies import copy_of, keep_copy, never_changes


@contextmanager
def locked(path: Path, wait: Callable[[], None]) -> Generator[None]:
    """Hold the only lock on `path` among all processes; a process that dies gives its lock back.

    Args:
        path: a local file, which may be missing; the lock is beside it, as `.NAME.lock`.
        wait: called once where another process holds the lock, before waiting for it.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            wait()
            lock.acquire()
    except OSError as error:
        raise write_error(error, path) from error
    try:
        yield
    finally:
        lock.release()


Item = TypeVar("Item")
_TEMPORARY = ".openmofi-tmp-"
_HOST = hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()
_STALE_SECONDS = 86_400.0
_NO_ROOM = 1 << 16


def _is_full(error: OSError, path: str | Path) -> bool:
    if error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # numpy and others report a short write without saying why.
    with contextlib.suppress(OSError):
        return shutil.disk_usage(Path(path).parent).free < _NO_ROOM
    return False


def write_error(error: OSError, path: str | Path) -> OpenMofiError:
    """Return the error for a `path` that could not be written."""
    if _is_full(error, path):
        return OpenMofiError(
            f"The disk is full: {path} could not be written.",
            "Free some space and start the same command again; finished output is kept.",
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return OpenMofiError(f"{path} cannot be written: {error.strerror or error}.", "Choose another output with -o.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return OpenMofiError(
            f"{path} cannot be written: a file exists where a folder is needed.", "Choose another output with -o."
        )
    return OpenMofiError(f"{path} could not be written: {error.strerror or error}.")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary local path; on leaving without an error its content is at `path`, at once and synced.

    Parent folders are created. On an error nothing is left behind. The body should do nothing but write: an `OSError`
    in it is reported as a failure to write.

    Raises:
        OpenMofiError: the disk is full, or `path` cannot be written.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "file"
            yield local
            _upload(local, str(path))
            if in_object_store(path) and never_changes(path):
                keep_copy(path, local)
        return
    target = local_path(path)
    # Two threads or processes may write the same target: the last one wins, and neither sees part of the other's.
    temporary = target.with_name(f"{_TEMPORARY}{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise write_error(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _upload(local: Path, url: str) -> None:
    try:
        filesystem, remote = filesystem_of(url)
        with store_errors(url):
            if not in_object_store(url):
                filesystem.makedirs(remote.rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(local), remote)
    except FileNotFoundError as error:
        raise OpenMofiError(f"{url} cannot be written: there is no such bucket.", "Make the bucket first.") from error
    except OSError as error:
        raise write_error(error, url) from error
    except (NotImplementedError, ValueError) as error:
        raise OpenMofiError(f"{url} cannot be written: {error}.") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        handle.write(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path` atomically; bytes of file names that are not UTF-8 appear escaped."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON with sorted keys, so that equal content gives equal bytes."""
    pieces = json.JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False).iterencode(content)
    # File names may contain bytes that are not UTF-8 (lone surrogates); JSON has them only escaped.
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as handle,
    ):
        handle.writelines(pieces)
        handle.write("\n")


def write_table(path: str | Path, table: pa.Table, notes: Mapping[str, str] | None = None) -> None:
    """Write an Arrow table as Parquet (zstd) atomically; equal tables give equal bytes.

    `notes` are added to the file's schema metadata; `footers.table_footer` reads them back without reading rows.
    """
    if notes:
        metadata = {**(table.schema.metadata or {}), **{k.encode(): v.encode() for k, v in notes.items()}}
        table = table.replace_schema_metadata(metadata)
    # Arrow takes a path only where it is UTF-8.
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        pq.write_table(table, handle, compression="zstd")


def write_arrow(path: str | Path, table: pa.Table) -> None:
    """Write a table atomically as one uncompressed record batch, which can be memory-mapped; equal tables give equal
    bytes.
    """
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as handle,
        pa.ipc.new_file(handle, table.schema) as writer,
    ):
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)


def read_arrow(path: str | Path) -> pa.Table:
    """Open what `write_arrow` wrote: memory-mapped where it is local or has a local copy, else read.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    try:
        if is_remote(path) and not never_changes(path):
            with open_address(path) as handle:
                return pa.ipc.open_file(pa.py_buffer(handle.read())).read_all()
        return pa.ipc.open_file(pa.memory_map(os.fsencode(mappable(path)))).read_all()
    except (OSError, pa.ArrowException) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Remove it and start the command again.") from error


def mappable(path: str | Path) -> Path:
    """Return a local path to map a file by: its own, or that of a copy of a store's, which must be named by content.

    Raises:
        OSError, ValueError, OpenMofiError: see `openmofi.storage.addresses.open_address`.
    """
    if not is_remote(path):
        return local_path(path)
    filesystem, name = filesystem_of(path)
    with store_errors(path):
        return copy_of(path, lambda target: filesystem.get_file(name, target))


def make_folder(folder: str | Path) -> None:
    """Make a local folder, before long work, so that its outcome has a place.

    Raises:
        UsageError: see `require_local`.
        OpenMofiError: it cannot be made.
    """
    require_local(folder)
    try:
        local_path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OpenMofiError(
            f"{folder} cannot be made a folder: {error.strerror or error}.", "Give another folder."
        ) from error


def exists(path: str | Path) -> bool:
    """Whether a file is at a local path or fsspec URL."""
    filesystem, name = filesystem_of(path)
    with store_errors(path):
        return bool(filesystem.exists(name))


def read_parquet(
    path: str | Path, schema: pa.Schema, *, columns: Sequence[str] | None = None, hint: str = "Check the path."
) -> pa.Table:
    """Read a Parquet file (all columns of `schema`, or some), cast to `schema`, in one chunk a column.

    Raises:
        OpenMofiError: the file is missing or damaged, or has other columns, which are named; `hint` says what to do.
    """
    expected = pa.schema([schema.field(name) for name in columns]) if columns else schema
    try:
        with open_address(path) as handle, pq.ParquetFile(handle) as file:
            present = file.schema_arrow.names
            if absent := [name for name in expected.names if name not in present]:
                raise OpenMofiError(
                    f"{path} cannot be read: it has no column {absent[0]!r} (it has: {', '.join(present)}).", hint
                )
            table = file.read(columns=expected.names)
        columns_cast = [cast_column(path, table.column(field.name), field, hint) for field in expected]
        return pa.Table.from_arrays(columns_cast, schema=expected).combine_chunks()
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} is missing.", hint) from error
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OpenMofiError(f"{path} cannot be read: {reason}.", hint) from error


def cast_column(path: str | Path, column: pa.ChunkedArray, field: pa.Field, hint: str) -> pa.ChunkedArray:
    """Cast a column of a file to the type of `field`.

    Raises:
        OpenMofiError: its values cannot be; `hint` says what to do.
    """
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        held, wanted = _in_words(column.type), _in_words(field.type)
        what = f"holds {held}, not {wanted}" if held != wanted else f"holds other {wanted} than it should"
        value = re.search("'.*'", str(error).partition("\n")[0])
        raise OpenMofiError(
            f"{path} cannot be read: its column {field.name!r} {what}{f' ({value[0]})' if value else ''}.", hint
        ) from error


def _in_words(kind: pa.DataType) -> str:
    """Describe a type as a person would."""
    words = (
        (pa.types.is_boolean, "yes or no"),
        (pa.types.is_integer, "whole numbers"),
        (pa.types.is_floating, "numbers"),
        (pa.types.is_string, "text"),
        (pa.types.is_large_string, "text"),
        (pa.types.is_struct, "records"),
    )
    if pa.types.is_dictionary(kind):
        return _in_words(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"lists of {_in_words(kind.value_type)}"
    return next((said for is_kind, said in words if is_kind(kind)), str(kind))


def remove_folder(folder: str | Path) -> None:
    """Remove a folder with all that is in it, as far as that can be done."""
    if not is_remote(folder):
        shutil.rmtree(local_path(folder), ignore_errors=True)
        return
    filesystem, root = filesystem_of(folder)
    with contextlib.suppress(OSError), store_errors(folder):
        filesystem.rm(root, recursive=True)


@contextmanager
def temporary_folder(folder: str | Path) -> Iterator[Path]:
    """Make a hidden folder in `folder` for the block; `remove_leftovers` removes that of a killed process.

    For an address in a store it is one of this machine's temporary folders.
    """
    if is_remote(folder):
        with tempfile.TemporaryDirectory() as elsewhere:
            yield Path(elsewhere)
        return
    temporary = local_path(folder) / f"{_TEMPORARY}{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: str | Path) -> None:
    """Remove temporary files and folders that a killed process left in a local `folder`; those in use stay."""
    if is_remote(folder):
        return
    for parent, folders, names in os.walk(local_path(folder)):
        for leftover in (Path(parent, name) for name in (*folders, *names) if name.startswith(_TEMPORARY)):
            with contextlib.suppress(OSError):
                if _in_use(leftover):
                    continue
                if leftover.is_dir() and not leftover.is_symlink():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)


def _in_use(leftover: Path) -> bool:
    host, _, rest = leftover.name.removeprefix(_TEMPORARY).partition("-")
    process = rest.partition("-")[0]
    if host != _HOST or not process.isdigit():
        # Another machine's, on a shared disk: only its age tells.
        return time.time() - leftover.stat().st_mtime < _STALE_SECONDS
    try:
        os.kill(int(process), 0)  # a PermissionError, which the caller passes over: another user's process runs
    except ProcessLookupError:
        return False
    return True
