"""Blocks of a stream for processes that parse them: one process unpacks, the others read.

The bytes travel by files that are written again and again, and so stay in the page cache: pickling them would cost half
as much as parsing, and shared memory is 64 MB in a container and outlives who is killed.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Concatenate, ParamSpec

from openmofi.errors import OpenMofiError
from openmofi.storage.atomic import remove_folder, write_error

_FOLDER = "lines-"
Given = ParamSpec("Given")
Done = Callable[[Any], object]
"""Receives what a task returned; of several tasks in the order in which they end."""


class Slots:
    """Workers, and files by which bytes get to them; one is free again when the task that reads it is done."""

    def __init__(self, executor: ProcessPoolExecutor, slots: list[Path]) -> None:
        self._executor, self._free = executor, slots
        self._running: dict[Future[Any], tuple[Path, Done]] = {}

    def run(
        self,
        done: Done,
        data: Iterable[bytes],
        task: Callable[Concatenate[IO[bytes], Given], Any],
        *arguments: Given.args,
        **named: Given.kwargs,
    ) -> None:
        """Have a task read these bytes; what it returns is `done`. Waits while all slots are in use."""
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
                found = future.result()
            except BrokenProcessPool as error:
                raise _died() from error
            slot, receive = self._running.pop(future)
            self._free.append(slot)
            receive(found)


class Here(Slots):
    """Runs tasks in this process, one after another: for what is not worth a worker's start."""

    def __init__(self) -> None:
        pass

    def run(
        self,
        done: Done,
        data: Iterable[bytes],
        task: Callable[Concatenate[IO[bytes], Given], Any],
        *arguments: Given.args,
        **named: Given.kwargs,
    ) -> None:
        """See `Slots`."""
        done(task(io.BytesIO(b"".join(data)), *arguments, **named))

    def finish(self) -> None:
        """See `Slots`."""


@contextmanager
def slots(
    folder: Path, workers: int, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[Slots]:
    """Workers that read what is handed over.

    Args:
        folder: gets the files, while they are needed; leftovers of a run that was killed are removed.
        workers: how many processes.
        begin, arguments: called in each worker at first.
    """
    for left in folder.glob(f"{_FOLDER}*"):
        remove_folder(left)
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (begin, arguments))
    with TemporaryDirectory(prefix=_FOLDER, dir=folder) as own:
        try:
            yield Slots(executor, [Path(own) / str(number) for number in range(workers + 1)])
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


class _NoPandas(MetaPathFinder):
    """Arrow imports pandas, 50 MiB, to ask whether a list is one of its series: to a worker it is not installed."""

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
