"""A map by t-SNE."""

import json
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.cluster.vq import kmeans2, vq

from openmofi.arrays import Array, Doubles, Ints
from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.plugins.map.tiles import tiles_of
from openmofi.search.mapping import LEAST, has_tiles
from openmofi.search.rank.state import State
from openmofi.search.records import Changes
from openmofi.search.store.connection import Connection, Place, Vectors
from openmofi.search.store.database import note_commit, only_writer, set_meta, transaction

MOST = 100_000
"""Landmarks: images that places are computed of; further ones are placed by their nearest among these."""
_PERPLEXITY = 30
_DIMENSIONS = 50
_NEAREST = 10
_AREAS = 24
_ROWS = 65_536
TABLE = """CREATE TABLE IF NOT EXISTS map (
  image BIGINT PRIMARY KEY REFERENCES images ON DELETE CASCADE,
  x DOUBLE PRECISION NOT NULL, y DOUBLE PRECISION NOT NULL, area BIGINT NOT NULL,
  place BIGINT NOT NULL, tile BIGINT NOT NULL)"""
BY_TILE = "CREATE INDEX map_tile ON map (tile, place)"


class Rows(Protocol):
    """(n, dim) L2-normalised vectors, of which some are read at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Ints, /) -> Array: ...


@dataclass(frozen=True)
class _Stored:
    """Vectors of an index at some positions, as `Rows`."""

    vectors: Vectors
    positions: Ints

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: Ints) -> Array:
        return self.vectors.rows(self.positions[rows])


def make_map(address: Place, seed: int = 0) -> Changes:
    """See `Index.make_map`."""
    with only_writer(address) as connection:
        state = State.read(connection, hold=True)
        positions = np.flatnonzero(state.alive)
        # By id, so that neither the order of segments nor `compact` moves anything.
        positions = positions[np.argsort(state.images[positions])]
        if len(positions) < LEAST:
            raise OpenMofiError(
                f"{address} has {len(positions)} images with vectors, and a map takes {LEAST} or more.",
                "Add images with the command that built it.",
            )
        points = placed(_Stored(state.exact, positions), seed)
        write_places(connection, state.images[positions], points, areas_of(points, seed), seed)
        return Changes(changed=len(positions))


def write_places(connection: Connection, images: Ints, points: Doubles, areas: Ints, seed: int) -> None:
    """Make a map of images (n,), their places (n, 2) from −1 to 1, and their areas (n,), in place of the one before."""
    order = np.random.default_rng(seed).permutation(len(images))
    places, tiles = np.argsort(order), np.empty(len(images), np.int64)
    tiles[order] = tiles_of(points[order])
    columns = (images, *points.T, areas, places, tiles)
    with transaction(connection):
        if not has_tiles(connection):
            connection.execute("DROP TABLE IF EXISTS map")
        connection.execute(TABLE)
        connection.execute("DROP INDEX IF EXISTS map_tile")
        connection.execute("DELETE FROM map")
        # A verdict may be written meanwhile, but no image: this is the only writer.
        for start in range(0, len(images), _ROWS):
            rows = zip(*(column[start : start + _ROWS].tolist() for column in columns), strict=True)
            connection.executemany("INSERT INTO map VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute(BY_TILE)
        set_meta(connection, {"map": json.dumps({"seed": seed, "images": len(images)}), "map_tiles": "1"})
        note_commit(connection, "map", Changes(changed=len(images)))


def placed(vectors: Rows, seed: int) -> Doubles:
    """Places by t-SNE as Kobak and Berens advise: begun with the first two principal components, with a learning
    rate of the number of images (Nature Communications 2019, https://doi.org/10.1038/s41467-019-13056-x). Beyond
    `MOST` it is of so many landmarks, and each further image lies at the median of its ten nearest of them.

    Args:
        vectors: (n, dim), L2-normalised, n ≥ `LEAST`.
        seed: equal ones give equal places.

    Returns:
        (n, 2), the longer side −1 to 1.

    Raises:
        MissingExtraError: openTSNE is not installed.
    """
    try:
        from openTSNE import TSNE
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "openTSNE", "map") from error
    chosen = np.arange(len(vectors))
    if len(vectors) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), MOST, replace=False))
    landmarks = vectors[chosen]
    mean, directions = _principal(landmarks)
    reduced = _reduced(landmarks, mean, directions)
    begin = reduced[:, :2] / max(float(reduced[:, 0].std()), 1e-12) * 1e-4
    # One thread: sums of several would come out in another order each time.
    embedding = TSNE(
        perplexity=min(_PERPLEXITY, (len(chosen) - 1) / 3),
        initialization=begin,
        random_state=seed,
        n_jobs=1,
        negative_gradient_method="auto",
    ).fit(reduced)
    points, places = np.empty((len(vectors), 2)), np.asarray(embedding)
    points[chosen] = places
    others = np.setdiff1d(np.arange(len(vectors)), chosen)
    for start in range(0, len(others), _ROWS):
        block = others[start : start + _ROWS]
        nearest, _ = embedding.affinities.knn_index.query(_reduced(vectors[block], mean, directions), _NEAREST)
        points[block] = np.median(places[nearest], axis=1)
    low, high = points.min(0), points.max(0)
    return (points - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-12)


def _principal(vectors: Array) -> tuple[Array, Doubles]:
    """(dim,) mean and (dim, at most `_DIMENSIONS`) principal directions; signs are those of the largest loading."""
    mean = vectors.mean(0, dtype=np.float64).astype(np.float32)
    centred = vectors - mean
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    directions = directions[:, ::-1][:, : max(2, min(_DIMENSIONS, *vectors.shape))]
    largest = directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])]
    return mean, directions * np.sign(largest)


def _reduced(vectors: Array, mean: Array, directions: Doubles) -> Doubles:
    """(n, 2 or more) principal components."""
    reduced = (vectors - mean).astype(np.float64) @ directions
    return np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))


def areas_of(points: Doubles, seed: int) -> Ints:
    """(n,) a number for each place: k-means cuts the map into areas, of which 0 has most images."""
    different = np.unique(points[:: max(1, len(points) // MOST)], axis=0)
    count = min(len(different), int(np.clip(round((len(points) / 20) ** 0.5 * 2), 2, _AREAS)))
    centres = kmeans2(different, count, minit="++", seed=np.random.default_rng(seed))[0]
    labels = vq(points, centres)[0]
    _, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(np.argsort(-sizes, kind="stable"))
    return np.asarray(order[numbers], np.int64)
