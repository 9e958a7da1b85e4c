"""Claiming an output folder: one process writes it, with one set of settings, until its stage ends."""

import logging
import time
from collections.abc import Generator, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import (
    filesystem_of,
    local_path,
    names_in,
    require_local,
    require_writable,
    store_errors,
)
from openmofi.storage.atomic import exists, remove_leftovers, write_error
from openmofi.storage.locks import FolderLock, StoreLock
from openmofi.storage.manifest import (
    MANIFEST,
    Manifest,
    claim_as,
    is_hidden,
    new_manifest,
    read_manifest,
    require_same,
    write_manifest,
)

Place = Path | str
"""A local folder, resolved, or the address of one in a store of objects."""
_log = logging.getLogger(__name__)
_held: ContextVar[frozenset[Place]] = ContextVar("held", default=frozenset())


@dataclass(frozen=True)
class Outputs:
    """The files that a stage writes into its folder, as glob patterns relative to it.

    Attributes:
        decided: what depends on the stage's settings. While there is none, another claim may have other settings.
        other: what does not, such as tables that are kept under a key of what made them.
    """

    decided: tuple[str, ...]
    other: tuple[str, ...] = ()

    def any_decided(self, folder: Place) -> bool:
        """Whether there is a file that depends on the settings."""
        return any(True for pattern in self.decided for _ in _matching(folder, pattern))

    def files(self, folder: Place) -> Iterator[Place]:
        """Yield all files that the stage wrote."""
        for pattern in (*self.decided, *self.other):
            yield from _matching(folder, pattern)


def _matching(folder: Place, pattern: str) -> Iterator[Place]:
    if isinstance(folder, Path):
        yield from (path for path in folder.glob(pattern) if path.is_file() or path.is_symlink())
        return
    filesystem, root = filesystem_of(folder)
    with store_errors(folder):
        yield from (f"{folder}{name[len(root) :]}" for name in filesystem.glob(f"{root}/{pattern}"))


@contextmanager
def claimed(
    folder: str | Path,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
    *,
    outputs: Outputs,
    restart: bool = False,
    stores: bool = False,
) -> Generator[Manifest]:
    """Claim `folder`: only this process writes it for as long as the block runs.

    Another process or thread that claims the folder meanwhile waits if its settings and inputs are the same, and is
    refused if they are not. A block inside another one on the same folder, in the same thread, is part of it. Worker
    processes write under the claim of the process that started them. A process that dies gives its claim back.

    A block that ends with an error before anything was written leaves no claim behind; and while nothing was written
    that depends on the settings, the next claim may have others.

    Args:
        folder: a local folder; with `stores` it may lie in a store of objects.
        kind, settings, inputs: see `Manifest`.
        outputs: what the stage writes.
        restart: remove what the stage wrote there before, and begin anew. Other files stay.
        stores: whether the stage can write into a store of objects.

    Yields:
        The manifest; `finished` says whether the stage has already run to its end.

    Raises:
        UsageError: `folder` is not local, and the stage or the store takes no other; its name is not UTF-8.
        OpenMofiError: it was made, or is being made, with other settings or inputs; it is not empty and not ours; it
            cannot be written; `restart` while another process writes it.
    """
    path, wanted = _claimed_place(folder, stores=stores), new_manifest(kind, settings, inputs)
    # The manifest holds copies; of many inputs they are large.
    del settings, inputs
    if path in _held.get():
        yield claim_as(path, wanted, anew=not outputs.any_decided(path))
        return
    lock = FolderLock(path) if isinstance(path, Path) else StoreLock(path)
    try:
        _acquire(lock, folder, wanted, restart=restart)
    except OpenMofiError:
        lock.release()
        # What is finished can be used where nothing can be written.
        if restart or (finished := _finished(path, wanted)) is None:
            raise
        yield finished
        return
    outer = _held.set(_held.get() | {path})
    try:
        if restart:
            _remove(path, kind, outputs)
        manifest = claim_as(path, wanted, anew=not outputs.any_decided(path))
        del wanted
        lock.introduce()
        try:
            yield manifest
            lock.require_held()
        except BaseException:
            _withdraw(path)
            raise
    finally:
        _held.reset(outer)
        lock.release()


