"""WebP thumbnails beside an index, in one SQLite file by the images' content; a cache, made again from the images."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from openmofi.search.store.database import in_chunks, marks

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


class Thumbnails:
    """Thumbnails by content; each thread needs its own.

    Args:
        folder: of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / FILE, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS thumbnails (content TEXT PRIMARY KEY, webp BLOB NOT NULL)")

    def get(self, content: str) -> bytes | None:
        """The thumbnail, or `None`."""
        row = self._connection.execute("SELECT webp FROM thumbnails WHERE content = ?", (content,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, thumbnails: Mapping[str, bytes]) -> None:
        """Keep thumbnails."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", list(thumbnails.items()))
        self._connection.execute("COMMIT")

    def missing(self, contents: Sequence[str]) -> set[str]:
        """Those of `contents` of which there is none."""
        there: set[str] = set()
        for part in in_chunks(contents):
            there.update(content for content, in self._connection.execute(
                f"SELECT content FROM thumbnails WHERE content IN ({marks(part)})", list(part)))
        return set(contents) - there

    def keep_only(self, contents: set[str]) -> None:
        """Remove all others, and give their room back."""
        gone = [(content,) for content, in self._connection.execute("SELECT content FROM thumbnails")
                if content not in contents]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("DELETE FROM thumbnails WHERE content = ?", gone)
        self._connection.execute("COMMIT")
        if gone:
            self._connection.execute("VACUUM")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
