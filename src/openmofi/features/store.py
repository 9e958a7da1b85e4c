"""The feature store: features of images by an encoder's backbone, computed once for every room that asks.

A file `CACHE/features/KEY/NAME-STAMP.arrow` holds a shard: KEY names all that decides a feature (backbone and
preprocessing, decoding, batch size, number type), STAMP the shard's content. A label job notes in `features.json` where
it keeps them and how they were made; the dataset built of it takes the note along, so that training finds them.
Evaluations share one cache of their own: they decode at full size and keep float32, as published protocols do. Files
are Arrow IPC, uncompressed: they are memory-mapped, not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.arrays import Array, Bools, Floats
from openmofi.encoders import Encoder
from openmofi.errors import OpenMofiError
from openmofi.features.notes import NOTE, noted_cache, read_note
from openmofi.features.stream import lane
from openmofi.pairs import ImageRefused, ReadSettings, describe
from openmofi.pairs.images.decode import MAX_PIXELS, decoding
from openmofi.pairs.images.formats import HEIC, heic_readable
from openmofi.schema import Pair, PairStatus, features_schema
from openmofi.storage import Shard, cache_folder, digits64, exists, fingerprint, read_arrow, read_json, write_json
from openmofi.storage.addresses import filesystem_of, is_remote, names_in
from openmofi.storage.table_files import arrow_blocks, is_whole, read_arrow_blocks, whole

_VERSION = 3
_UNREAD = ".unread.json"


@dataclass(frozen=True)
class PreparedImage:
    """A decoded image.

    Attributes:
        key: of its pair.
        status: `PairStatus.OK`, or why there are no pixels.
        width, height: of the image as stored, upright, in pixels.
        phash: 64-bit perceptual hash; `None` where none is asked for.
        content: 16 hexadecimal digits of the encoded bytes.
        pixels: the encoder's input, see `Encoder.preprocess`.
        format: the name of a format that is not read, else `""`.
        seen: what `look` of `FeatureStore.prepare` returned.
    """

    key: str
    status: PairStatus
    width: int = 0
    height: int = 0
    phash: int | None = None
    content: str = ""
    pixels: Any = None
    format: str = ""
    seen: Any = None


@dataclass(frozen=True)
class StoredFeatures:
    """The images of a shard as the backbone sees them.

    Attributes:
        table: `schema.features_schema`, one row an image, in the order of the shard.
    """

    table: pa.Table

    @cached_property
    def values(self) -> Floats:
        """(rows, feature_dim) float16 or float32, memory-mapped where it is one block; zeros where the image was not
        usable.
        """
        # Joining chunks, even a single one, would copy.
        column = self.table.column("feature")
        chunk = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        flat: Floats = chunk.flatten().to_numpy(zero_copy_only=len(chunk) > 0)
        return flat.reshape(len(chunk), column.type.list_size)

    @cached_property
    def usable(self) -> Bools:
        """(rows,) whether the image could be used."""
        return np.array(self.table.column("status").to_pylist(), object) == PairStatus.OK


def content_digits(image: bytes | None) -> str:
    """16 hexadecimal digits of an image's encoded bytes; none where there are none."""
    return "" if image is None else digits64(image)


