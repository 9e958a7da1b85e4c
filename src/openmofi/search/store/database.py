"""The SQLite database of an index: the one source of truth. In WAL mode readers see the last commit, whoever writes."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from openmofi.encoders import Encoder
from openmofi.errors import OpenMofiError
from openmofi.search.records import Changes
from openmofi.storage import fingerprint
from openmofi.storage.atomic import write_error
from openmofi.storage.folder_lock import FolderLock

DATABASE = "index.db"
_VERSION = "2"
_WAIT = 30.0
"""Seconds to wait for a short transaction of another process, such as a verdict."""


def connect(folder: Path) -> sqlite3.Connection:
    """Open the database of an index; each thread needs its own connection.

    Raises:
        OpenMofiError: there is none, it is damaged, or of another version.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise OpenMofiError(f"{folder} is not an index: it has no {DATABASE}.",
                            "Build one with: openmofi index build IMAGES --encoder SPEC -o INDEX.")
    # WAL's shared memory has to be written by readers too; where that may not be, nobody can write either.
    mode = "mode=rw" if os.access(folder, os.W_OK) else "immutable=1"
    try:
        connection = _opened(f"{path.absolute().as_uri()}?{mode}")
        version = meta(connection).get("version", "")
    except sqlite3.DatabaseError as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.",
                            "If the file is damaged, remove the folder and build the index again.") from error
    if version != _VERSION:
        raise OpenMofiError(f"{folder} has index version {version or 'unknown'}, not {_VERSION}.",
                            "Build it again with this version of openmofi.")
    return connection


def create(folder: Path, values: Mapping[str, str]) -> None:
    """Make the database of a new index; it appears with all its tables or not at all.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    temporary = folder / f".{DATABASE}.new"
    try:
        for leftover in (temporary, temporary.with_name(f"{temporary.name}-wal"),
                         temporary.with_name(f"{temporary.name}-shm")):
            leftover.unlink(missing_ok=True)
        connection = _opened(temporary.absolute().as_uri())
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(files(__package__).joinpath("schema.sql").read_text("utf-8"))
        set_meta(connection, {**values, "version": _VERSION})
        connection.close()
        temporary.rename(folder / DATABASE)
    except sqlite3.OperationalError as error:
        raise OpenMofiError(f"{folder} cannot be written: {error}.", "Check the disk and the path.") from error
    except OSError as error:
        raise write_error(error, folder) from error


def _opened(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    # A commit is on the disk when it returns, so that what has been said to be kept is kept.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """All of a block's changes, or none.

    Raises:
        OpenMofiError: the disk is full, or another process holds the database for long.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise OpenMofiError(f"The index cannot be written: {error}.",
                            "What was committed before is kept; make room and start the command again.") from error


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """Reads within the block see one state, whatever is committed meanwhile; a block within another sees the same."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


@contextmanager
def only_writer(folder: Path) -> Generator[None]:
    """Be the only process that adds, removes or compacts; verdicts are written beside it.

    Raises:
        OpenMofiError: another process or thread is.
    """
    lock = FolderLock(folder)
    if not lock.acquire():
        raise OpenMofiError(f"{folder} is being written by {lock.holder() or 'another process'}.",
                            "Wait until it ends; searching is possible meanwhile.")
    try:
        lock.introduce()
        yield
    finally:
        lock.release()


def meta(connection: sqlite3.Connection) -> dict[str, str]:
    """Name → value of what holds for the whole index."""
    return dict(connection.execute("SELECT name, value FROM meta"))


def require_encoder(folder: Path, values: dict[str, str], encoder: Encoder) -> None:
    """Refuse an encoder that is not the index's.

    Raises:
        OpenMofiError: its fingerprint is another.
    """
    if encoder.fingerprint != values["fingerprint"]:
        raise OpenMofiError(f"{folder} was built with the encoder {values['encoder']!r} (fingerprint "
                            f"{values['fingerprint']}), not with {encoder.spec!r} ({encoder.fingerprint}): their "
                            "vectors cannot be compared.", "Use that encoder, or build another index.")


def set_meta(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """Set values that hold for the whole index."""
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def now() -> str:
    """The time, ISO, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def note_commit(connection: sqlite3.Connection, what: str, changes: Changes) -> None:
    """Let readers see, at the end of the transaction, that there is another state."""
    connection.execute("INSERT INTO commits (made, what, changes) VALUES (?, ?, ?)",
                       (now(), what, json.dumps(asdict(changes))))


def last_commit(connection: sqlite3.Connection) -> int:
    """Number of the last commit; 0 for none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM commits").fetchone()[0])


def content_of(connection: sqlite3.Connection) -> str:
    """Identifies what searches answer by: another one after every commit but those of maps."""
    row = connection.execute("SELECT id, made, what, changes FROM commits WHERE what != 'map' "
                             "ORDER BY id DESC LIMIT 1").fetchone()
    return fingerprint([meta(connection)["fingerprint"], row])


def in_chunks(values: Sequence[Any], size: int = 500) -> Iterable[Sequence[Any]]:
    """Parts that fit as parameters into a statement."""
    return (values[start:start + size] for start in range(0, len(values), size))


def marks(values: Sequence[Any]) -> str:
    """`?, ?, ?` for so many values."""
    return ", ".join("?" * len(values))
