"""What searches the vectors of an index: FAISS those of a folder, and the server those of a large index in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from openmofi.encoders import Array
from openmofi.search.rank import faiss_cache
from openmofi.search.store.connection import Connection
from openmofi.search.store.segments import Segment
from openmofi.search.vectors import Exact, Floats, VectorIndex, Vectors


def open_vectors(
    connection: Connection,
    segments: Sequence[Segment],
    dim: int,
    connected: Callable[[], Connection],
    held: dict[str, Floats],
    *,
    hold: bool,
) -> tuple[Vectors, VectorIndex]:
    """The vectors of a commit, and what searches them.

    Args:
        connection: that the commit is read by.
        segments: its segments.
        dim: of their vectors.
        connected: the calling thread's connection, later.
        held: segments that are in memory already, by name.
        hold: whether all are needed in memory, however many they are.

    Raises:
        FileNotFoundError: a segment is missing, perhaps since the index was compacted.
        OpenMofiError: one is damaged.
    """
    store = connection.vectors()
    if not hold and (there := store.searched(segments, dim, connected)) is not None:
        return there, there
    exact = Exact([held[each.file] if each.file in held else store.read(each, dim) for each in segments])
    place = connection.place
    return exact, faiss_cache.vector_index(place, segments, exact) if isinstance(place, Path) else exact


def refresh_cache(connection: Connection, segments: Sequence[Segment], vectors: Vectors, texts: Array) -> None:
    """Make what makes searches fast, or add to it what it does not have.

    Args:
        connection: to the index, which this process writes.
        segments: of the vectors.
        vectors: of the images.
        texts: (e, dim) of entities; further queries by which is measured what is found.

    Raises:
        OpenMofiError: it cannot be written.
    """
    if connection.vectors().refresh(len(vectors)):
        return
    if isinstance(vectors, Exact) and isinstance(connection.place, Path):
        faiss_cache.refresh(connection.place, segments, vectors, texts)