@dataclass(frozen=True)
class FeatureStore:
    """Computes features and keeps them in a cache; may be pickled (see `Encoder`).

    Attributes:
        cache: local folder or fsspec URL; jobs may share it.
        encoder: gives the features.
        read: how pairs are read.
        batch_size: images a forward pass. Batches do not cross shards, so that a shard's bytes depend on it alone.
        max_pixels: larger images are refused before they are decoded.
        full_size: decode JPEGs at full size. Otherwise they may be decoded at 1/2, 1/4 or 1/8, as long as twice the
            encoder's size is kept, which is faster and changes an embedding slightly.
        hashes: also compute the perceptual hash.
        dtype: `float16` or `float32`.
    """

    cache: str
    encoder: Encoder
    read: ReadSettings = ReadSettings()
    batch_size: int = 64
    max_pixels: int = MAX_PIXELS
    full_size: bool = False
    hashes: bool = True
    dtype: str = "float16"

    @cached_property
    def folder(self) -> str:
        """The folder of the files of these settings."""
        key = fingerprint(
            [
                _VERSION,
                self.encoder.feature_fingerprint,
                asdict(self.read),
                self.batch_size,
                self.max_pixels,
                self.size_hint,
                self.hashes,
                self.dtype,
            ]
        )
        return f"{self.cache}/features/{key}"

    @property
    def size_hint(self) -> int | None:
        """The size for which JPEGs are decoded, see `openmofi.pairs.decode`; `None` for full size."""
        return None if self.full_size else self.encoder.preprocessing.decode_size

    def note(self, folder: str | Path) -> None:
        """Write where the features are and how they were made into `folder/features.json`; see `noted`."""
        cache = self.cache if is_remote(self.cache) else str(Path(self.cache).absolute())
        write_json(
            f"{folder}/{NOTE}",
            {
                "cache": cache,
                "key": self.folder.rpartition("/")[2],
                "read": asdict(self.read),
                "batch_size": self.batch_size,
                "max_pixels": self.max_pixels,
            },
        )

    @classmethod
    def noted(cls, folder: str | Path, encoder: Encoder) -> FeatureStore | None:
        """The store of the label job that `folder`, labels or a dataset, came from; `None` where nothing is noted.

        It is in this user's own cache where the noted one holds no features: others may have noted any place.

        Raises:
            OpenMofiError: the note is damaged.
        """
        if (note := read_note(folder)) is None:
            return None
        cache = noted_cache(folder)
        own = cache if cache and exists(f"{cache}/features") else str(cache_folder())
        return cls(own, encoder, note.read, note.batch_size, note.max_pixels)

    def path(self, name: str, stamp: str) -> str:
        """The file of a shard; it appears when it is whole.

        Args:
            name: of the shard.
            stamp: changes when its content does, see `Shard.fingerprint`.

        Raises:
            OpenMofiError: the stamp is none, as a manifest of others may have it.
        """
        if not stamp.isalnum():
            raise OpenMofiError(f"{stamp!r} is no fingerprint of the shard {name}.", "Label the pairs again.")
        return f"{self.folder}/{name}-{stamp}.arrow"

    def has(self, name: str, stamp: str) -> bool:
        """Whether the features of a shard have been computed, and no image of it could be read now that could not.

        A file that was cut off since does not count.
        """
        return is_whole(self.path(name, stamp)) and not (heic_readable() and HEIC in self.unread_formats(name, stamp))

    def having(self, shards: Sequence[Shard]) -> set[Shard]:
        """The shards of which `has` is true; asked for by a listing where the cache is in a store."""
        there = whole([self.path(shard.name, shard.fingerprint) for shard in shards])
        available = {shard for shard, is_there in zip(shards, there, strict=True) if is_there}
        if heic_readable():
            unread = self.with_unread()
            available -= {
                shard
                for shard in available
                if self._unread_path(shard.name, shard.fingerprint) in unread
                and HEIC in self.unread_formats(shard.name, shard.fingerprint)
            }
        return available

    def with_unread(self) -> frozenset[str]:
        """The files of `unread_formats` that exist."""
        return frozenset(f"{self.folder}/{name}" for name in names_in(self.folder) if name.endswith(_UNREAD))

    def open(self, name: str, stamp: str) -> StoredFeatures:
        """The features of a shard.

        Raises:
            OpenMofiError: they have not been computed, or the file is damaged.
        """
        return StoredFeatures(read_arrow(self.path(name, stamp)))

    def blocks(self, name: str, stamp: str) -> Iterator[StoredFeatures]:
        """The features of a shard, a block of rows at a time; see `openmofi.storage.table_files`.

        Raises:
            OpenMofiError: as `open`.
        """
        return map(StoredFeatures, read_arrow_blocks(self.path(name, stamp)))

    def columns(self, name: str, stamp: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of a shard's `features_schema` in blocks of rows, without reading the others.

        Raises:
            OpenMofiError: as `open`.
        """
        return read_arrow_blocks(self.path(name, stamp), columns)

    def unread_formats(self, name: str, stamp: str, among: Collection[str] | None = None) -> dict[str, int]:
        """Images of a shard in formats that were not read: name → number; a file beside the features, if any.

        Where it is known which of these there are (`with_unread`), only those are asked for.
        """
        if among is not None and self._unread_path(name, stamp) not in among:
            return {}
        path = self._unread_path(name, stamp)
        return read_json(path, dict[str, int], "Remove it; features are computed again.", missing={})

    def _unread_path(self, name: str, stamp: str) -> str:
        return self.path(name, stamp).removesuffix(".arrow") + _UNREAD

    def prepare(self, pair: Pair, look: Callable[[Any], Any] | None = None) -> PreparedImage:
        """Decode and preprocess an image; thread-safe. A pair's own status counts only where it has no bytes.

        Args:
            pair: of the image.
            look: is given the decoded image, RGB.

        Raises:
            MemoryError, OSError: the machine is short of memory or open files: no verdict on the image.
        """
        if pair.image is None:
            missing = pair.status == PairStatus.OK
            return PreparedImage(pair.key, PairStatus.IMAGE_MISSING if missing else pair.status)
        content = content_digits(pair.image)
        try:
            with decoding(pair.image, max_pixels=self.max_pixels, size_hint=self.size_hint) as decoded:
                phash = describe(decoded).phash if self.hashes else None
                return PreparedImage(
                    pair.key,
                    PairStatus.OK,
                    decoded.width,
                    decoded.height,
                    phash,
                    content,
                    self.encoder.preprocess(decoded.image),
                    seen=look(decoded.image) if look else None,
                )
        except ImageRefused as refused:
            return PreparedImage(pair.key, refused.status, content=content, format=refused.format)

    def embed(self, images: Sequence[PreparedImage]) -> Array:
        """(n, feature_dim) float32; zeros for images without pixels."""
        features = np.zeros((len(images), self.encoder.feature_dim), np.float32)
        usable = [row for row, image in enumerate(images) if image.pixels is not None]
        if usable:
            features[usable] = self.encoder.image_features(self.encoder.batch([images[row].pixels for row in usable]))
        return features

    @contextmanager
    def embedding(
        self,
        name: str,
        stamp: str,
        *,
        first: bool = False,
    ) -> Generator[Callable[[Sequence[PreparedImage]], None]]:
        """Embed a shard's images and keep their features; yield a function that takes the images in order, in batches.

        It waits for the encoder only where two batches are before it, and the encoder does not wait for the file.

        Args:
            name, stamp, first: see `writing`.

        Raises:
            OpenMofiError: the cache cannot be written.
        """

        def embedded(images: Sequence[PreparedImage]) -> tuple[list[PreparedImage], Array]:
            features = self.embed(images)
            return [replace(image, pixels=None) for image in images], features

        with self.writing(name, stamp, first=first) as add, lane() as write, lane() as embed:

            def take(images: Sequence[PreparedImage]) -> None:
                rows = embed(embedded, images)
                write(lambda: add(*rows.result()))

            yield take

    @contextmanager
    def writing(
        self,
        name: str,
        stamp: str,
        *,
        first: bool = False,
    ) -> Generator[Callable[[Sequence[PreparedImage], Array], None]]:
        """Keep a shard's features; yield a function that takes images and their features, (n, feature_dim), in order.

        Args:
            name, stamp: of the shard.
            first: nothing has been kept of it before, which is then not asked for.

        Raises:
            OpenMofiError: the cache cannot be written.
        """
        dim = self.encoder.feature_dim
        schema = features_schema(dim, self.dtype)
        unread: Counter[str] = Counter()
        with arrow_blocks(self.path(name, stamp), schema) as add:

            def add_images(images: Sequence[PreparedImage], features: Array) -> None:
                columns: list[list[Any]] = [
                    [image.key for image in images],
                    [str(image.status) for image in images],
                    [image.width for image in images],
                    [image.height for image in images],
                    [image.phash for image in images],
                    [image.content for image in images],
                ]
                arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=False)]
                flat = pa.array(features.astype(self.dtype).reshape(-1))
                add(pa.Table.from_arrays([*arrays, pa.FixedSizeListArray.from_arrays(flat, dim)], schema=schema))
                unread.update(image.format for image in images if image.format)

            yield add_images
            # Before the features appear, whose presence says that all is there.
            beside = self._unread_path(name, stamp)
            if unread:
                write_json(beside, unread)
            elif not first and exists(beside):  # of an earlier time, when fewer formats could be read
                filesystem, path = filesystem_of(beside)
                filesystem.rm_file(path)
