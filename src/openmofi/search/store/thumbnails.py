"""WebP thumbnails by the images' content, in a SQLite file or a table; a cache, made again from the images."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from PIL import Image

from openmofi.search.store.connection import Connection
from openmofi.search.store.database import in_chunks, marks, transaction
from openmofi.search.store.sqlite import SQLite, open_existing, opened

FILE = "thumbnails.db"
SIDE = 256
"""Pixels of the longer side, at most."""
_QUALITY = 78


def encoded(image: Image.Image, side: int = SIDE) -> bytes:
    """An RGB image, shrunk, as WebP; thread-safe."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "WebP", quality=_QUALITY, method=2)
    return out.getvalue()


def cached(index: Connection, content: str) -> bytes | None:
    """The thumbnail of an image by its content; `None` where there is none, or the cache cannot be read.

    Args:
        index: the connection to its database.
    """
    if not isinstance(index.place, Path):
        return _selected(index, content)
    try:
        with closing(open_existing(index.place / FILE)) as cache:
            return _selected(cache, content)
    except sqlite3.DatabaseError:  # also a missing or damaged file
        return None


def _selected(connection: Connection, content: str) -> bytes | None:
    row = connection.execute("SELECT webp FROM thumbnails WHERE content = ?", (content,)).fetchone()
    return None if row is None else bytes(row[0])


class Thumbnails:
    """Thumbnails by content, for the writer of an index; each thread needs its own.

    Args:
        index: the connection to its database.
    """

    def __init__(self, index: Connection) -> None:
        self._own: SQLite | None = None
        if isinstance(index.place, Path):
            self._own = opened((index.place / FILE).absolute().as_uri(), index.place)
            self._own.execute("PRAGMA journal_mode = WAL")
            self._own.execute("PRAGMA synchronous = NORMAL")
            self._own.execute("CREATE TABLE IF NOT EXISTS thumbnails (content TEXT PRIMARY KEY, webp BLOB NOT NULL)")
        self._connection: Connection = index if self._own is None else self._own

    def put(self, thumbnails: Mapping[str, bytes]) -> None:
        """Keep thumbnails."""
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO thumbnails VALUES (?, ?) ON CONFLICT (content) DO UPDATE SET webp = excluded.webp",
                list(thumbnails.items()),
            )

    def missing(self, contents: Sequence[str]) -> set[str]:
        """Those of `contents` of which there is none."""
        there: set[str] = set()
        for part in in_chunks(contents):
            there.update(
                content
                for (content,) in self._connection.execute(
                    f"SELECT content FROM thumbnails WHERE content IN ({marks(part)})", list(part)
                )
            )
        return set(contents) - there

    def keep_only(self, contents: set[str]) -> None:
        """Remove all others, and give their room back."""
        gone = [
            (content,)
            for (content,) in self._connection.execute("SELECT content FROM thumbnails")
            if content not in contents
        ]
        with transaction(self._connection):
            self._connection.executemany("DELETE FROM thumbnails WHERE content = ?", gone)
        if gone and self._own:
            self._own.execute("VACUUM")

    def close(self) -> None:
        """Close the file, where it is one."""
        if self._own:
            self._own.close()
