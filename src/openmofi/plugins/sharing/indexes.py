"""Publishes an index as it is at one moment, and fetches a published one.

The same archive as that of a knowledge base: parts with digests, and a description (`index.json`) that is written last.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.map.tsne import BY_TILE, TABLE
from openmofi.plugins.sharing.description import FORMAT, PUBLISH_AGAIN, Kind, Published
from openmofi.plugins.sharing.fetch import fetch_published
from openmofi.plugins.sharing.publish import PART_SIZE, Archive
from openmofi.plugins.sharing.sources import read_blocks
from openmofi.search import Index
from openmofi.search.mapping import has_tiles
from openmofi.search.store import reading, sqlite
from openmofi.search.store.connection import Connection, meta, place_of
from openmofi.search.store.database import VERSION, column_of, connect, content_of, only_writer
from openmofi.search.store.sqlite import DATABASE
from openmofi.search.store.vectors import FOLDER, entity_segment, segments_of
from openmofi.search.upkeep import verify
from openmofi.storage import (
    Outputs,
    claimed,
    exists,
    file_digest,
    filesystem_of,
    fingerprint,
    finish_manifest,
    remove_leftovers,
    write_error,
    write_json,
)
from openmofi.storage.addresses import names_in, store_errors
from openmofi.storage.atomic import temporary_folder
from openmofi.version import __version__

_BUILD_AGAIN = "It may be of an earlier version: build it again with openmofi index build."
_SEGMENT = re.compile(r"[0-9a-f]{16}\.npy")
_PART = re.compile(r"part-\d{5}-[0-9a-f]{32}\.tar\.zst")


@dataclass(frozen=True)
class PublishedIndex(Published):
    """The content of an `index.json`.

    Attributes:
        index_version: of its tables.
        encoder: spec of the one that it was built with.
    """

    index_version: str
    encoder: str


INDEX = Kind(
    "index",
    "index.json",
    PublishedIndex,
    ("index_version", VERSION),
    (DATABASE, reading.FILE, f"{FOLDER}/*.npy"),
)
OUTPUTS = Outputs((INDEX.description, "part-*.tar.zst"))
_MOST_BYTES = 1 << 24
"""Of a description in a store."""


def publish_index(
    index: str | Path,
    out: str | Path,
    *,
    part_size: int = PART_SIZE,
    replaces: str | None = None,
    progress: Progress | None = None,
) -> PublishedIndex:
    """Write an index, with what people said of it, as an archive that `fetch_index` reads.

    Nothing else may add to the index meanwhile; it may be searched, and verdicts are kept. `index.json` is written
    last: until then an index that was published there before stays what is fetched. Parts that are there are not
    written again, and those that nothing names any more are removed.

    Args:
        index: its folder.
        out: a local folder, or an address in a store of objects.
        part_size: bytes of content in a part, before compression.
        replaces: fingerprint of what has to be published in the store still, empty for nothing; or whatever is.
        progress: receives the files of the index.

    Raises:
        UsageError: the index is in a database server, which has backups of its own.
        OpenMofiError: there is no index, it is damaged, or another process adds to it; `out` contains something else,
            is being written by another process, cannot be written, or has not what is to be replaced.
    """
    place = place_of(index)
    if not isinstance(place, Path):
        raise UsageError(f"{place} is in a database server.", "Publish it by the server's own means, such as pg_dump.")
    connect(place).close()  # says what is no index, before its folder is locked
    with (
        only_writer(place) as connection,
        claimed(out, "published_index", {}, outputs=OUTPUTS, stores=True) as manifest,
    ):
        _require_published(out, replaces)
        remove_leftovers(out)
        _require_whole(connection, verify(connection))
        with temporary_folder(out) as folder:
            _require_tiles(connection)
            _require_tables(connection, _tables_of_an_index(folder / "empty", connection), _BUILD_AGAIN)
            archive = Archive(str(out), part_size, folder / "part")
            files = archive.add(_files(connection, place, folder), progress or Quiet())
            with closing(sqlite.open_existing(folder / DATABASE)) as copy:
                counts, values, content = _counts(copy), meta(copy), _content(copy)
        published = PublishedIndex(
            FORMAT, content, counts, __version__, files, archive.parts, values["version"], values["encoder"]
        )
        _require_published(out, replaces)
        write_json(f"{out}/{INDEX.description}", asdict(published))
        finish_manifest(out, manifest, counts | {"parts": len(archive.parts)})
        _remove_parts(out, {part.name for part in archive.parts})
    return published


def published_at(address: str) -> PublishedIndex | None:
    """Return the description of what is published at an address in a store; `None` where nothing is.

    Raises:
        OpenMofiError: it cannot be read, or is damaged.
    """
    described = f"{address.rstrip('/')}/{INDEX.description}"
    try:
        if not exists(described):
            return None
    except OSError as error:
        raise OpenMofiError(f"{described} cannot be read: {error}.", "Check address and credentials.") from error
    return INDEX.parse(b"".join(read_blocks(described, 0, _MOST_BYTES, "Check the address.")), described)


def _require_published(address: str | Path, fingerprint: str | None) -> None:
    if fingerprint is None:
        return
    now = published_at(str(address))
    if (now.fingerprint if now else "") != fingerprint:
        raise OpenMofiError(
            f"{address} was {'published anew' if now else 'removed'} by another process meanwhile.",
            "Start the same command again: it begins with what is there now.",
        )


def _counts(connection: Connection) -> dict[str, int]:
    return {
        table: column_of(connection, f"SELECT count(*) FROM {table}")[0] for table in ("images", "entities", "verdicts")
    }


def _files(connection: Connection, place: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Name of each file of the index → where it is, and its digest; of databases copies are made in `folder`."""
    paths = {
        name: _copied(place / name, folder / name) for name in (DATABASE, reading.FILE) if (place / name).is_file()
    }
    paths |= {f"{FOLDER}/{name}": place / FOLDER / name for name in _segments(connection)}
    return {name: (path, file_digest(path)) for name, path in paths.items()}


