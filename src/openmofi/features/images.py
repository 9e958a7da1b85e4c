"""All images of some sources through an encoder; what its backbone makes of them is kept in the feature store.

Encoders that share a backbone (the demo's five) share its features. Each image is decoded at full size: the shortcut
that the label job takes with large JPEGs would change the figures of an evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders import Encoder
from openmofi.encoders.arrays import gathered, normalised
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.features.sources import ImageSource, shard_source
from openmofi.features.store import FeatureStore, StoredFeatures
from openmofi.features.stream import ahead
from openmofi.schema import PairStatus
from openmofi.storage import Shard
from openmofi.storage.atomic import remove_leftovers

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class EmbeddedImages:
    """Images that could be used, embedded.

    Attributes:
        shards, keys: (n,) where each comes from.
        embeddings: (n, d) float32, L2-normalised.
        refused: (shard, key, status) of the images that could not be used: counts in = counts out.
        contents: (n,) 16 hexadecimal digits of the encoded bytes.
    """

    shards: list[str]
    keys: list[str]
    embeddings: Array
    refused: list[tuple[str, str, str]]
    contents: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[tuple[str, str]]:
        """(n,) shard and key of each."""
        return list(zip(self.shards, self.keys, strict=True))


def image_features_of(
    sources: Sequence[Shard | ImageSource],
    encoder: Encoder,
    cache: str | Path,
    progress: Progress,
    *,
    half: bool = False,
) -> list[StoredFeatures]:
    """The backbone features of every image; computed where `cache` does not have them.

    Args:
        sources: shards of pairs, whose texts play no part, or other sources.
        encoder: gives the features.
        cache: see `FeatureStore`.
        progress: receives each source.
        half: keep float16, half the room, instead of float32.

    Raises:
        OpenMofiError: a source cannot be read, or the cache cannot be written.
    """
    store = FeatureStore(str(cache), encoder, full_size=True, hashes=False, dtype="float16" if half else "float32")
    progress.begin("embed", len(sources))
    features = []
    opened = [each if isinstance(each, ImageSource) else shard_source(each) for each in sources]
    if not all(store.has(source.name, source.stamp) for source in opened):
        remove_leftovers(store.folder)
    for source in opened:
        computed = not store.has(source.name, source.stamp)
        if computed:
            compute_features(source, store)
        features.append(store.open(source.name, source.stamp))
        progress.advance({"rows": len(features[-1].table) if computed else 0})
    return features


def embed_images(
    sources: Sequence[Shard | ImageSource],
    encoder: Encoder,
    cache: str | Path,
    progress: Progress,
    *,
    backbone: bool = False,
    half: bool = False,
) -> EmbeddedImages:
    """Every usable image in the encoder's joint space.

    Args:
        sources, encoder, cache, progress, half: see `image_features_of`.
        backbone: the L2-normalised backbone features instead, as for an encoder without a joint space.

    Raises:
        OpenMofiError: as `image_features_of`; no image can be used; the encoder has no joint space.
    """
    parts = image_features_of(sources, encoder, cache, progress, half=half)
    rows = [
        (source.name, key, status, content)
        for source, part in zip(sources, parts, strict=True)
        for key, status, content in zip(
            *(part.table.column(name).to_pylist() for name in ("key", "status", "content")), strict=True
        )
    ]
    usable = [(name, key, content) for name, key, status, content in rows if status == PairStatus.OK]
    refused = [(name, key, status) for name, key, status, _ in rows if status != PairStatus.OK]
    if not usable:
        raise OpenMofiError(
            f"None of the {len(refused)} images of {len(sources)} shards can be used.", "Check the path."
        )
    project = normalised if backbone else encoder.project_images
    embeddings = gathered(
        (project(batch) for part in parts for batch in _batches(part)), encoder.feature_dim if backbone else encoder.dim
    )
    shards, keys, contents = (list(column) for column in zip(*usable, strict=True))
    return EmbeddedImages(shards, keys, embeddings, refused, contents)


def _batches(part: StoredFeatures) -> Iterator[Array]:
    rows = np.flatnonzero(part.usable)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield part.values[rows[start : start + _ROWS_AT_ONCE]].astype(np.float32)


def compute_features(source: ImageSource, store: FeatureStore) -> None:
    """Embed all images of a source and keep their features.

    Raises:
        OpenMofiError: the source cannot be read, or the cache cannot be written.
    """
    # A source has keys of its own.
    batches = ahead(source.read(), lambda item: replace(store.prepare(item[1]()), key=item[0]), store.batch_size)
    with store.embedding(source.name, source.stamp) as embed, closing(batches):
        for batch in batches:
            embed([image for _, image in batch])
