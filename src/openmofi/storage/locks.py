"""Locks between processes, so that one of several does the work."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from openmofi.storage.atomic import write_error


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
