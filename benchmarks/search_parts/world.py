"""Vectors that lie in clusters as embeddings do, what is nearest to queries, and an index of them that holds no images.

Ten thousand clusters, by size as Zipf's law has it; centres and what lies around them have variances that fall as 1/i
along the axes of a random rotation, as those of encoders do (the participation ratio of 256 dimensions is 28). Queries
are further draws. The nearest ten have cosines of .77 to .72 at a million.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.search.rank.state import State, refresh_cache
from openmofi.search.records import Changes
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import connect, note_commit, only_writer, transaction
from openmofi.search.store.vectors import FOLDER, VectorFiles
from openmofi.storage import fingerprint

DIM, QUERIES, NEAREST = 256, 1000, 100
CLUSTERS = 10_000
ENCODER = "numbered texts"
"""By which the encoder of `served.py` identifies itself."""
SHARES = {"a": 0.01, "b": 0.1, "c": 0.5}
"""Value of the column `licence` → share of the images that have it; drawn independently of the vectors."""
_BLOCK = 65_536
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def make_vectors(work: Path, count: int) -> None:
    """Write `base.npy` (count, 256), `clusters.npy` (count,), `queries.npy` (1000, 256) and `truth.npy` (1000, 100)."""
    if (work / "truth.npy").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    spread = np.arange(1, DIM + 1) ** -0.5
    spread = (spread / np.linalg.norm(spread)).astype(np.float32)
    centres = draw.normal(size=(CLUSTERS, DIM)).astype(np.float32) * spread
    rotation = np.linalg.qr(draw.normal(size=(DIM, DIM)))[0].astype(np.float32)
    base, clusters = _drawn(count, draw, centres, spread)
    queries, _ = _drawn(QUERIES, np.random.default_rng(1), centres, spread)
    base, queries = base @ rotation, queries @ rotation
    np.save(work / "base.npy", base)
    np.save(work / "clusters.npy", clusters)
    np.save(work / "queries.npy", queries)
    np.save(work / "truth.npy", nearest(base, queries, NEAREST))


def _drawn(count: int, draw: np.random.Generator, centres: Floats, spread: Floats) -> tuple[Floats, Ints]:
    clusters = np.minimum(len(centres) ** draw.random(count) - 1, len(centres) - 1).astype(np.int64)
    vectors = np.empty((count, DIM), np.float32)
    for start in range(0, count, _BLOCK):
        part = clusters[start : start + _BLOCK]
        noise = draw.normal(size=(len(part), DIM)).astype(np.float32) * spread
        drawn = centres[part] + noise * draw.uniform(0.6, 1.2, (len(part), 1)).astype(np.float32)
        vectors[start : start + _BLOCK] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vectors, clusters


def nearest(base: Floats, queries: Floats, count: int, allowed: NDArray[np.bool_] | None = None) -> Ints:
    """(q, count) rows of the nearest by inner product, exactly."""
    kept = np.arange(len(base)) if allowed is None else np.flatnonzero(allowed)
    chosen = []
    for start in range(0, len(queries), 50):
        scores = np.concatenate(
            [
                queries[start : start + 50] @ base[kept[first : first + _BLOCK]].T
                for first in range(0, len(kept), _BLOCK)
            ],
            axis=1,
        )
        places = np.argpartition(-scores, count, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, places, axis=1), axis=1)
        chosen.append(kept[np.take_along_axis(places, order, axis=1)])
    return np.concatenate(chosen)


def recall(found: Ints, truth: Ints) -> float:
    """Share of the true nearest that are among those found."""
    return float(
        np.mean(
            [
                len(set(some) & set(wanted)) / len(wanted)
                for some, wanted in zip(found.tolist(), truth.tolist(), strict=True)
            ]
        )
    )


def make_index(work: Path) -> Path:
    """An index of `base.npy`, without FAISS; its images are rows alone, image i has the vector i − 1.

    One in fifty images is a near-duplicate of another by its perceptual hash.
    """
    folder = work / "index"
    if (folder / "made").exists():
        return folder
    (folder / FOLDER).mkdir(parents=True)
    base = np.load(work / "base.npy", mmap_mode="r")
    draw = np.random.default_rng(2)
    phash = draw.integers(-(2**63), 2**63, len(base), np.int64)
    near = np.flatnonzero(draw.random(len(base)) < 0.02)
    phash[near] = phash[draw.integers(0, len(base), len(near))] ^ (1 << draw.integers(0, 62, len(near)))
    licences = draw.choice([*SHARES, "d"], len(base), p=[*SHARES.values(), 1 - sum(SHARES.values())])
    new = {
        "encoder": "custom:NumberedTexts",
        "fingerprint": fingerprint([ENCODER, None]),
        "dim": str(DIM),
        "dtype": "float16",
        "template": "{name}",
    }
    with only_writer(folder, new) as connection, transaction(connection):
        connection.execute(
            "INSERT INTO sources (id, path, shard, stamp, reading, labels) "
            "VALUES (1, '/nowhere', 'nowhere', '', '{}', '')"
        )
        for start in range(0, len(base), 262_144):
            part = base[start : start + 262_144]
            ((number,),) = connection.execute(
                "INSERT INTO segments (file, rows, digest) VALUES (?, ?, ?) RETURNING id",
                VectorFiles(folder).write(part, "float16"),
            )
            _insert(connection, start, len(part), number, phash, licences)
        note_commit(connection, "add", Changes(added=len(base)))
    (folder / "made").touch()
    return folder


def _insert(
    connection: Connection, start: int, count: int, segment: int, phash: Ints, licences: NDArray[np.str_]
) -> None:
    connection.executemany(
        "INSERT INTO images (id, source, key, copy, status, content, width, height, phash, text, url, columns, size, "
        "mtime, offset, segment, row) VALUES (?, 1, ?, 0, 'ok', ?, 640, 480, ?, '', '', ?, -1, 0, -1, ?, ?)",
        (
            (
                start + row + 1,
                f"{start + row:07}",
                f"{start + row:032x}",
                int(phash[start + row]),
                f'{{"licence": "{licences[start + row]}"}}',
                segment,
                row,
            )
            for row in range(count)
        ),
    )


def make_cache(folder: Path) -> None:
    """FAISS over the index, as the next `openmofi index add` would make it."""
    with closing(connect(folder)) as connection:
        state = State.read(connection)
        refresh_cache(connection, state.segments, state.exact, state.entities)


def size_mib(folder: Path) -> float:
    """Of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
