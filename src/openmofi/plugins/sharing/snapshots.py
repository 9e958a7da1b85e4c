"""An index whose address is in a store: read from a copy on this machine, and built on this machine, then published.

SQLite wants a local disk, and vectors are mapped from one. A copy is named by its address and content, so that a newer
state is another copy; the ten that were made last are kept in the user's cache (`$OPENMOFI_HOME/indexes`).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError
from openmofi.plugins.sharing.fetch import fetch_published
from openmofi.plugins.sharing.indexes import INDEX, PublishedIndex, checked, is_index, publish_index
from openmofi.plugins.sharing.sources import read_blocks
from openmofi.search.store.sqlite import COPY_OF
from openmofi.storage import exists, fingerprint, remove_leftovers, write_error, write_text
from openmofi.storage.atomic import temporary_folder
from openmofi.storage.copies import cache_folder

_log = logging.getLogger(__name__)
_KEPT, _WORK = 10, "work-"
_MOST_BYTES = 1 << 24


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
    if (published := _published(address)) is None:
        raise OpenMofiError(
            f"{address} is not an index: it has no {INDEX.description}.",
            "Publish one there: openmofi index publish INDEX -o ADDRESS, or openmofi index build IMAGES -o ADDRESS.",
        )
    folder = _folder(address, published)
    if not (folder / COPY_OF).exists():
        _log.warning("%s is copied to %s.", address, folder)
        check = partial(checked, addresses=addresses, within="/".join(address.split("/")[:3]) + "/")
        folder.parent.mkdir(parents=True, exist_ok=True)
        fetch_published(address, folder, INDEX, is_index, check, progress or Quiet())
        _close(folder, address)
    return folder


@contextmanager
def index_in_store(address: str, progress: Progress) -> Generator[Path]:
    """Yield a folder for the index at an address, and publish it there at the end of the block.

    What is published there is in the folder at first. After an error or a kill the next call goes on in the same
    folder, unless another process has published since.

    Raises:
        OpenMofiError: another process has published meanwhile, or as `copy_of_index` and `publish_index`.
    """
    before = _published(address)
    folder = _folder(address, before, _WORK)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent)
        if before and not folder.exists():
            copy = copy_of_index(address, addresses=True, progress=progress)
            with temporary_folder(folder.parent) as temporary:
                made = shutil.copytree(copy, temporary / "index", ignore=shutil.ignore_patterns(COPY_OF))
                made.rename(folder)
    except OSError as error:
        raise write_error(error, folder) from error
    yield folder
    if (now := _published(address)) != before:
        shutil.rmtree(folder, ignore_errors=True)
        raise OpenMofiError(
            f"{address} was {'published anew' if now else 'removed'} by another process meanwhile.",
            "Start the same command again: it begins with what is there now.",
        )
    copy = _folder(address, publish_index(folder, address, progress=progress))
    if not copy.exists():
        folder.rename(copy)
    _close(copy, address)
    for old in copy.parent.glob(f"{_WORK}{copy.name.partition('-')[0]}-*"):
        shutil.rmtree(old, ignore_errors=True)


def _folder(address: str, published: PublishedIndex | None, prefix: str = "") -> Path:
    content = published.fingerprint if published else ""  # a stranger's text
    return cache_folder() / "indexes" / f"{prefix}{fingerprint([address.rstrip('/')])}-{fingerprint([content])}"


def _published(address: str) -> PublishedIndex | None:
    """Return the description of what is published at an address; `None` where nothing is."""
    described = f"{address.rstrip('/')}/{INDEX.description}"
    try:
        if not exists(described):
            return None
    except OSError as error:
        raise OpenMofiError(f"{described} cannot be read: {error}.", "Check address and credentials.") from error
    return INDEX.parse(b"".join(read_blocks(described, 0, _MOST_BYTES, "Check the address.")), described)


def _close(folder: Path, address: str) -> None:
    """Mark a folder as a copy, which is only read, and remove the oldest of other copies."""
    write_text(folder / COPY_OF, address)
    copies = [path for path in folder.parent.iterdir() if (path / COPY_OF).exists()]
    for old in sorted(copies, key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        with suppress(OSError):
            shutil.rmtree(old)
