"""Evaluation sets as they lie on disk: folders of images, shards of pairs, tables of hashes, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Meta

from openmofi.arrays import Bools, Hashes
from openmofi.config import Settings
from openmofi.dataset.dataset_settings import MAX_BITS
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.images import ImageSource, Load, file_sources, images_in, shard_source
from openmofi.features.stream import ahead
from openmofi.pairs import ImageRefused, describe
from openmofi.pairs.images.decode import MAX_PIXELS, decoding
from openmofi.schema import PairStatus
from openmofi.storage import MANIFEST, exists, expand_shards, file_fingerprint, fingerprint, is_remote

AUTO = "auto"


@dataclass(frozen=True)
class ExclusionSettings(Settings):
    """What counts as a copy of an evaluation image.

    Attributes:
        bits: greatest Hamming distance of two 64-bit perceptual hashes, 0..12.
        cosine: least cosine of two images' backbone features, 0..1; `None`: measured for each set, see
            `plugins/evaluation_copies.py:measure_threshold`.
        embedding: whether features are compared at all; otherwise hashes alone.
    """

    bits: Annotated[int, Meta(ge=0, le=MAX_BITS)] = 3
    cosine: Annotated[float, Meta(gt=0, le=1)] | None = None
    embedding: bool = True


@dataclass(frozen=True)
class Excluded:
    """`images`: bool (labelled images,), which stay out; `table`: `schema.EXCLUDED`; `sets`: figures by name."""

    images: Bools
    table: pa.Table
    sets: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Exclusion:
    """Evaluation sets by name, their paths, and what counts as a copy."""

    sets: dict[str, str]
    settings: ExclusionSettings = ExclusionSettings()

    @classmethod
    def of(cls, sets: Sequence[str], bits: int = 3, cosine: float | str | None = AUTO) -> Exclusion | None:
        """Make it of what a caller gives; `None` where no set is given.

        Args:
            sets: each PATH or NAME=PATH; without a name it is the path's last part.
            bits: see `ExclusionSettings`.
            cosine: a number, `"auto"`: measured, or `None` or `"off"`: hashes alone.

        Raises:
            UsageError: two sets have one name, or a value is out of its range.
        """
        named: dict[str, str] = {}
        for each in sets:
            name, separator, path = each.partition("=")
            if not separator or "/" in name:
                name, path = PurePosixPath(each.rstrip("/")).name, each
            if not name or not path:
                raise UsageError(f"--exclude {each!r} names no evaluation set.", "Give PATH or NAME=PATH.")
            if name in named:
                raise UsageError(f"Two evaluation sets are both named {name!r}.", "Give one as NAME=PATH.")
            named[name] = path
        return cls(named, _settings(bits, cosine)) if named else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the manifest."""
        return {"sets": self.sets, **self.settings.as_dict()}


def _settings(bits: int, cosine: float | str | None) -> ExclusionSettings:
    if cosine is None or cosine == "off":
        return ExclusionSettings(bits, None, False)
    if cosine == AUTO:
        return ExclusionSettings(bits)
    try:
        return ExclusionSettings(bits, float(cosine))
    except ValueError as error:
        raise UsageError(f"exclude-cosine is {cosine!r}; it must be a number, 'auto' or 'off'.") from error


_HASHES = "phash"
_BATCH = 64


@dataclass(frozen=True)
class EvaluationSet:
    """An evaluation set that was found on disk; it has images, or only their hashes.

    Attributes:
        name: its name.
        path: where it lies.
        fingerprint: changes when the images do.
        sources: its images; empty where only hashes are known.
        keys: of the hashes, else empty.
        hashes: uint64, 0 for none.
    """

    name: str
    path: str
    fingerprint: str
    sources: tuple[ImageSource, ...] = ()
    keys: tuple[str, ...] = ()
    hashes: Hashes | None = None


