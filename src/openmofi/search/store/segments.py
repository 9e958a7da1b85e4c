"""Vectors on disk: immutable files of float16 or float32, one row an image, L2-normalised; never changed once named."""

from __future__ import annotations

import hashlib
import io
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array
from openmofi.errors import OpenMofiError
from openmofi.search.store.database import meta
from openmofi.storage import write_bytes

FOLDER, CACHE = "vectors", "cache"
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """A file of vectors.

    Attributes:
        id: its row in the database.
        file: its name in the folder `vectors`.
        rows: how many vectors it has.
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
            raise damaged(path, str(error)) from error
        if vectors.shape != (self.rows, dim):
            raise damaged(path, f"its shape is {vectors.shape}, not {(self.rows, dim)}")
        return vectors

    def problem(self, folder: Path) -> str:
        """What is wrong with the file, all of which is read; or ""."""
        try:
            content = (folder / FOLDER / self.file).read_bytes()
        except OSError as error:
            return error.strerror or str(error)
        return "" if _digest(content) == self.digest else "its bytes are not those that were written"


def damaged(path: Path, why: str) -> OpenMofiError:
    """The error for a segment that cannot be used."""
    return OpenMofiError(f"The vectors {path} are damaged: {why}.",
                         f"Run: openmofi index compact {path.parent.parent}; it embeds their images again.")


def write_segment(folder: Path, vectors: Array, dtype: str) -> tuple[str, int, str]:
    """Write (n, dim) L2-normalised vectors; file, rows and digest for the database. Readers do not know it yet.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    np.save(buffer, vectors.astype(dtype), allow_pickle=False)
    name = f"{secrets.token_hex(8)}.npy"
    write_bytes(folder / FOLDER / name, content := buffer.getvalue())
    return name, len(vectors), _digest(content)


def segments_of(connection: sqlite3.Connection) -> list[Segment]:
    """Those of the last commit, by id."""
    return [Segment(*row) for row in connection.execute("SELECT id, file, rows, digest FROM segments ORDER BY id")]


def remove_unnamed(folder: Path, connection: sqlite3.Connection) -> None:
    """Remove files that no commit names: those of a process that was killed before its commit, or of old commits."""
    named = {segment.file for segment in segments_of(connection)} | {meta(connection).get("entity_vectors", "")}
    for path in (folder / FOLDER).glob("*"):
        if path.name not in named:
            path.unlink(missing_ok=True)


def entity_vectors(folder: Path, values: dict[str, str]) -> Array:
    """(n, dim) float32, by `number`; none where the encoder has no texts."""
    dim = int(values["dim"])
    if not (name := values.get("entity_vectors")):
        return np.zeros((0, dim), np.float32)
    return np.load(folder / FOLDER / name, allow_pickle=False).astype(np.float32)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
