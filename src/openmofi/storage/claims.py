"""Claiming an output folder: one process writes it, with one set of settings, until its stage ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import local_path, require_local
from openmofi.storage.atomic import exists, remove_leftovers, write_error
from openmofi.storage.folder_lock import FolderLock
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

_WAIT_SECONDS = 0.1
_log = logging.getLogger(__name__)
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@dataclass(frozen=True)
class Outputs:
    """The files that a stage writes into its folder, as glob patterns relative to it.

    Attributes:
        decided: what depends on the stage's settings. While there is none, another claim may have other settings.
        other: what does not, such as tables that are kept under a key of what made them.
    """

    decided: tuple[str, ...]
    other: tuple[str, ...] = ()

    def any_decided(self, folder: Path) -> bool:
        """Whether there is a file that depends on the settings."""
        return any(path.is_file() for pattern in self.decided for path in folder.glob(pattern))

    def files(self, folder: Path) -> Iterator[Path]:
        """All files that the stage wrote."""
        for pattern in (*self.decided, *self.other):
            yield from (path for path in folder.glob(pattern) if path.is_file() or path.is_symlink())


@contextmanager
def claimed(folder: str | Path, kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str] | None = None, *,
            outputs: Outputs, restart: bool = False) -> Generator[Manifest]:
    """Be the only one who writes `folder`, for as long as the block runs.

    Another process or thread that claims the folder meanwhile waits if its settings and inputs are the same, and is
    refused if they are not. A block inside another one on the same folder, in the same thread, is part of it. Worker
    processes write under the claim of the process that started them. A process that dies gives its claim back.

    A block that ends with an error before anything was written leaves no claim behind; and while nothing was written
    that depends on the settings, the next claim may have others.

    Args:
        folder: a local folder.
        kind, settings, inputs: see `Manifest`.
        outputs: what the stage writes.
        restart: remove what the stage wrote there before, and begin anew. Other files stay.

    Yields:
        The manifest; `finished` says whether the stage has already run to its end.

    Raises:
        UsageError: `folder` is not local, or its name is not UTF-8.
        OpenMofiError: it was made, or is being made, with other settings or inputs; it is not empty and not ours; it
            cannot be written; `restart` while another process writes it.
    """
    require_local(folder)
    path, wanted = local_path(folder).resolve(), new_manifest(kind, settings, inputs)
    if path in _held.get():
        yield claim_as(path, wanted, anew=not outputs.any_decided(path))
        return
    lock = FolderLock(path)
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
        lock.introduce()
        try:
            yield manifest
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
            time.sleep(_WAIT_SECONDS)
        yield
    finally:
        lock.release()


def _acquire(lock: FolderLock, folder: str | Path, wanted: Manifest, *, restart: bool) -> None:
    """Take the lock, or wait for a process that does the same.

    Raises:
        OpenMofiError: the process that has it does something else.
    """
    waiting = False
    while not lock.acquire():
        # It introduces itself once its manifest is there.
        if holder := lock.holder():
            if restart:
                raise OpenMofiError(f"{folder} is being written by {holder}.",
                                    "Wait for it or stop it before you begin anew.")
            if exists(f"{folder}/{MANIFEST}"):
                require_same(folder, read_manifest(folder, wanted.kind), wanted, holder)
            if not waiting:
                _log.warning("%s is being written by %s. Waiting for it.", folder, holder)
                waiting = True
        time.sleep(_WAIT_SECONDS)


def _finished(folder: Path, wanted: Manifest) -> Manifest | None:
    with suppress(OpenMofiError):
        existing = read_manifest(folder, wanted.kind)
        if existing.finished and (existing.settings, existing.inputs) == (wanted.settings, wanted.inputs):
            return existing
    return None


def _remove(folder: Path, kind: str, outputs: Outputs) -> None:
    """Remove what a stage wrote, if it has a manifest there."""
    if not (folder / MANIFEST).exists():
        return
    # Were this process killed amid it, what is left would not count as finished.
    manifest = replace(read_manifest(folder, kind), finished=False, counts={})
    write_manifest(folder, manifest)
    written = list(outputs.files(folder))
    try:
        for path in written:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, folder) from error
    remove_leftovers(folder)
    _remove_empty({parent for path in written for parent in path.parents if parent.is_relative_to(folder)} - {folder})


def _withdraw(folder: Path) -> None:
    """Give up a claim under which nothing was written."""
    with suppress(OSError, OpenMofiError):
        inside = [path for entry in folder.iterdir() if entry.name != MANIFEST and not is_hidden(entry.name)
                  for path in (entry, *entry.rglob("*"))]
        if all(path.is_dir() for path in inside) and not read_manifest(folder).finished:
            (folder / MANIFEST).unlink()
            _remove_empty(set(inside))


def _remove_empty(folders: Set[Path]) -> None:
    for folder in sorted(folders, reverse=True):  # what is inside comes before what it is in
        with suppress(OSError):
            folder.rmdir()
