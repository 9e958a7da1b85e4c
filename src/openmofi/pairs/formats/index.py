"""The position of each image in its shard, so that training fetches single images without unpacking shards.

An index is made by one pass over a shard's headers and kept as Parquet under the shard's fingerprint: a shard that has
changed is indexed anew.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.formats.folder import read_folder, read_table
from openmofi.pairs.formats.tar import locate_images
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.source import open_source
from openmofi.schema import PairStatus
from openmofi.storage import Shard, file_fingerprint, fingerprint, write_table
from openmofi.storage.addresses import filesystem_of, is_remote
from openmofi.storage.fingerprint import TABLES
from openmofi.storage.shards import TARS

INDEX = pa.schema([pa.field("key", pa.string()), pa.field("file", pa.binary()), pa.field("offset", pa.int64()),
                   pa.field("size", pa.int64())])
"""index: the image of a key is `size` bytes from `offset` on of `file` (as of `os.fsencode`); an empty `file` is the
shard itself, a `size` of −1 the whole file."""

_VERSION = 1
_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"))
_OPEN_FILES = 128


def index_images(shard: Shard, cache: str | Path) -> pa.Table:
    """The positions of a shard's images, schema `INDEX`: read from the cache, or built and stored there.

    Each key's image is the one that `read_pairs` gives; keys without an image are left out.

    Raises:
        UsageError: a shard from which single images cannot be read: a compressed tar, or Parquet.
        OpenMofiError: the shard is missing or cannot be read.
    """
    path = Path(cache) / "index" / f"{fingerprint([_VERSION, shard.path, file_fingerprint(shard.path)])}.parquet"
    if path.exists():
        return pq.read_table(path).cast(INDEX)
    rows = _tar_rows(shard.path) if _is_tar(shard.path) else _folder_rows(shard.path)
    table = pa.table(list(zip(*rows, strict=True)) or [()] * len(INDEX), INDEX)
    write_table(path, table)
    return table


def places_of(shard: Shard, keys: pa.ChunkedArray, cache: str | Path) -> pa.Table:
    """The columns `file`, `offset`, `size` of `INDEX` for each of `keys`.

    Raises:
        OpenMofiError: as `index_images`, or the shard has no image of one of the keys.
    """
    index = index_images(shard, cache)
    rows = pc.index_in(keys, value_set=index["key"].combine_chunks())
    if rows.null_count:
        absent = keys.filter(pc.is_null(rows))[0]
        raise OpenMofiError(f"{shard.path} has no image of the key {absent}: it has changed since it was labelled.",
                            "Restore the old shard, or label it and build the dataset again.")
    return index.select(["file", "offset", "size"]).take(rows)


def _is_tar(path: str) -> bool:
    if not path.endswith(".tar"):
        if path.endswith((".parquet", *TARS)):
            raise _not_seekable(path, "Parquet" if path.endswith(".parquet") else "a compressed tar")
        return False
    with open_source(path) as file:
        start = file.read(8)
    for magic, kind in _COMPRESSED:
        if start.startswith(magic):
            raise _not_seekable(path, f"compressed with {kind}")
    return True


def _not_seekable(path: str, kind: str) -> UsageError:
    return UsageError(f"{path} is {kind}: single images cannot be read from it.",
                      "Store it as a plain .tar (gunzip it, or openmofi.pairs.write_tar of its read_pairs), then label "
                      "and build the dataset again; or train on cached features, which reads shards of any kind.")


def _tar_rows(path: str) -> list[tuple[str, bytes, int, int]]:
    try:
        return [(key, b"", offset, size) for key, offset, size in locate_images(path)]
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the disk, and start again.") from error


def _folder_rows(path: str) -> list[tuple[str, bytes, int, int]]:
    read = read_table if path.endswith(TABLES) else read_folder
    return [(pair.key, pair.image, 0, -1) for pair in read(path, ReadSettings(), paths_only=True)
            if pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY]


@dataclass
class ImageBytes:
    """Fetches images by their positions; keeps the last files open. Each process needs its own."""

    _open: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def fetch(self, shard: Shard, files: Sequence[bytes], offsets: NDArray[np.int64],
              sizes: NDArray[np.int64]) -> list[bytes]:
        """The bytes at these positions of one shard; of a remote one all at once.

        Raises:
            OpenMofiError: a file is missing or cannot be read.
        """
        spans = [(os.fsdecode(file) or shard.path, int(offset), int(size))
                  for file, offset, size in zip(files, offsets, sizes, strict=True)]
        try:
            if is_remote(shard.path):
                return _fetch_remote(spans)
            return [self._read(*span) for span in spans]
        except OSError as error:
            raise OpenMofiError(f"Images of {shard.path} cannot be read: {error}.",
                                "Check that the shard is still there; it was when training started.") from error

    def _read(self, path: str, offset: int, size: int) -> bytes:
        path = path.removeprefix("file://")
        if size < 0:
            return Path(path).read_bytes()
        handle = self._open.pop(path, None)
        if handle is None:
            handle = os.open(path, os.O_RDONLY)
        self._open[path] = handle
        while len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return os.pread(handle, size, offset)

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": OrderedDict()}

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            os.close(self._open.popitem()[1])


def _fetch_remote(spans: Sequence[tuple[str, int, int]]) -> list[bytes]:
    filesystem: Any
    filesystem, _ = filesystem_of(spans[0][0])
    names = [filesystem._strip_protocol(path) for path, _, _ in spans]
    ends = [offset + size if size >= 0 else None for _, offset, size in spans]
    contents: list[bytes] = filesystem.cat_ranges(names, [offset for _, offset, _ in spans], ends, on_error="raise")
    return contents
