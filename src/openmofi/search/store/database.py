"""The database of an index: the one source of truth, in SQLite or in a server."""

import json
import sqlite3
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from openmofi.encoders import Encoder
from openmofi.errors import OpenMofiError
from openmofi.search.records import Changes
from openmofi.search.store import sqlite
from openmofi.search.store.connection import Connection, Place, meta
from openmofi.search.store.sqlite import DATABASE
from openmofi.storage import fingerprint

VERSION = "2"
_MOST_VALUES = 500
_ADVICE = {
    sqlite3.SQLITE_READONLY: "allow writing to its folder, or write to a copy of it that may be written",
    sqlite3.SQLITE_BUSY: "another process is writing, so try again when it has finished",
}
"""SQLite's primary result codes → what to do."""


class OtherVersion(OpenMofiError):
    """The index is of another version than this one reads."""


def connect(address: Place, *, any_version: bool = False) -> Connection:
    """Open the database of an index; each thread needs its own connection.

    Raises:
        OtherVersion: it is of another version, unless `any_version` is set: its verdicts can be read all the same.
        OpenMofiError: there is none, or it is damaged; or the server cannot be reached.
    """
    connection = sqlite.connect(address) if isinstance(address, Path) else address.kind.connect(address)
    if not any_version:
        _require_version(connection)
    return connection


def address_of(address: Place) -> str:
    """Return the address of an index for people: of a copy that of what was copied."""
    return (isinstance(address, Path) and sqlite.copied_from(address)) or str(address)


@contextmanager
def only_writer(address: Place, new: Mapping[str, str] | None = None) -> Generator[Connection]:
    """A connection, while this is the only process that adds, removes or compacts; verdicts are written beside it.

    Args:
        address: of the index.
        new: what holds for the whole index, where it is to be made if there is none.

    Raises:
        OpenMofiError: another process or thread writes, or as `connect`.
    """
    values = None if new is None else {**new, "version": VERSION}
    if isinstance(address, Path):
        with sqlite.locked(address):
            if values is not None and not (address / DATABASE).exists():
                sqlite.create(address, values)
            with closing(connect(address)) as connection:
                yield connection
        return
    with address.kind.locked(address, values) as connection:
        _require_version(connection)
        yield connection


def _require_version(connection: Connection) -> None:
    version = meta(connection).get("version", "")
    if version != VERSION:
        connection.close()
        raise OtherVersion(
            f"{address_of(connection.place)} has index version {version or 'unknown'}, not {VERSION}.",
            "Keep its verdicts: openmofi index verdicts INDEX -o verdicts.parquet. Then build it again elsewhere, and "
            "take them in: openmofi index verdicts NEW --from verdicts.parquet.",
        )


@contextmanager
def transaction(connection: Connection) -> Generator[Connection]:
    """All of a block's changes, or none.

    Raises:
        OpenMofiError: the index or the disk is read-only or the disk is full, another process holds the database for
            long, or the server is gone.
    """
    try:
        connection.begin(write=True)
        yield connection
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        connection.roll_back()
        hint = _ADVICE.get(error.sqlite_errorcode & 0xFF, "check the disk and start the command again")
        raise OpenMofiError(
            f"The index cannot be written: {error}.", f"What was committed before is kept; {hint}."
        ) from error
    except BaseException:
        connection.roll_back()
        raise


@contextmanager
def snapshot(connection: Connection) -> Generator[None]:
    """Reads within the block see one state, whatever is committed meanwhile; a block within another sees the same."""
    if connection.in_transaction:
        yield
        return
    connection.begin(write=False)
    try:
        yield
    finally:
        connection.roll_back()


def require_encoder(address: Place, values: dict[str, str], encoder: Encoder) -> None:
    """Refuse an encoder that is not the index's.

    Raises:
        OpenMofiError: its fingerprint is another.
    """
    if encoder.fingerprint != values["fingerprint"]:
        raise OpenMofiError(
            f"{address_of(address)} was built with the encoder {values['encoder']!r} (fingerprint "
            f"{values['fingerprint']}), not with {encoder.spec!r} ({encoder.fingerprint}): their "
            "vectors cannot be compared.",
            "Use that encoder, or build another index.",
        )


def set_meta(connection: Connection, values: Mapping[str, str]) -> None:
    """Set values that hold for the whole index."""
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", list(values.items())
    )


def now() -> str:
    """Return the time in UTC, in ISO format."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def note_commit(connection: Connection, what: str, changes: Changes) -> None:
    """Let readers see, at the end of the transaction, that there is another state.

    Two indexes may be written in the same second, with as many changes each; what is not a map has a name of its own.
    """
    if what != "map":
        set_meta(connection, {"content": uuid4().hex})
    connection.execute(
        "INSERT INTO commits (made, what, changes) VALUES (?, ?, ?)", (now(), what, json.dumps(asdict(changes)))
    )


def last_commit(connection: Connection) -> int:
    """Number of the last commit; 0 for none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM commits").fetchone()[0])


def content_of(connection: Connection) -> str:
    """Return an identifier of all that searches depend on: another one after every commit but those of maps."""
    row = connection.execute(
        "SELECT id, made, what, changes FROM commits WHERE what != 'map' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    values = meta(connection)
    named = [values["content"]] if "content" in values else []  # those of an earlier version have no name
    return fingerprint([values["fingerprint"], *named, row])


def column_of(connection: Connection, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
    """Return the values of a statement whose rows have one column."""
    return [value for (value,) in connection.execute(statement, values)]


def rows_in(connection: Connection, statement: str, values: Sequence[Any]) -> Iterator[Any]:
    """The rows of a statement whose `{}` stands for the values, at most 500 of them at a time."""
    for start in range(0, len(values), _MOST_VALUES):
        part = list(values[start : start + _MOST_VALUES])
        yield from connection.execute(statement.format(marks(part)), part)


def marks(values: Sequence[Any]) -> str:
    """`?, ?, ?` for so many values."""
    return ", ".join("?" * len(values))
