"""Vectors: exact search over them, and the immutable segments that they are kept in.

A segment has float16 or float32, one L2-normalised row an image, and never changes once it is named. In a folder each
is a file; a database server may have tables of its own for them.
"""

import hashlib
import io
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmofi.arrays import Array, Bools, Floats, Ints
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import nearest_rows
from openmofi.search.store.connection import Connection, Place, Segment, VectorStore, meta
from openmofi.storage import write_bytes

_ROWS, _MOST_DIM = 16_384, 65_536
_NO_SIGN_COPIES, _BIAS = np.int32(-0x70000001), np.float32(2.0 ** (127 - 15))


@dataclass(frozen=True)
class Exact:
    """Compares a query with every vector, in blocks; the reference that others are measured against.

    Attributes:
        parts: (m, dim) each, one behind another.
    """

    parts: Sequence[Floats]

    @property
    def name(self) -> str:
        """See `VectorIndex.name`."""
        return "exact"

    @property
    def effort(self) -> None:
        """See `VectorIndex.effort`."""

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def scores(self, queries: Array) -> Array:
        """See `Vectors.scores`."""
        if not len(self):
            return np.zeros((len(queries), 0), np.float32)
        blocks = (part[start : start + _ROWS] for part in self.parts for start in range(0, len(part), _ROWS))
        return np.concatenate([queries @ block.astype(np.float32).T for block in blocks], axis=1)

    def rows(self, positions: Ints) -> Array:
        """See `Vectors.rows`."""
        if len(self.parts) == 1:
            return as_floats(self.parts[0].take(positions, axis=0))  # faster than by brackets
        ends = np.cumsum([len(part) for part in self.parts])
        part = np.searchsorted(ends, positions, side="right")
        dim = self.parts[0].shape[1] if self.parts else 0
        result = np.empty((len(positions), dim), np.float32)
        for number in np.unique(part):
            chosen = part == number
            result[chosen] = as_floats(self.parts[number][positions[chosen] - (ends[number] - len(self.parts[number]))])
        return result

    def search(self, queries: Array, count: int, allowed: Bools | None = None) -> tuple[Array, Ints]:
        """See `VectorIndex.search`."""
        if allowed is None:
            return best(self.scores(queries), count)
        positions = np.flatnonzero(allowed)
        scores, columns = best(queries @ self.rows(positions).T, count)
        return scores, np.where(columns < 0, -1, positions[columns] if len(positions) else -1)


def as_floats(vectors: Floats) -> Array:
    """The same finite values as float32; of float16 in half the time of NumPy's own conversion: sign, exponent and
    mantissa are moved to where float32 has them, and the exponent's bias made up for.
    """
    if vectors.dtype != np.float16:
        return vectors.astype(np.float32)
    bits = vectors.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _NO_SIGN_COPIES
    floats: Array = bits.view(np.float32)
    floats *= _BIAS
    return floats


def best(scores: Array, count: int) -> tuple[Array, Ints]:
    """(q, n) scores → the (q, count) best, falling, and their columns; equal ones by column; −inf and −1 at the end."""
    values, columns = np.full((len(scores), count), -np.inf, np.float32), np.full((len(scores), count), -1, np.int64)
    if filled := min(count, scores.shape[1]):
        columns[:, :filled], values[:, :filled] = nearest_rows(scores, filled)
    return values, columns


FOLDER, CACHE = "vectors", "cache"


@dataclass(frozen=True)
class VectorFiles:
    """Segments as files of a folder; see `VectorStore`."""

    folder: Path

    def write(self, vectors: Array, dtype: str, *, entities: bool = False) -> tuple[str, int, str]:
        """See `VectorStore.write`."""
        name, content = f"{secrets.token_hex(8)}.npy", content_of(vectors.astype(dtype))
        write_bytes(self.folder / FOLDER / name, content)
        return name, len(vectors), digest_of(content)

    def read(self, segment: Segment, dim: int) -> Floats:
        """See `VectorStore.read`; memory-mapped."""
        path = self.folder / FOLDER / segment.file
        if path.exists() and not path.is_file():
            raise damaged(str(path), self.folder, "it is no file")
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
            left = path.stat().st_size - mapped.offset - mapped.nbytes
        except FileNotFoundError:
            raise
        except Exception as error:  # numpy parses a header as Python: what a damaged one raises is of many kinds
            raise damaged(str(path), self.folder, str(error)) from error
        vectors: Floats = np.asarray(mapped)
        rows = len(vectors) if segment.rows < 0 else segment.rows
        if vectors.shape != (rows, dim):
            raise damaged(str(path), self.folder, f"its shape is {vectors.shape}, not {(rows, dim)}")
        # Rows of no numbers take no bytes, however many there are.
        if not 0 < dim <= _MOST_DIM or vectors.dtype not in (np.float16, np.float32) or left:
            raise damaged(str(path), self.folder, f"it holds {rows} × {dim} {vectors.dtype} and {left} bytes more")
        return vectors

    def row(self, file: str, row: int) -> Array:
        """See `VectorStore.row`."""
        return np.load(self.folder / FOLDER / file, mmap_mode="r")[row].astype(np.float32)

    def problem(self, segment: Segment) -> str:
        """See `VectorStore.problem`."""
        try:
            content = (self.folder / FOLDER / segment.file).read_bytes()
        except OSError as error:
            return error.strerror or str(error)
        return "" if digest_of(content) == segment.digest else "its bytes are not those that were written"

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


def damaged(vectors: str, address: Place, why: str) -> OpenMofiError:
    """The error for a segment that cannot be used."""
    return OpenMofiError(
        f"The vectors {vectors} are damaged: {why}.",
        f"Run: openmofi index compact {address}; it embeds their images again.",
    )


def content_of(vectors: Floats) -> bytes:
    """Vectors as the bytes of a file, of which the digest is."""
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    return buffer.getvalue()


def note_segment(connection: Connection, file: str, rows: int, digest: str) -> int:
    """Record a written segment in the database; return its number there."""
    statement = "INSERT INTO segments (file, rows, digest) VALUES (?, ?, ?) RETURNING id"
    ((number,),) = connection.execute(statement, (file, rows, digest))
    return int(number)


def segments_of(connection: Connection) -> list[Segment]:
    """Return the segments of the last commit, by id."""
    return [Segment(*row) for row in connection.execute("SELECT id, file, rows, digest FROM segments ORDER BY id")]


def remove_unnamed(connection: Connection, vectors: VectorStore) -> None:
    """Remove segments that no commit names."""
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
    """Return the BLAKE2b digest, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