def _copied(source: Path, copy: Path) -> Path:
    """Copy a database as it is after its last commit, whoever writes it."""
    try:
        with closing(sqlite.open_existing(source)) as there, closing(sqlite3.connect(copy)) as here:
            there.backup(here)
    except sqlite3.DatabaseError as error:
        raise OpenMofiError(f"{source} cannot be copied to {copy}: {error}.", "Check the disk.") from error
    return copy


def _segments(connection: Connection) -> list[str]:
    of_entities = entity_segment(connection)
    return [each.file for each in (*segments_of(connection), *([of_entities] if of_entities else []))]


def _require_whole(connection: Connection, problems: dict[str, str]) -> None:
    if damaged := next(((name, why) for name, why in problems.items() if why), None):
        raise OpenMofiError(
            f"{connection.place}/{damaged[0]} is damaged: {damaged[1]}.",
            f"Mend it first: openmofi index compact {connection.place}.",
        )


def _remove_parts(out: str | Path, named: set[str]) -> None:
    filesystem, root = filesystem_of(out)
    try:
        for name in names_in(out):
            if _PART.fullmatch(name) and name not in named:
                with store_errors(out):
                    filesystem.rm_file(f"{root.rstrip('/')}/{name}")
    except OSError as error:
        raise write_error(error, out) from error


def fetch_index(
    address: str | Path, out: str | Path, *, addresses: bool = False, progress: Progress | None = None
) -> Index:
    """Download an index that `publish_index` wrote, check it, and open it.

    What is downloaded is kept in `.NAME.fetch` beside `out` until it is whole: a download that was stopped continues
    there. Where `out` is this index already, nothing is downloaded.

    Args:
        address: a local folder, an address in a store, or `https://…`; what `index.json` lies in.
        out: the folder of the index, which is then one's own.
        addresses: take one whose images or labels lie at addresses, such as `s3://…`, which a server of the index then
            asks with this user's credentials.
        progress: receives the blocks of the download.

    Raises:
        UsageError: its images or labels lie at addresses, and these are not taken.
        MissingExtraError: the package that reads such addresses is not installed.
        OpenMofiError: there is no published index that this OpenMOFI reads; a part is missing or damaged; its tables
            are not those of an index; the server fails; the disk is full; `out` contains something else.
    """
    target = fetch_published(address, out, INDEX, is_index, partial(checked, addresses=addresses), progress or Quiet())
    return Index.open(target)


