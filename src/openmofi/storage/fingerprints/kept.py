"""Fingerprints of files and folders, kept in the user's cache: what has not changed is not read for them again.

Every byte counts, which is one pass over a file. It is made once, and again when device, inode, size or times change;
of an object in a store, when size or tag do.
"""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import (
    Version,
    filesystem_of,
    is_folder,
    is_remote,
    is_utf8,
    local_path,
    store_errors,
    version_of,
)
from openmofi.storage.copies import cache_folder
from openmofi.storage.fingerprints.fingerprint import content_fingerprint, files_below, fingerprint

_SMALL = 1 << 20
_SETTLED_SECONDS = 2.0


def known_fingerprints(versions: Mapping[str, Version]) -> dict[str, str]:
    """Address → fingerprint, of what has still the version that it was taken of."""
    known: dict[str, str] = {}
    asked = [(address, version) for address, version in versions.items() if _is_kept(address, version)]
    if not asked:
        return known
    with suppress(sqlite3.Error, OSError), _opened() as table:
        for address, version in asked:
            if row := table.execute(
                "SELECT fingerprint FROM taken WHERE address = ? AND size = ? AND tag = ?",
                (_kept_as(address), version.size, version.tag),
            ).fetchone():
                known[address] = str(row[0])
    return known


def keep_fingerprints(versions: Mapping[str, Version], taken: Mapping[str, str]) -> None:
    """Keep fingerprints for `known_fingerprints`, but of files that have changed while they were read; where the cache
    cannot be written they are taken again.
    """
    rows = [
        (_kept_as(address), version.size, version.tag, taken[address])
        for address, version in versions.items()
        if address in taken
        and _is_kept(address, version)
        and (is_remote(address) or version_of_path(address) == version)
    ]
    if not rows:
        return
    with suppress(sqlite3.Error, OSError), _opened() as table, table:
        table.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?)", rows)


def _is_kept(address: str, version: Version) -> bool:
    """Whether it is worth it: what is small and here is read again, which takes no longer."""
    return bool(version.tag) and is_utf8(address) and (is_remote(address) or version.size > _SMALL)


def version_of_path(path: str | Path) -> Version | None:
    """The version of a file or folder as it is now; `None` where it has none, or cannot be looked at.

    In a store it is what the store says of its objects. Here the tag is where it is and when it was changed. What was
    changed just now may be changed again within the same tick of the file system's clock, and so has none.
    """
    try:
        filesystem, root = filesystem_of(path)
        with store_errors(path):
            return (_stored_version if is_remote(path) else _local_version)(filesystem, root)
    except (OSError, ValueError, OpenMofiError):  # who reads it says what is wrong
        return None


def _stored_version(filesystem: Any, root: str) -> Version | None:
    if not is_folder(filesystem, root):
        return version_of(filesystem.info(root))
    versions = [(inner, version_of(info)) for inner, _, info in files_below(filesystem, root)]
    return (
        Version(sum(version.size for _, version in versions), fingerprint(versions))
        if versions and all(version.tag for _, version in versions)
        else None
    )


def _local_version(filesystem: Any, root: str) -> Version:
    entries = [("", Path(root).stat())]
    if stat.S_ISDIR(entries[0][1].st_mode):
        entries = [(inner, Path(name).stat()) for inner, name, _ in files_below(filesystem, root)]
    newest = max((max(entry.st_ctime, entry.st_mtime) for _, entry in entries), default=0.0)
    return Version(
        sum(entry.st_size for _, entry in entries),
        fingerprint(
            [
                [inner, entry.st_dev, entry.st_ino, entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns]
                for inner, entry in entries
            ]
        )
        if time.time() - newest > _SETTLED_SECONDS
        else "",
    )


def file_fingerprint(path: str | Path) -> str:
    """16 hexadecimal digits for a file or folder; another content has others. See `content_fingerprint`.

    It is read once, and again where its version has changed.

    Raises:
        OpenMofiError: it cannot be read.
    """
    version = version_of_path(path)
    versions = {str(path): version} if version else {}
    if known := known_fingerprints(versions):
        return known[str(path)]
    value = content_fingerprint(path)
    keep_fingerprints(versions, {str(path): value})
    return value


def _kept_as(address: str) -> str:
    return address if is_remote(address) else str(local_path(address).absolute())


@contextmanager
def _opened() -> Generator[sqlite3.Connection]:
    path: Path = cache_folder() / "fingerprints.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=30)) as table:
        table.execute(
            "CREATE TABLE IF NOT EXISTS taken (address TEXT PRIMARY KEY, size INT, tag TEXT, fingerprint TEXT)"
        )
        yield table
