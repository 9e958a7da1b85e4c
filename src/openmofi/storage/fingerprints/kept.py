"""Fingerprints of shards, kept in the user's cache, so that what has not changed is not read for them again."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from openmofi.storage.addresses import Version, is_remote, local_path
from openmofi.storage.copies import cache_folder


def known_fingerprints(versions: Mapping[str, Version]) -> dict[str, str]:
    """Address → fingerprint, of what has still the size and the tag that it was taken of."""
    known: dict[str, str] = {}
    if not versions:
        return known
    with suppress(sqlite3.Error, OSError), _opened() as table:
        for address, version in versions.items():
            if version.tag and (row := table.execute(
                    "SELECT fingerprint FROM taken WHERE address = ? AND size = ? AND tag = ?",
                    (_kept_as(address), version.size, version.tag)).fetchone()):
                known[address] = str(row[0])
    return known


def keep_fingerprints(versions: Mapping[str, Version], taken: Mapping[str, str]) -> None:
    """Keep fingerprints for `known_fingerprints`; where the cache cannot be written they are taken again."""
    rows = [(_kept_as(address), version.size, version.tag, taken[address]) for address, version in versions.items()
            if version.tag and address in taken]
    if not rows:
        return
    with suppress(sqlite3.Error, OSError), _opened() as table, table:
        table.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?)", rows)


def _kept_as(address: str) -> str:
    return address if is_remote(address) else str(local_path(address).absolute())


@contextmanager
def _opened() -> Generator[sqlite3.Connection]:
    path: Path = cache_folder() / "fingerprints.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=30)) as table:
        table.execute("CREATE TABLE IF NOT EXISTS taken (address TEXT PRIMARY KEY, size INT, tag TEXT, "
                      "fingerprint TEXT)")
        yield table
