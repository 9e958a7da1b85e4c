"""Blocks of a stream for processes that parse them: one process unpacks, the others read.

The bytes travel by files that are written again and again, and so stay in the page cache: pickling them would cost half
as much as parsing, and shared memory is 64 MB in a container and outlives who is killed.
"""

import bz2
import io
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from openmofi.engine.protocol import Progress
from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.storage.atomic import remove_folder, write_error

Block = TypeVar("Block")
_MIB = 1 << 20
_READ = 1 << 16
"""Bytes of a file that are unpacked together: of a dump they may be a hundred times as many."""
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstandard"}


def begin_reading(progress: Progress, stage: str, files: Iterable[Path]) -> None:
    """Begin a stage that reads files; `reported` advances it by their MiB."""
    progress.begin(stage, sum(-(-path.stat().st_size // _MIB) for path in files))


def reported(
    blocks: Iterable[Block], position: Callable[[Block], int], path: Path, progress: Progress
) -> Iterator[Block]:
    """Yield what is read of a file, and advance the progress for each MiB.

    Args:
        position: the bytes of the file that have been read with a block.
    """
    advanced = 0
    for block in blocks:
        yield block
        for _ in range(position(block) // _MIB - advanced):
            progress.advance({})
        advanced = position(block) // _MIB
    for _ in range(-(-path.stat().st_size // _MIB) - advanced):
        progress.advance({})


def unpacked(path: str | Path, hint: str) -> Iterator[tuple[bytes, int]]:
    """Yield the unpacked content of a file in non-empty chunks, each with the bytes of the file read by then.

    Args:
        path: plain, or compressed by gzip, bzip2 or zstandard, of several streams too; its first bytes say which.
        hint: what to do where it cannot be read.

    Raises:
        MissingExtraError: the library that decompresses it is not installed.
        OpenMofiError: the file is missing, empty, damaged or cut off.
    """
    try:
        with open(path, "rb") as handle:
            kind = _kind(handle.read(4))
            handle.seek(0)
            chunks = iter(lambda: handle.read(_READ), b"")
            read, empty = 0, True
            for data, taken in _streams(path, chunks, kind) if kind else ((chunk, len(chunk)) for chunk in chunks):
                read += taken
                if data:
                    empty = False
                    yield data, read
            if empty:
                raise OpenMofiError(f"{path} is empty.", hint)
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} is missing.", hint) from error
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", hint) from error


def packed_by(path: str | Path) -> str:
    """Return `gzip`, `bzip2` or `zstandard` by the first bytes of a file; `""` where it is plain."""
    with open(path, "rb") as handle:
        return _kind(handle.read(4))


def _kind(start: bytes) -> str:
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def _streams(path: str | Path, chunks: Iterator[bytes], kind: str) -> Iterator[tuple[bytes, int]]:
    """Yield what compressed chunks hold; a file may be several streams, one after another."""
    new = _decompressor(kind)
    stream, fed = new(), False
    for chunk in chunks:
        taken = len(chunk)
        while chunk:
            try:
                data = stream.decompress(chunk)
            except Exception as error:  # each library has errors of its own
                raise OpenMofiError(
                    f"{path} is damaged: its {kind} data cannot be decompressed ({error}).",
                    "Fetch it again and compare its checksum.",
                ) from error
            chunk = stream.unused_data if stream.eof else b""
            fed = not stream.eof
            if stream.eof:
                stream = new()
            yield data, taken
            taken = 0
    if fed:
        raise OpenMofiError(
            f"{path} is cut off: its {kind} data does not end.",
            "Fetch the rest, or fetch it again; what was read of it before is kept.",
        )


def _decompressor(kind: str) -> Callable[[], Any]:
    if kind == "bzip2":
        return bz2.BZ2Decompressor
    if kind == "gzip":
        isal_zlib = _imported("isal.isal_zlib", "isal")
        return lambda: isal_zlib.decompressobj(wbits=31)
    zstandard = _imported("zstandard", "zstandard")
    return lambda: zstandard.ZstdDecompressor().decompressobj()


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError.of(package, "wikidata") from error


_FOLDER = "lines-"
Task = Callable[..., Any]
"""Is given a handle of the bytes, and then the other arguments."""
Done = Callable[[Any], object]
"""Receives what a task returned; of several tasks in the order in which they end."""


class Slots:
    """Workers, and files by which bytes get to them; one is free again when the task that reads it is done."""

    def __init__(self, executor: ProcessPoolExecutor, slots: list[Path]) -> None:
        self._executor, self._free = executor, slots
        self._running: dict[Future[Any], tuple[Path, Done]] = {}

    def run(self, done: Done, data: Iterable[bytes], task: Task, *arguments: Any, **named: Any) -> None:
        """Have a task read these bytes, and pass its result to `done`. Waits while all slots are in use."""
        while not self._free:
            self._collect()
        slot = self._free.pop()
        try:
            with open(slot, "wb") as handle:
                handle.writelines(data)
            self._running[self._executor.submit(_read, slot, task, arguments, named)] = slot, done
        except OSError as error:
            raise write_error(error, slot) from error
        except BrokenProcessPool as error:
            raise _died() from error

    def finish(self) -> None:
        """Wait for all tasks."""
        while self._running:
            self._collect()

    def _collect(self) -> None:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                result = future.result()
            except BrokenProcessPool as error:
                raise _died() from error
            slot, receive = self._running.pop(future)
            self._free.append(slot)
            receive(result)


class Here:
    """Runs tasks in this process, one after another: for what is not worth a worker's start."""

    def run(self, done: Done, data: Iterable[bytes], task: Task, *arguments: Any, **named: Any) -> None:
        """See `Slots`."""
        done(task(io.BytesIO(b"".join(data)), *arguments, **named))

    def finish(self) -> None:
        """See `Slots`."""


@contextmanager
def slots(
    folder: Path, workers: int, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[Slots]:
    """Yield workers that read the bytes handed to them.

    Args:
        folder: gets the files, while they are needed; leftovers of a run that was killed are removed.
        workers: how many processes.
        begin, arguments: called in each worker at first.
    """
    for left in folder.glob(f"{_FOLDER}*"):
        remove_folder(left)
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (begin, arguments))
    with TemporaryDirectory(prefix=_FOLDER, dir=folder) as temporary:
        try:
            yield Slots(executor, [Path(temporary) / str(number) for number in range(workers + 1)])
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


class _NoPandas(MetaPathFinder):
    """Hide pandas (50 MiB) from a worker: Arrow imports it only to ask whether a list is a series."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("a process that parses has no use for pandas", name=fullname)


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    sys.meta_path.insert(0, _NoPandas())
    if begin:
        begin(*arguments)


def _read(slot: Path, task: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    with open(slot, "rb") as handle:
        return task(handle, *arguments, **named)


def _died() -> OpenMofiError:
    return OpenMofiError(
        "A process that reads the dump died (out of memory?).",
        "Start the command again: it goes on with what has not been read yet.",
    )
