"""The SQLite database of an index in a folder. In WAL mode readers see the last commit, whoever writes."""

import fcntl
import os
import sqlite3
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.search.store.connection import NAMES, named_so
from openmofi.search.store.vectors import VectorFiles
from openmofi.storage.atomic import write_error
from openmofi.storage.locks import FolderLock

DATABASE = "index.db"
COPY_OF = ".copy_of"
"""File of a folder that is a copy of a published index, and is only read: holds its address; see `keep_copy`."""
_WAIT = 30.0
"""Seconds to wait for a short transaction of another process, such as a verdict."""
_PARTS = {"database": "index.db*", "vectors": "vectors/*", "thumbnails": "thumbnails.db*", "cache": "cache/*"}


class SQLite(sqlite3.Connection):
    """See `openmofi.search.store.connection.Connection`.

    Attributes:
        place: the folder.
    """

    place: Path
    _stamp: tuple[tuple[int, int, int] | None, ...] = ()
    column_names = "SELECT DISTINCT json_each.key FROM images, json_each(images.columns) ORDER BY 1"

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As SQLite's own; a full disk is an `OpenMofiError`."""
        return self._done(super().execute, sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """See `execute`."""
        return self._done(super().executemany, sql, parameters)

    def _done(self, execute: Callable[[str, Any], sqlite3.Cursor], sql: str, parameters: Any) -> sqlite3.Cursor:
        try:
            return execute(sql, parameters)
        except sqlite3.OperationalError as error:
            # WAL's shared memory takes 32 KB of the disk, also of those who only read.
            if getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE):
                raise
            raise OpenMofiError(
                f"The disk is full, so that {self.place} can be neither written nor opened.",
                "Make room and start the command again; what was committed before is kept.",
            ) from error

    @property
    def outdated(self) -> bool:
        """See `Connection.outdated`: whether the files have changed that are read without locks."""
        return bool(self._stamp) and self._stamp != _stamp_of(self.place / DATABASE)

    def vectors(self) -> VectorFiles:
        """See `Connection.vectors`."""
        return VectorFiles(self.place)

    def begin(self, *, write: bool) -> None:
        """See `Connection.begin`."""
        if write:
            _refuse_copy(self.place)
        self.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def roll_back(self) -> None:
        """See `Connection.roll_back`."""
        if self.in_transaction:
            self.execute("ROLLBACK")

    def only_read(self) -> None:
        """See `Connection.only_read`, and https://sqlite.org/pragma.html#pragma_query_only."""
        self.execute("PRAGMA query_only = ON")

    def column(self, name: str) -> str:
        """See `Connection.column`."""
        return f"json_extract(images.columns, '$.' || json_quote(:{name}))"

    def keep_texts(self, texts: Sequence[tuple[int, str]]) -> None:
        """See `Connection.keep_texts`."""
        self.drop_texts([image for image, _ in texts])
        self.executemany("INSERT INTO texts_fts (rowid, text) VALUES (?, ?)", [each for each in texts if each[1]])

    def drop_texts(self, images: Sequence[int]) -> None:
        """See `Connection.drop_texts`."""
        self.executemany("DELETE FROM texts_fts WHERE rowid = ?", [(image,) for image in images])

    def keep_names(self, names: Sequence[tuple[int, str, str]]) -> None:
        """See `Connection.keep_names`."""
        self.execute("INSERT INTO names_fts (names_fts) VALUES ('delete-all')")
        self.executemany("INSERT INTO names_fts (rowid, name, aliases) VALUES (?, ?, ?)", names)

    def texts_with(self, words: Sequence[str], operator: str, limit: int) -> list[int]:
        """See `Connection.texts_with`; by BM25."""
        statement = "SELECT rowid FROM texts_fts WHERE texts_fts MATCH ? ORDER BY rank, rowid LIMIT ?"
        return [image for (image,) in self.execute(statement, (match_of(words, operator), limit))]

    def entities_named(self, words: Sequence[str], prefix: bool, name: str, limit: int) -> list[str]:
        """See `Connection.entities_named`."""
        rows = self.execute(
            "SELECT entities.id, bm25(names_fts, 4.0, 1.0) AS score, "
            "(SELECT count(*) FROM labels WHERE labels.entity = entities.id AND accepted = 1) AS images "
            "FROM names_fts JOIN entities ON entities.number = names_fts.rowid WHERE names_fts MATCH :words "
            f"ORDER BY {named_so(prefix)}, images DESC, popularity DESC, score, entities.id LIMIT :most",
            {"words": match_of(words, "AND", prefix=prefix), "name": name, "most": limit},
        )
        return [entity for entity, *_ in rows]

    def names_with(self, words: Sequence[str], alias: str) -> sqlite3.Cursor:
        """See `Connection.names_with`."""
        statement = NAMES.format(named="SELECT rowid AS number FROM names_fts WHERE names_fts MATCH :words")
        return self.execute(statement, {"words": match_of(words, "AND"), "alias": alias})

    def problem(self) -> str:
        """See `Connection.problem`."""
        problems = [row[0] for row in self.execute("PRAGMA integrity_check")]
        return "" if problems == ["ok"] else "; ".join(problems[:3])

    def sizes(self) -> dict[str, int]:
        """See `Connection.sizes`."""
        return {part: sum(path.stat().st_size for path in self.place.glob(pattern)) for part, pattern in _PARTS.items()}