def is_index(folder: Path) -> bool:
    """Whether there is an index; raises an `OpenMofiError` where there is something else."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if (folder / DATABASE).is_file():
        return True
    raise OpenMofiError(f"{folder} is not empty and is no index.", "Choose another output with -o.")


def checked(folder: Path, *, addresses: bool, within: str = "") -> str:
    """Check an index that a stranger may have written; return the fingerprint of what is in it.

    Args:
        folder: its folder.
        addresses: take one whose images or labels lie at addresses.
        within: take it anyway where all of these begin so.

    Raises:
        OpenMofiError: its tables are not those of an index, it names files outside of it, or a file is damaged.
    """
    with temporary_folder(folder) as empty, closing(connect(folder)) as connection:
        if (folder / reading.FILE).is_file():
            _require_thumbnails(folder / reading.FILE)
        if not addresses:
            _require_no_addresses(connection, within)
        return _fingerprint(folder, connection, _tables_of_an_index(empty, connection))


def _tables_of_an_index(empty: Path, connection: Connection) -> list[str]:
    """Return the tables of a new index, which is made in `empty`; that of a map among them where there is one."""
    empty.mkdir(exist_ok=True)
    sqlite.create(empty, {})
    with closing(sqlite.open_existing(empty / DATABASE)) as new:
        if "table map" in _names(_tables(connection)):
            new.execute(TABLE)
            new.execute(BY_TILE)
        return _tables(new)


def _require_thumbnails(path: Path) -> None:
    try:
        with closing(sqlite.open_existing(path)) as thumbnails:
            if _names(_tables(thumbnails)) == ["table thumbnails"]:
                return
    except sqlite3.DatabaseError as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", PUBLISH_AGAIN) from error
    raise OpenMofiError(f"The tables of {path} are not those of thumbnails.", PUBLISH_AGAIN)


def _fingerprint(folder: Path, connection: Connection, tables: Sequence[str]) -> str:
    try:
        _require_tables(connection, tables, PUBLISH_AGAIN)
        if odd := next((name for name in _segments(connection) if not _SEGMENT.fullmatch(str(name))), None):
            raise OpenMofiError(f"{folder / DATABASE} names vectors that are none of an index: {odd!r}.", PUBLISH_AGAIN)
        if connection.execute("SELECT 1 FROM images WHERE content GLOB '*[^0-9a-f]*' LIMIT 1").fetchone():
            raise OpenMofiError(f"{folder / DATABASE} has images without a digest.", PUBLISH_AGAIN)
        _require_whole(connection, verify(connection))
        return _content(connection)
    except (sqlite3.DatabaseError, KeyError, TypeError, ValueError) as error:
        raise OpenMofiError(f"{folder / DATABASE} cannot be read: {error}.", PUBLISH_AGAIN) from error


def _require_no_addresses(connection: Connection, within: str) -> None:
    named = (("file", "images"), ("path", "sources"), ("labels", "sources"))
    for column, table in named:
        text = f"CAST({column} AS TEXT)"
        outside = f"instr({text}, '://') AND (? = '' OR substr({text}, 1, ?) <> ? OR instr({text}, '..'))"
        statement = f"SELECT {text} FROM {table} WHERE {outside} LIMIT 1"
        if found := column_of(connection, statement, (within, len(within), within)):
            raise UsageError(
                f"Images or labels of this index lie at addresses, such as {found[0][:200]!r}, which a server of it "
                "would ask for.",
                "Where you trust who published it: openmofi index fetch ADDRESS -o INDEX --addresses.",
            )


def _content(connection: Connection) -> str:
    """Return an identifier of all that is in an index: images, verdicts and map."""
    verdicts = connection.execute("SELECT count(*), max(id), sum(undone) FROM verdicts").fetchone()
    return fingerprint([content_of(connection), verdicts, meta(connection).get("map", "")])


def _require_tables(connection: Connection, tables: Sequence[str], hint: str) -> None:
    if _tables(connection) != tables:
        raise OpenMofiError(f"The tables of {connection.place} are not those of an index.", hint)


def _require_tiles(connection: Connection) -> None:
    if "map" in meta(connection) and not has_tiles(connection):
        raise OpenMofiError(
            f"The map of {connection.place} is of an earlier version.",
            f"Make it again: openmofi index map {connection.place}.",
        )


def _names(tables: Sequence[str]) -> list[str]:
    return [each.partition("\n")[0] for each in tables]


def _tables(connection: Connection) -> list[str]:
    """Return kind, name and definition of all that is in a database."""
    kinds = "SELECT type || ' ' || name || char(10) || coalesce(sql, '') FROM sqlite_master"
    return column_of(connection, rf"{kinds} WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY 1")