@contextmanager
def written_together(folder: str | Path) -> Generator[None]:
    """Hold a local folder's lock while files are written there that belong together; waits for whoever has it.

    Raises:
        UsageError, OpenMofiError: as `claimed`.
    """
    require_local(folder)
    lock = FolderLock(local_path(folder).resolve())
    try:
        while not lock.acquire():
            time.sleep(lock.wait_seconds)
        yield
    finally:
        lock.release()


def _claimed_place(folder: str | Path, *, stores: bool) -> Place:
    if not stores:
        require_local(folder)
    return str(folder).rstrip("/") if require_writable(folder) else local_path(folder).resolve()


def _acquire(lock: FolderLock | StoreLock, folder: str | Path, wanted: Manifest, *, restart: bool) -> None:
    """Take the lock, or wait for a process that does the same.

    Raises:
        OpenMofiError: the process that has it does something else.
    """
    waiting = False
    while not lock.acquire():
        # It introduces itself once its manifest is there.
        if holder := lock.holder():
            if restart:
                raise OpenMofiError(
                    f"{folder} is being written by {holder}.", "Wait for it or stop it before you begin anew."
                )
            if exists(f"{folder}/{MANIFEST}"):
                require_same(folder, read_manifest(folder, wanted.kind), wanted, holder)
            if not waiting:
                _log.warning("%s is being written by %s. Waiting for it.", folder, holder)
                waiting = True
        time.sleep(lock.wait_seconds)


def _finished(folder: Place, wanted: Manifest) -> Manifest | None:
    with suppress(OpenMofiError):
        existing = read_manifest(folder, wanted.kind)
        if existing.finished and (existing.settings, existing.inputs) == (wanted.settings, wanted.inputs):
            return existing
    return None


def _remove(folder: Place, kind: str, outputs: Outputs) -> None:
    """Remove what a stage wrote, if it has a manifest there."""
    if not exists(f"{folder}/{MANIFEST}"):
        return
    # Were this process killed amid it, what is left would not count as finished.
    manifest = replace(read_manifest(folder, kind), finished=False, counts={})
    write_manifest(folder, manifest)
    written = list(outputs.files(folder))
    try:
        for path in written:
            _unlink(path)
    except OSError as error:
        raise write_error(error, folder) from error
    remove_leftovers(folder)
    _remove_empty(
        {
            parent
            for path in written
            if isinstance(path, Path) and isinstance(folder, Path)
            for parent in path.parents
            if parent.is_relative_to(folder)
        }
        - {folder}
    )


def _unlink(path: Place) -> None:
    if isinstance(path, Path):
        path.unlink(missing_ok=True)
        return
    filesystem, name = filesystem_of(path)
    with store_errors(path), suppress(FileNotFoundError):
        filesystem.rm_file(name)


def _withdraw(folder: Place) -> None:
    """Give up a claim under which nothing was written."""
    with suppress(OSError, OpenMofiError):
        if not isinstance(folder, Path):
            if (
                all(name == MANIFEST or is_hidden(name) for name in names_in(folder))
                and not read_manifest(folder).finished
            ):
                _unlink(f"{folder}/{MANIFEST}")
            return
        inside = [
            path
            for entry in folder.iterdir()
            if entry.name != MANIFEST and not is_hidden(entry.name)
            for path in (entry, *entry.rglob("*"))
        ]
        if all(path.is_dir() for path in inside) and not read_manifest(folder).finished:
            (folder / MANIFEST).unlink()
            _remove_empty(set(inside))


def _remove_empty(folders: Set[Path]) -> None:
    for folder in sorted(folders, reverse=True):  # what is inside comes before what it is in
        with suppress(OSError):
            folder.rmdir()