def find_set(name: str, path: str) -> EvaluationSet:
    """Find an evaluation set: labels, a local Parquet table with a column `phash`, shards of pairs (which may lie
    in a store), or a folder of images.

    Raises:
        OpenMofiError: nothing is there, or it has no images; names the set.
    """
    if not is_remote(path) and Path(path).is_dir():
        if exists(f"{path}/{MANIFEST}"):
            return _of_labels(name, path)
        listed = expand_shards([path]) if any(Path(path).iterdir()) else []
        shards = [shard for shard in listed if not Path(shard.path).is_dir()]
        if not shards:
            return _of_folder(name, path)
        return _of_sources(name, path, [shard_source(shard) for shard in shards])
    if path.endswith(".parquet") and Path(path).is_file() and _HASHES in _columns(path):
        return _of_table(name, path)
    if not is_remote(path) and not Path(path).exists() and not any(mark in path for mark in "*?[{"):
        raise OpenMofiError(f"The evaluation set {name!r} is not at {path}: nothing is there.", "Check the path.")
    return _of_sources(name, path, [shard_source(shard) for shard in expand_shards([path])])


def _of_sources(name: str, path: str, sources: Sequence[ImageSource]) -> EvaluationSet:
    return EvaluationSet(name, path, fingerprint([source.stamp for source in sources]), tuple(sources))


def _of_folder(name: str, path: str) -> EvaluationSet:
    files = images_in(Path(path))
    if not files:
        raise OpenMofiError(
            f"The evaluation set {name!r} has no images: {path} has neither shards nor image files.",
            "Give a folder of class folders, shards of pairs, or a table of hashes.",
        )
    return _of_sources(name, path, file_sources(path, files, name))


def _of_labels(name: str, path: str) -> EvaluationSet:
    folder = Folder.open(path, "labels")
    tables = [folder.read(shard, ["key", _HASHES]) for shard in folder.shards]
    return _of_hashes(name, path, folder.manifest.fingerprint, pa.concat_tables(tables))


def _columns(path: str) -> list[str]:
    try:
        return pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise OpenMofiError(f"{path} cannot be read as Parquet: {error}.", "Check the path.") from error


def _of_table(name: str, path: str) -> EvaluationSet:
    columns = [_HASHES, *({"key"} & set(_columns(path)))]
    return _of_hashes(name, path, file_fingerprint(path), pq.read_table(path, columns=columns))


def _of_hashes(name: str, path: str, mark: str, table: pa.Table) -> EvaluationSet:
    column = table[_HASHES].combine_chunks()
    if not pa.types.is_integer(column.type) or column.type.bit_width != 64:
        raise OpenMofiError(f"The column phash of {path} is of type {column.type}.", "Give 64-bit integers.")
    hashes = column.fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
    if not hashes.any():
        raise OpenMofiError(
            f"The evaluation set {name!r} has no images: none of the {len(hashes)} rows of {path} has a hash.",
            "Check the path.",
        )
    keys = map(str, table["key"].to_pylist() if "key" in table.column_names else range(len(hashes)))
    return EvaluationSet(name, path, mark, (), tuple(keys), hashes)


def hash_images(source: ImageSource, unusable: Counter[str]) -> Iterator[tuple[str, int]]:
    """(key, hash) of each usable image; the others are counted by status."""
    with closing(ahead(source.read(), lambda item: _hash(item[1]), _BATCH)) as batches:
        for batch in batches:
            for (key, _), (status, phash) in batch:
                if status == PairStatus.OK:
                    yield key, phash
                else:
                    unusable[str(status)] += 1


def _hash(load: Load) -> tuple[PairStatus, int]:
    pair = load()
    if pair.image is None:
        return (PairStatus.IMAGE_MISSING if pair.status == PairStatus.OK else pair.status), 0
    try:
        with decoding(pair.image, max_pixels=MAX_PIXELS) as decoded:
            return PairStatus.OK, describe(decoded).phash
    except ImageRefused as refused:
        return refused.status, 0


def some_images(sources: Sequence[ImageSource], rows: Sequence[int]) -> Iterator[tuple[int, Load]]:
    """The images at some rows, counted over all sources; only these are loaded from files."""
    wanted, row = set(rows), 0
    for source in sources:
        for _, load in source.read():
            if row in wanted:
                yield row, partial(load)
            row += 1
