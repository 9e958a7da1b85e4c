"""An index whose address is in a store: read from a copy on this machine, and built on this machine, then published.

SQLite wants a local disk, and vectors are mapped from one. A copy is named by its address and content, so that a newer
state is another copy; the ten that were opened last, and those that are open, are kept in the user's cache
(`$OPENMOFI_HOME/indexes`).

A folder there is made and renamed under a lock of its address: one for copies, and one that is held as long as one is
built. What is removed is renamed first, so that a folder that is marked as a copy is whole.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError
from openmofi.plugins.sharing.fetch import fetch_published
from openmofi.plugins.sharing.indexes import INDEX, checked, is_index, publish_index, published_at
from openmofi.search.store.sqlite import COPY_OF
from openmofi.storage import fingerprint, remove_leftovers, write_error, write_text
from openmofi.storage.atomic import temporary_folder
from openmofi.storage.claims import written_together
from openmofi.storage.copies import cache_folder
from openmofi.storage.locks import NO_LOCKS, holder_of

_log = logging.getLogger(__name__)
_KEPT, _WORK = 10, "work-"


def copy_of_index(address: str, *, addresses: bool = False, progress: Progress | None = None) -> Path:
    """Return a copy on this machine of the index that was published at an address; it can only be read.

    Args:
        address: in a store of objects.
        addresses: take it where its images or labels lie at addresses outside of the bucket of `address`, too.
        progress: receives the blocks of the download.

    Raises:
        UsageError: its images or labels lie at such addresses, and these are not taken.
        OpenMofiError: nothing is published there, or as `fetch_index`.
    """
    if (published := published_at(address)) is None:
        raise OpenMofiError(
            f"{address} is not an index: it has no {INDEX.description}.",
            "Publish one there: openmofi index publish INDEX -o ADDRESS, or openmofi index build IMAGES -o ADDRESS.",
        )
    folder = _folder(address, published.fingerprint)
    if not (folder / COPY_OF).exists():
        with written_together(_lock(address, "copy")):
            if not (folder / COPY_OF).exists():
                _fetch(address, folder, addresses, progress or Quiet())
    with suppress(OSError):
        os.utime(folder / COPY_OF)
    return folder


@contextmanager
def index_in_store(address: str, given: Any, progress: Progress) -> Generator[Path]:
    """Yield a folder for the index at an address, and publish it there at the end of the block.

    What is published there is in the folder at first. After an error or a kill the next call that is given the same
    goes on in the same folder, unless another process has published since.

    Args:
        address: in a store of objects.
        given: what the index is built of, as `fingerprint` takes it.
        progress: receives the blocks of a download, and the files that are published.

    Raises:
        OpenMofiError: another process has published meanwhile, or as `copy_of_index` and `publish_index`.
    """
    if holder_of(_lock(address, "build")):
        _log.warning("%s is being built by another process on this machine. Waiting for it.", address)
    with written_together(_lock(address, "build")):
        published = published_at(address)
        before = published.fingerprint if published else ""
        folder = _folder(address, [before, given], _WORK)
        try:
            remove_leftovers(folder.parent)
            if before and not folder.exists():
                copy = copy_of_index(address, addresses=True, progress=progress)
                with temporary_folder(folder.parent) as temporary:
                    made = shutil.copytree(copy, temporary / "index", ignore=shutil.ignore_patterns(COPY_OF))
                    made.rename(folder)
        except OSError as error:
            raise write_error(error, folder) from error
        yield folder
        try:
            content = publish_index(folder, address, replaces=before, progress=progress).fingerprint
        except OpenMofiError:
            now = published_at(address)
            if (now.fingerprint if now else "") != before:
                _remove(folder)
            raise
        copy = _folder(address, content)
        with written_together(_lock(address, "copy")):
            if not (copy / COPY_OF).exists():
                _remove(copy)
                folder.rename(copy)
                _close(copy, address)
        for old in copy.parent.glob(f"{_WORK}{copy.name.partition('-')[0]}-*"):
            _remove(old)


def _fetch(address: str, folder: Path, addresses: bool, progress: Progress) -> None:
    _log.warning("%s is copied to %s.", address, folder)
    parts = 5 if address.startswith("hf://") else 3  # hf://datasets/OWNER/NAME: there is one bucket for all
    within = "/".join(address.split("/")[:parts]) + "/"
    # Not marked: not known to be whole.
    _remove(folder)
    fetch_published(address, folder, INDEX, is_index, partial(checked, addresses=addresses, within=within), progress)
    _close(folder, address)


def _folder(address: str, content: Any, prefix: str = "") -> Path:
    # The content's name is a stranger's text.
    return _home() / f"{prefix}{fingerprint([address.rstrip('/')])}-{fingerprint([content])}"


def _lock(address: str, kind: str) -> Path:
    return _home() / f".{kind}-{fingerprint([address.rstrip('/')])}"


def _home() -> Path:
    return cache_folder() / "indexes"


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError), temporary_folder(folder.parent) as temporary:
        folder.rename(temporary / "old")


def _close(folder: Path, address: str) -> None:
    """Mark a folder as a copy, which is only read, and remove those of other copies that were opened longest ago, but
    none that is open.
    """
    write_text(folder / COPY_OF, address)
    copies = [path / COPY_OF for path in folder.parent.iterdir() if (path / COPY_OF).exists()]
    for old in sorted(copies, key=lambda mark: mark.stat().st_mtime)[:-_KEPT]:
        # Another process removes it too, or has it open. NFS locks exclusively only what is open for writing.
        with suppress(OSError), old.open("r+b") as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            _remove(old.parent)
