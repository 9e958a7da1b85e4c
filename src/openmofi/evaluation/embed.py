"""All images of some sources through an encoder; what its backbone makes of them is kept.

Encoders that share a backbone (the demo's five) share its features: these are stored under the encoder's
`feature_fingerprint` and the source's stamp, as `.npy` that is memory-mapped, with a Parquet of the keys beside it.
Each image is decoded at full size: the shortcut that the label job takes with large JPEGs would change the figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.dataset.audit.truth import read_truth
from openmofi.encoders import Array, Encoder
from openmofi.encoders.arrays import gathered, in_batches, normalised
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.images import ImageSource, Load, shard_source
from openmofi.pairs import ImageRefused, ReadSettings, decode_image
from openmofi.schema import PairStatus
from openmofi.storage import Shard, atomic_path, fingerprint, write_table
from openmofi.storage.atomic import table_metadata

_VERSION = 2
_DECODERS = 2
_BATCH = 64
_ROWS_AT_ONCE = 8192
_KEYS = pa.schema([pa.field("key", pa.string()), pa.field("status", pa.string()), pa.field("content", pa.string())])
_NO_TEXT = (PairStatus.TEXT_MISSING, PairStatus.TEXT_EMPTY, PairStatus.TEXT_INVALID, PairStatus.TEXT_TOO_LONG)


@dataclass(frozen=True)
class ShardFeatures:
    """The images of a shard, or of another source, as the backbone sees them.

    Attributes:
        shard: its name.
        keys: (rows,) all rows.
        status: (rows,) `PairStatus` of the image; the text plays no part.
        contents: (rows,) 16 hexadecimal digits of the encoded bytes; `""` where there are none.
        features: (usable, feature_dim) float32 or float16, memory-mapped: rows of status `ok`, in order.
    """

    shard: str
    keys: list[str]
    status: list[str]
    contents: list[str]
    features: Array


@dataclass(frozen=True)
class EmbeddedImages:
    """Images that could be used, embedded.

    Attributes:
        shards, keys: (n,) where each comes from.
        embeddings: (n, d) float32, L2-normalised.
        refused: (shard, key, status) of the images that could not be used: counts in = counts out.
        contents: (n,) see `ShardFeatures`.
    """

    shards: list[str]
    keys: list[str]
    embeddings: Array
    refused: list[tuple[str, str, str]]
    contents: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Prepared:
    key: str
    status: PairStatus
    content: str
    pixels: Array | None


def image_features_of(sources: Sequence[Shard | ImageSource], encoder: Encoder, cache: str | Path, progress: Progress,
                      *, half: bool = False) -> list[ShardFeatures]:
    """The backbone features of every image; computed where `cache` does not have them.

    Args:
        half: keep float16, half the room, instead of float32.

    Raises:
        OpenMofiError: a source cannot be read, or the cache cannot be written.
    """
    kind = "float16" if half else "float32"
    parts = [_VERSION, encoder.feature_fingerprint, asdict(ReadSettings()), _BATCH, kind]
    folder = Path(cache) / "images" / fingerprint(parts)
    progress.begin("embed", len(sources))
    found = []
    for source in (one if isinstance(one, ImageSource) else shard_source(one) for one in sources):
        place = f"{folder}/{source.name}-{source.stamp}"
        # The table is written last: where it stands, the features do too.
        made = table_metadata(f"{place}.parquet").get("source") == source.stamp
        if not made:
            _compute(source, encoder, place, kind)
        found.append(_open(source.name, place))
        progress.advance({"rows": len(found[-1].keys) if not made else 0})
    return found


def embed_images(sources: Sequence[Shard | ImageSource], encoder: Encoder, cache: str | Path, progress: Progress, *,
                 backbone: bool = False, half: bool = False) -> EmbeddedImages:
    """Every usable image in the encoder's joint space.

    Args:
        backbone: the L2-normalised backbone features instead, as for an encoder without a joint space.
        half: see `image_features_of`.

    Raises:
        OpenMofiError: as `image_features_of`; no image can be used; the encoder has no joint space.
    """
    parts = image_features_of(sources, encoder, cache, progress, half=half)
    rows = [row for part in parts for row in zip([part.shard] * len(part.keys), part.keys, part.status, part.contents,
                                                 strict=True)]
    usable = [(shard, key, content) for shard, key, status, content in rows if status == PairStatus.OK]
    refused = [(shard, key, status) for shard, key, status, _ in rows if status != PairStatus.OK]
    if not usable:
        raise OpenMofiError(f"None of the {len(refused)} images of {len(sources)} shards can be used.",
                            "Check the path.")
    project = normalised if backbone else encoder.project_images
    embeddings = gathered((project(np.asarray(some, np.float32)) for part in parts
                           for some in in_batches(part.features, _ROWS_AT_ONCE)),
                          encoder.feature_dim if backbone else encoder.dim)
    shards, keys, contents = (list(column) for column in zip(*usable, strict=True))
    return EmbeddedImages(shards, keys, embeddings, refused, contents)


def true_entities(truth: str | Path, images: EmbeddedImages) -> list[str]:
    """The entity that each image shows, by a Parquet file of `schema.TRUTH`.

    Raises:
        OpenMofiError: the file cannot be read, or does not know one of the images.
    """
    table = read_truth(truth, sorted(set(images.shards)), None)
    known = {(shard, key): entity for shard, key, entity in
             zip(*(table[name].to_pylist() for name in ("shard", "key", "entity")), strict=True)}
    absent = next((place for place in zip(images.shards, images.keys, strict=True) if place not in known), None)
    if absent:
        raise OpenMofiError(f"{truth} does not know the image {absent[1]!r} of the shard {absent[0]!r}.",
                            "Give the truth of these images.")
    return [known[place] for place in zip(images.shards, images.keys, strict=True)]


def _open(name: str, place: str) -> ShardFeatures:
    table = pq.read_table(f"{place}.parquet")
    features = np.load(f"{place}.npy", mmap_mode="r", allow_pickle=False)
    keys, status, contents = (table[column].to_pylist() for column in _KEYS.names)
    return ShardFeatures(name, keys, status, contents, features)


def _compute(source: ImageSource, encoder: Encoder, place: str, kind: str) -> None:
    rows: list[tuple[str, str, str]] = []
    parts: list[Array] = []
    with ThreadPoolExecutor(_DECODERS) as pool:
        for batch in _batches(source.read(), encoder, pool):
            rows += [(one.key, str(one.status), one.content) for one in batch]
            pixels = [one.pixels for one in batch if one.pixels is not None]
            if pixels:
                parts.append(encoder.image_features(np.stack(pixels)).astype(kind))
    features = np.concatenate([np.zeros((0, encoder.feature_dim), kind), *parts])
    with atomic_path(f"{place}.npy") as temporary:
        np.save(temporary, features, allow_pickle=False)
    columns = [pa.array([row[number] for row in rows], pa.string()) for number in range(len(_KEYS))]
    write_table(f"{place}.parquet", pa.Table.from_arrays(columns, schema=_KEYS), {"source": source.stamp})


def _batches(stream: Iterator[tuple[str, Load]], encoder: Encoder, pool: ThreadPoolExecutor) -> Iterator[
        list[_Prepared]]:
    """Batches in order, with the next two being decoded while one is embedded."""
    waiting: list[list[Future[_Prepared]]] = []
    while batch := list(islice(stream, _BATCH)):
        waiting.append([pool.submit(_prepare, key, load, encoder) for key, load in batch])
        if len(waiting) > 2:
            yield [future.result() for future in waiting.pop(0)]
    for futures in waiting:
        yield [future.result() for future in futures]


def _prepare(key: str, load: Load, encoder: Encoder) -> _Prepared:
    pair = load()
    content = hashlib.blake2b(pair.image, digest_size=8).hexdigest() if pair.image else ""
    if pair.image is None or pair.status not in (PairStatus.OK, *_NO_TEXT):
        status = PairStatus.IMAGE_MISSING if pair.status in (PairStatus.OK, *_NO_TEXT) else pair.status
        return _Prepared(key, status, content, None)
    try:
        return _Prepared(key, PairStatus.OK, content, encoder.preprocess(decode_image(pair.image)))
    except ImageRefused as refused:
        return _Prepared(key, refused.status, content, None)
