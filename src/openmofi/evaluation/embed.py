"""All pictures of some shards through an encoder; what its backbone makes of them is kept.

Encoders that share a backbone (the demo's five) share its features: these are stored under the encoder's
`feature_fingerprint` and the shard's own, as `.npy` that is memory-mapped, with a Parquet of the keys beside it. Each
picture is decoded at full size: the shortcut that the label job takes with large JPEGs would change the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.dataset.truth import read_truth
from openmofi.encoders import Array, Encoder
from openmofi.encoders.arrays import gathered, in_batches, normalised
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard, atomic_path, file_fingerprint, fingerprint, write_table
from openmofi.storage.atomic import table_metadata

_DECODERS = 2
_BATCH = 64
_ROWS_AT_ONCE = 8192
_KEYS = pa.schema([pa.field("key", pa.string()), pa.field("status", pa.string())])
_NO_TEXT = (PairStatus.TEXT_MISSING, PairStatus.TEXT_EMPTY, PairStatus.TEXT_INVALID, PairStatus.TEXT_TOO_LONG)


@dataclass(frozen=True)
class ShardFeatures:
    """One shard's pictures as the backbone sees them.

    Attributes:
        shard: its name.
        keys: (rows,) all rows of the shard.
        status: (rows,) `PairStatus` of the picture; the text plays no part.
        features: (usable, feature_dim) float32 or float16, memory-mapped: rows of status `ok`, in order.
    """

    shard: str
    keys: list[str]
    status: list[str]
    features: Array


@dataclass(frozen=True)
class EmbeddedImages:
    """Pictures that could be used, embedded.

    Attributes:
        shards, keys: (n,) where each comes from.
        embeddings: (n, d) float32, L2-normalised.
        refused: (shard, key, status) of the pictures that could not be used: counts in = counts out.
    """

    shards: list[str]
    keys: list[str]
    embeddings: Array
    refused: list[tuple[str, str, str]]


def image_features_of(shards: Sequence[Shard], encoder: Encoder, cache: str | Path, progress: Progress, *,
                      half: bool = False) -> list[ShardFeatures]:
    """The backbone features of every picture of `shards`; computed where `cache` does not have them.

    Args:
        half: keep float16, half the room, instead of float32.

    Raises:
        OpenMofiError: a shard cannot be read, or the cache cannot be written.
    """
    settings = ReadSettings()
    kind = "float16" if half else "float32"
    folder = Path(cache) / "images" / fingerprint([encoder.feature_fingerprint, asdict(settings), _BATCH, kind])
    progress.begin("embed", len(shards))
    found = []
    for shard in shards:
        source = file_fingerprint(shard.path)
        place = f"{folder}/{shard.name}-{source}"
        # The table is written last: where it stands, the features do too.
        made = table_metadata(f"{place}.parquet").get("source") == source
        if not made:
            _compute(shard, encoder, settings, place, source, kind)
        found.append(_load(shard.name, place))
        progress.advance({"rows": len(found[-1].keys) if not made else 0})
    return found


def embed_images(shards: Sequence[Shard], encoder: Encoder, cache: str | Path, progress: Progress, *,
                 backbone: bool = False) -> EmbeddedImages:
    """Every usable picture of `shards` in the encoder's joint space.

    Args:
        backbone: the L2-normalised backbone features instead, as for an encoder without a joint space.

    Raises:
        OpenMofiError: as `image_features_of`; no picture can be used; the encoder has no joint space.
    """
    parts = image_features_of(shards, encoder, cache, progress)
    usable = [(part.shard, key) for part in parts for key, status in zip(part.keys, part.status, strict=True)
              if status == PairStatus.OK]
    refused = [(part.shard, key, status) for part in parts
               for key, status in zip(part.keys, part.status, strict=True) if status != PairStatus.OK]
    if not usable:
        raise OpenMofiError(f"None of the {len(refused)} pictures of {len(shards)} shards can be used.",
                            "Check the path.")
    project = normalised if backbone else encoder.project_images
    embeddings = gathered((project(np.asarray(rows, np.float32)) for part in parts
                           for rows in in_batches(part.features, _ROWS_AT_ONCE)),
                          encoder.feature_dim if backbone else encoder.dim)
    return EmbeddedImages([shard for shard, _ in usable], [key for _, key in usable], embeddings, refused)


def true_entities(truth: str | Path, images: EmbeddedImages) -> list[str]:
    """The entity that each picture shows, by a Parquet file of `schema.TRUTH`.

    Raises:
        OpenMofiError: the file cannot be read, or does not know one of the pictures.
    """
    table = read_truth(truth, sorted(set(images.shards)), None)
    known = {(shard, key): entity for shard, key, entity in
             zip(*(table[name].to_pylist() for name in ("shard", "key", "entity")), strict=True)}
    absent = next((place for place in zip(images.shards, images.keys, strict=True) if place not in known), None)
    if absent:
        raise OpenMofiError(f"{truth} does not know the picture {absent[1]!r} of the shard {absent[0]!r}.",
                            "Give the truth of these pictures.")
    return [known[place] for place in zip(images.shards, images.keys, strict=True)]


def _load(name: str, place: str) -> ShardFeatures:
    table = pq.read_table(f"{place}.parquet")
    features = np.load(f"{place}.npy", mmap_mode="r", allow_pickle=False)
    return ShardFeatures(name, table["key"].to_pylist(), table["status"].to_pylist(), features)


def _compute(shard: Shard, encoder: Encoder, settings: ReadSettings, place: str, source: str, kind: str) -> None:
    keys, statuses = [], []
    parts: list[Array] = []
    with ThreadPoolExecutor(_DECODERS) as pool:
        for pairs, pictures in _batches(read_pairs(shard, settings), encoder, pool):
            keys += [pair.key for pair in pairs]
            statuses += [str(status) for status, _ in pictures]
            pixels = [found for _, found in pictures if found is not None]
            if pixels:
                parts.append(encoder.image_features(np.stack(pixels)).astype(kind))
    features = np.concatenate([np.zeros((0, encoder.feature_dim), kind), *parts])
    with atomic_path(f"{place}.npy") as temporary:
        np.save(temporary, features, allow_pickle=False)
    columns = [pa.array(keys, pa.string()), pa.array(statuses, pa.string())]
    write_table(f"{place}.parquet", pa.Table.from_arrays(columns, schema=_KEYS), {"source": source})


def _batches(stream: Iterator[Pair], encoder: Encoder, pool: ThreadPoolExecutor,
             ) -> Iterator[tuple[list[Pair], list[tuple[PairStatus, Array | None]]]]:
    """Batches in order, with the next two being decoded while one is embedded."""
    waiting: list[tuple[list[Pair], list[Future[tuple[PairStatus, Array | None]]]]] = []
    while batch := list(islice(stream, _BATCH)):
        waiting.append(([Pair(pair.key, None, "") for pair in batch],
                        [pool.submit(_prepare, pair, encoder) for pair in batch]))
        if len(waiting) > 2:
            pairs, futures = waiting.pop(0)
            yield pairs, [future.result() for future in futures]
    for pairs, futures in waiting:
        yield pairs, [future.result() for future in futures]


def _prepare(pair: Pair, encoder: Encoder) -> tuple[PairStatus, Array | None]:
    if pair.image is None or pair.status not in (PairStatus.OK, *_NO_TEXT):
        return pair.status if pair.status not in (PairStatus.OK, *_NO_TEXT) else PairStatus.IMAGE_MISSING, None
    try:
        return PairStatus.OK, encoder.preprocess(decode_image(pair.image))
    except ImageRefused as refused:
        return refused.status, None