def match_of(words: Sequence[str], operator: str, *, prefix: bool = False) -> str:
    """An FTS5 expression of quoted words; with `prefix` the last one may go on."""
    quoted = [f'"{word}"' for word in words]
    if prefix and quoted:
        quoted[-1] += "*"
    return f" {operator} ".join(quoted)


_DENIED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


def connect(folder: Path) -> SQLite:
    """Open the database of an index.

    Raises:
        OpenMofiError: there is none, it is damaged, or the disk is full.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise OpenMofiError(
            f"{folder} is not an index: it has no {DATABASE}.",
            "Build one with: openmofi index build IMAGES --encoder SPEC -o INDEX.",
        )
    try:
        connection = open_existing(path)
        connection.execute("SELECT 1 FROM meta LIMIT 1")
    except sqlite3.DatabaseError as error:
        damaged = "If the file is damaged, remove the folder and build the index again."
        denied = f"Check that this user may read {folder}; nothing says that it is damaged."
        hint = denied if error.sqlite_errorcode & 0xFF in _DENIED else damaged
        raise OpenMofiError(f"{path} cannot be read: {error}.", hint) from error
    return connection


def keep_copy(folder: Path, owner: object) -> None:
    """Keep a folder that is a copy from being removed by other processes, as long as its owner lives."""
    with suppress(OSError):  # it is no copy, or the file system has no locks
        descriptor = os.open(folder / COPY_OF, os.O_RDONLY)
        weakref.finalize(owner, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def copied_from(folder: Path) -> str:
    """Return the address that a folder is a copy of; empty for an index of one's own."""
    mark = folder / COPY_OF
    return mark.read_text() if mark.exists() else ""


def _refuse_copy(folder: Path) -> None:
    if address := copied_from(folder):
        raise OpenMofiError(
            f"{address} is read from a copy, which cannot be changed.",
            "Build it again with -o ADDRESS, or fetch it (openmofi index fetch), change that, and publish it. A copy "
            "that is damaged is fetched again where you remove `indexes` in $OPENMOFI_HOME (~/.cache/openmofi).",
        )


def open_existing(path: Path) -> SQLite:
    """Connect to a database file that exists, for reading only where its folder cannot be written.

    A reader in WAL mode shares memory with writers by the file `-shm`. In a read-only folder it can use the one that is
    there but not make one. Without it, nobody is writing at the moment (a writer keeps the file), so the log (`-wal`)
    is read without locks and indexed in this process: https://sqlite.org/wal.html#noshm. `immutable=1` would pass the
    log over, and with it every commit since the last checkpoint, so it is used only where there is no log.

    Raises:
        sqlite3.DatabaseError: it cannot be read.
    """
    uri = path.absolute().as_uri()
    if os.access(path.parent, os.W_OK) and not copied_from(path.parent):
        return opened(f"{uri}?mode=rw", path.parent)
    try:
        return opened(f"{uri}?mode=ro", path.parent)
    except sqlite3.OperationalError as error:
        # The first where the disk is read-only, the second where the folder is another user's.
        if error.sqlite_errorcode not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DIRECTORY):
            raise
    stamp = _stamp_of(path)
    logged = stamp[1] is not None and stamp[1][1] > 0
    connection = opened(f"{uri}?{'mode=ro&vfs=unix-none' if logged else 'immutable=1'}", path.parent, shared=False)
    connection._stamp = stamp
    return connection


def _stamp_of(path: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Inode, size and time of a database file and of its log; `None` where there is none."""
    stamps: list[tuple[int, int, int] | None] = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = each.stat()
            stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            stamps.append(None)
    return tuple(stamps)


def create(folder: Path, values: Mapping[str, str]) -> None:
    """Make the database of a new index; it appears with all its tables or not at all.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    temporary = folder / f".{DATABASE}.new"
    try:
        for suffix in ("", "-wal", "-shm"):
            temporary.with_name(f"{temporary.name}{suffix}").unlink(missing_ok=True)
        connection = opened(temporary.absolute().as_uri(), folder)
        connection.execute("PRAGMA journal_mode = WAL")
        for name in ("schema.sql", "schema_sqlite.sql"):
            connection.executescript(files(__package__).joinpath(name).read_text("utf-8"))
        connection.executemany("INSERT INTO meta VALUES (?, ?)", list(values.items()))
        connection.close()
        temporary.rename(folder / DATABASE)
    except sqlite3.OperationalError as error:
        raise OpenMofiError(f"{folder} cannot be written: {error}.", "Check the disk and the path.") from error
    except OSError as error:
        raise write_error(error, folder) from error


def opened(uri: str, folder: Path, *, shared: bool = True) -> SQLite:
    """A connection to a file; one that is not `shared` uses no shared memory."""
    connection = sqlite3.connect(
        uri, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False, factory=SQLite
    )
    connection.place = folder
    if not shared:  # before the first statement that reads
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA foreign_keys = ON")
    # A commit is on the disk when it returns, so that what has been said to be kept is kept. The pragma reads the file:
    # one that cannot be read fails here.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Lock the index for its only writer.

    Raises:
        OpenMofiError: another process or thread is.
    """
    _refuse_copy(folder)
    lock = FolderLock(folder)
    if not lock.acquire():
        raise OpenMofiError(
            f"{folder} is being written by {lock.holder() or 'another process'}.",
            "Wait until it ends; searching is possible meanwhile.",
        )
    try:
        lock.introduce()
        yield
    finally:
        lock.release()
