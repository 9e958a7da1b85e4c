"""Sources of images, and all their images through an encoder; features of its backbone are kept in the feature store.

Encoders that share a backbone (the demo's five) share its features. Each image is decoded at full size: the shortcut
that the label job takes with large JPEGs would change the figures of an evaluation.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders import Encoder
from openmofi.encoders.arrays import gathered, normalised
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.features.store import FeatureStore, StoredFeatures
from openmofi.features.stream import ahead
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.read_settings import NO_FILE, open_regular
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard, fingerprint, remove_leftovers

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
FILES_PER_SOURCE = 4096
"""Files of one source: what is embedded is kept in parts of so many, so that a stopped run loses little."""

Load = Callable[[], Pair]
_OF_TEXT = (PairStatus.TEXT_MISSING, PairStatus.TEXT_EMPTY, PairStatus.TEXT_INVALID, PairStatus.TEXT_TOO_LONG)


@dataclass(frozen=True)
class ImageSource:
    """An ordered list of images.

    Attributes:
        name: unique among the sources of one call.
        stamp: changes when the images do; names what is kept of them on this machine.
        read: yields (key, load); `load` may be called in another thread, once, or not at all.
    """

    name: str
    stamp: str
    read: Callable[[], Iterator[tuple[str, Load]]]


def shard_source(shard: Shard, settings: ReadSettings = ReadSettings(), *, as_labelled: bool = False) -> ImageSource:
    """The images of a shard of pairs; its texts play no part.

    Args:
        shard: where they are.
        settings: how it is read.
        as_labelled: also those of repeated keys, as the label job embeds them: its features are the same.

    Raises:
        OpenMofiError: it cannot be read.
    """

    def read() -> Iterator[tuple[str, Load]]:
        for pair in read_pairs(shard, settings):
            yield pair.key, partial((lambda given: given) if as_labelled else _without_text, pair)

    return ImageSource(shard.name, shard.fingerprint, read)


def file_sources(root: str | Path, files: Sequence[str], name: str = "files") -> list[ImageSource]:
    """Files below `root`, in the order given, in sources of `FILES_PER_SOURCE`; keys are the relative paths.

    Raises:
        OpenMofiError: a file cannot be looked at.
    """
    folder, settings = Path(root), ReadSettings()
    return [
        _files(
            folder,
            list(files[start : start + FILES_PER_SOURCE]),
            f"{name}-{start // FILES_PER_SOURCE:05d}",
            settings.max_image_bytes,
        )
        for start in range(0, len(files), FILES_PER_SOURCE)
    ]


def images_in(folder: Path) -> list[str]:
    """Relative paths of the image files below `folder`, sorted; hidden files are left out."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _files(folder: Path, files: list[str], name: str, limit: int) -> ImageSource:
    def read() -> Iterator[tuple[str, Load]]:
        for file in files:
            yield file, partial(_load, folder, file, limit)

    try:
        stats = [(file, *_stamp(folder / file)) for file in files]
    except OSError as error:
        raise OpenMofiError(f"{error.filename} cannot be read: {error.strerror}.", "Check the path.") from error
    return ImageSource(name, fingerprint([str(folder.resolve()), stats]), read)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        # A table may name what is not there: such a row is excluded and counted like an unreadable image.
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _load(folder: Path, file: str, limit: int) -> Pair:
    try:
        with open_regular(folder / file) as handle:
            data = handle.read(limit + 1)
    except NO_FILE:
        return Pair(file, None, "", PairStatus.IMAGE_MISSING)
    if len(data) > limit:
        return Pair(file, None, "", PairStatus.IMAGE_TOO_LARGE)
    return Pair(file, data, "")


def _without_text(pair: Pair) -> Pair:
    """The pair as if it had a usable text; no bytes where the image cannot be used, as of a duplicate key."""
    status = PairStatus.OK if pair.status in _OF_TEXT else pair.status
    return Pair(pair.key, pair.image if status == PairStatus.OK else None, "", status, pair.url)


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
