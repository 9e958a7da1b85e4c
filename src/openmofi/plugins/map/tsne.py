"""A map by t-SNE."""

import json

import numpy as np
from scipy.cluster.vq import kmeans2, vq

from openmofi.arrays import Array, Doubles, Ints
from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.search.mapping import LEAST
from openmofi.search.rank.state import State
from openmofi.search.records import Changes
from openmofi.search.store.connection import Place
from openmofi.search.store.database import note_commit, only_writer, set_meta, transaction

MOST = 100_000
"""Images that places are computed of; further ones are placed by their nearest among these."""
_PERPLEXITY = 30
_DIMENSIONS = 50
_AREAS = 24
TABLE = """CREATE TABLE IF NOT EXISTS map (
  image BIGINT PRIMARY KEY REFERENCES images ON DELETE CASCADE,
  x DOUBLE PRECISION NOT NULL, y DOUBLE PRECISION NOT NULL, area BIGINT NOT NULL)"""


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
                "Add images with: openmofi index add INDEX IMAGES.",
            )
        points = placed(state.exact.rows(positions), seed)
        rows = zip(state.images[positions].tolist(), *points.T.tolist(), areas_of(points, seed).tolist(), strict=True)
        with transaction(connection):
            connection.execute(TABLE)
            connection.execute("DELETE FROM map")
            # A verdict may be written meanwhile, but no image: this is the only writer.
            connection.executemany("INSERT INTO map VALUES (?, ?, ?, ?)", rows)
            changes = Changes(changed=len(positions))
            set_meta(connection, {"map": json.dumps({"seed": seed, "images": len(positions)})})
            note_commit(connection, "map", changes)
        return changes


def placed(vectors: Array, seed: int) -> Doubles:
    """Places by t-SNE as Kobak and Berens advise: begun with the first two principal components, with a learning
    rate of the number of images (Nature Communications 2019, https://doi.org/10.1038/s41467-019-13056-x).

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
    reduced = _principal(vectors)
    begin = reduced[chosen, :2] / max(float(reduced[chosen, 0].std()), 1e-12) * 1e-4
    # One thread: sums of several would come out in another order each time.
    embedding = TSNE(
        perplexity=min(_PERPLEXITY, (len(chosen) - 1) / 3),
        initialization=begin,
        random_state=seed,
        n_jobs=1,
        negative_gradient_method="auto",
    ).fit(reduced[chosen])
    points = np.empty((len(vectors), 2))
    points[chosen] = np.asarray(embedding)
    if len(chosen) < len(vectors):
        others = np.setdiff1d(np.arange(len(vectors)), chosen)
        points[others] = np.asarray(embedding.prepare_partial(reduced[others], initialization="median", k=10))
    low, high = points.min(0), points.max(0)
    return (points - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-12)


def _principal(vectors: Array) -> Doubles:
    """(n, at most `_DIMENSIONS`) principal components; signs are those of the largest loading."""
    mean = vectors.mean(0, dtype=np.float64)
    centred = vectors - mean.astype(np.float32)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    directions = directions[:, ::-1][:, : max(2, min(_DIMENSIONS, *vectors.shape))]
    largest = directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])]
    reduced = centred.astype(np.float64) @ (directions * np.sign(largest))
    return np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))


def areas_of(points: Doubles, seed: int) -> Ints:
    """(n,) a number for each place: k-means cuts the map into areas, of which 0 has most images."""
    different = np.unique(points, axis=0)
    count = min(len(different), int(np.clip(round((len(points) / 20) ** 0.5 * 2), 2, _AREAS)))
    centres = kmeans2(different, count, minit="++", seed=np.random.default_rng(seed))[0]
    labels = vq(points, centres)[0]
    _, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(np.argsort(-sizes, kind="stable"))
    return np.asarray(order[numbers], np.int64)
