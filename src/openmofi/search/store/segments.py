"""Vectors in immutable segments of float16 or float32, one row an image, L2-normalised; never changed once named.

In a folder each is a file; a database server may have tables of its own for them.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from openmofi.arrays import Array, Floats
from openmofi.errors import OpenMofiError
from openmofi.search.store.address import Place
from openmofi.search.store.connection import Connection, meta
from openmofi.search.vectors import Vectors
from openmofi.storage import write_bytes

FOLDER, CACHE = "vectors", "cache"


@dataclass(frozen=True)
class Segment:
    """Some vectors, written at once.

    Attributes:
        id: its row in the database.
        file: its name, in the folder `vectors` where the index is one.
        rows: how many vectors it has; −1 where that is not noted.
        digest: of its bytes, BLAKE2b, 32 hexadecimal digits.
    """

    id: int
    file: str
    rows: int
    digest: str

    def open(self, folder: Path, dim: int) -> Floats:
        """(rows, dim), memory-mapped.

        Raises:
            OpenMofiError: the file is missing or of another shape.
        """
        path = folder / FOLDER / self.file
        try:
            vectors: Floats = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:
            raise
        except Exception as error:  # numpy parses a header as Python: what a damaged one raises is of many kinds
            raise damaged(str(path), folder, str(error)) from error
        rows = len(vectors) if self.rows < 0 else self.rows
        if vectors.shape != (rows, dim):
            raise damaged(str(path), folder, f"its shape is {vectors.shape}, not {(rows, dim)}")
        return vectors

    def problem(self, folder: Path) -> str:
        """What is wrong with the file, all of which is read; or ""."""
        try:
            content = (folder / FOLDER / self.file).read_bytes()
        except OSError as error:
            return error.strerror or str(error)
        return "" if digest_of(content) == self.digest else "its bytes are not those that were written"


class VectorStore(Protocol):
    """Where the segments of an index are kept; what no commit names is seen by no reader."""

    def write(self, vectors: Array, dtype: str, *, entities: bool = False) -> tuple[str, int, str]:
        """Write (n, dim) L2-normalised vectors, of images or of entity texts; name, rows and digest for the database.

        Raises:
            OpenMofiError: they cannot be written.
        """

    def read(self, segment: Segment, dim: int) -> Floats:
        """(rows, dim).

        Raises:
            FileNotFoundError: there is no such file, perhaps since the index was compacted.
            OpenMofiError: it is damaged.
        """

    def row(self, file: str, row: int) -> Array:
        """(dim,) float32, one vector of a segment."""

    def problem(self, segment: Segment) -> str:
        """What is wrong with it, all of which is read; or ""."""

    def keep_only(self, files: set[str]) -> None:
        """Remove all others: those of a process that was killed before its commit, or of old commits."""

    def searched(self, segments: Sequence[Segment], dim: int, connected: Callable[[], Connection]) -> Vectors | None:
        """What searches the segments where they are; `None` where they are to be opened, and searched here.

        Args:
            segments: one behind another.
            dim: of a vector.
            connected: the calling thread's connection, later.
        """

    def refresh(self, count: int) -> bool:
        """Make what makes searches of so many vectors fast where they are; `False` where that is done here."""


@dataclass(frozen=True)
class VectorFiles:
    """Segments as files of a folder; see `VectorStore`."""

    folder: Path

    def write(self, vectors: Array, dtype: str, *, entities: bool = False) -> tuple[str, int, str]:
        """See `VectorStore.write`."""
        return write_segment(self.folder, vectors, dtype)

    def read(self, segment: Segment, dim: int) -> Floats:
        """See `VectorStore.read`."""
        return segment.open(self.folder, dim)

    def row(self, file: str, row: int) -> Array:
        """See `VectorStore.row`."""
        vector: Array = np.load(self.folder / FOLDER / file, mmap_mode="r")[row].astype(np.float32)
        return vector

    def problem(self, segment: Segment) -> str:
        """See `VectorStore.problem`."""
        return segment.problem(self.folder)

    def keep_only(self, files: set[str]) -> None:
        """See `VectorStore.keep_only`."""
        for path in (self.folder / FOLDER).glob("*"):
            if path.name not in files:
                path.unlink(missing_ok=True)

    def searched(self, segments: Sequence[Segment], dim: int, connected: Callable[[], Connection]) -> None:
        """See `VectorStore.searched`."""

    def refresh(self, count: int) -> bool:
        """See `VectorStore.refresh`."""
        return False


def damaged(vectors: str, place: Place, why: str) -> OpenMofiError:
    """The error for a segment that cannot be used."""
    return OpenMofiError(
        f"The vectors {vectors} are damaged: {why}.",
        f"Run: openmofi index compact {place}; it embeds their images again.",
    )


def write_segment(folder: Path, vectors: Array, dtype: str) -> tuple[str, int, str]:
    """Write (n, dim) L2-normalised vectors; file, rows and digest for the database. Readers do not know it yet.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    name, content = f"{secrets.token_hex(8)}.npy", content_of(vectors.astype(dtype))
    write_bytes(folder / FOLDER / name, content)
    return name, len(vectors), digest_of(content)


def content_of(vectors: Floats) -> bytes:
    """Vectors as the bytes of a file, of which the digest is."""
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    return buffer.getvalue()


def segments_of(connection: Connection) -> list[Segment]:
    """Those of the last commit, by id."""
    return [Segment(*row) for row in connection.execute("SELECT id, file, rows, digest FROM segments ORDER BY id")]


def remove_unnamed(connection: Connection, vectors: VectorStore) -> None:
    """Remove what no commit names."""
    vectors.keep_only(
        {segment.file for segment in segments_of(connection)} | {meta(connection).get("entity_vectors", "")}
    )


def entity_segment(connection: Connection) -> Segment | None:
    """The vectors of entity texts, by `number`, none where the encoder has no texts; `None` before there are any."""
    values = meta(connection)
    if not (name := values.get("entity_vectors")):
        return None
    return Segment(0, name, -1, values["entity_vectors_digest"])


def digest_of(content: bytes) -> str:
    """BLAKE2b, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
