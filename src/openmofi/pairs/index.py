"""The position of each image in its shard, so that training fetches single images without unpacking shards.

An index is made by one pass over a shard's headers and kept as Parquet under the shard's fingerprint: a shard that has
changed is indexed anew. Of compressed tars and of Parquet files that hold images no single image can be read (a row
group is read and decompressed whole, for each image of a shuffled batch another): their images are copied once, into a
file beside the index, and found there.
"""

import logging
import os
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.utils import merge_offset_ranges

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError
from openmofi.pairs.formats.listings import holds_images
from openmofi.pairs.formats.parquet import names_files
from openmofi.pairs.formats.streams import compression_of
from openmofi.pairs.formats.tar import locate_images
from openmofi.pairs.read import read_pairs
from openmofi.pairs.read_settings import ReadSettings, open_regular, open_source
from openmofi.schema import Pair, PairStatus
from openmofi.storage import (
    TABLES,
    Shard,
    atomic_path,
    file_fingerprint,
    filesystem_of,
    fingerprint,
    is_remote,
    locked,
    read_parquet,
    remove_leftovers,
    write_table,
)
from openmofi.storage.addresses import store_errors
from openmofi.storage.copies import copy_of, copy_path
from openmofi.storage.layouts import TARS
from openmofi.storage.table_files import is_whole

PLACE = {"file": pa.binary(), "offset": pa.int64(), "size": pa.int64()}
"""Where an image lies: `size` bytes from `offset` on of `file` (as of `os.fsencode`); an empty `file` is the shard
itself, a `size` of −1 the whole file."""
INDEX = pa.schema({"key": pa.string(), **PLACE})
"""The place of the image of each key."""

BLOCK = 1 << 23
"""Bytes that are read of a remote file at once, at most."""
_GAP, _AT_ONCE = 1 << 18, 8
_VERSION = 2
_OPEN_FILES = 128
_Row = tuple[str, bytes, int, int]
_log = logging.getLogger(__name__)


def index_images(shard: Shard, cache: str | Path, read: ReadSettings = ReadSettings(), labelled: str = "") -> pa.Table:
    """Return the positions of a shard's images, schema `INDEX`: read from a cache, or built and stored.

    Each key's image is the one that `read_pairs` gives; keys without an image are left out. Of several processes that
    need the same index one builds it.

    Args:
        shard: of any kind.
        cache: a local folder.
        read: which columns are what; damage is passed over.
        labelled: cache of the job that labelled the shard, which may have the index of a tar, see `writing_index`.

    Raises:
        OpenMofiError: the shard is missing or cannot be read, or the cache cannot be written.
    """
    copy = copy_of_images(shard, cache, read)
    written = index_path(shard, labelled, read) if labelled and not is_remote(labelled) and copy is None else ""
    if written and is_whole(written):
        index = read_parquet(written, INDEX, hint="Remove it and start again.")
        if _lies_within(index, shard):
            return index
    read = replace(read, on_damage="keep")
    path = _cached(shard, cache, read, "index", ".parquet")
    if copy is None:
        if not path.exists():
            _write(path, _rows(shard, read))
    elif not (path.exists() and copy.exists()):
        with locked(copy, lambda: _log.warning("Another process copies the images of %s; this one waits.", shard.path)):
            if not (path.exists() and copy.exists()):
                remove_leftovers(copy.parent)
                _write(path, _copied(shard, read, copy))
    return pq.read_table(path).cast(INDEX)


def _lies_within(index: pa.Table, shard: Shard) -> bool:
    """Whether all positions are in the shard itself: which cache has them may be what a file of others says."""
    filesystem, name = filesystem_of(shard.path)
    size = int(filesystem.size(name))
    offsets, sizes = index["offset"].to_numpy(), index["size"].to_numpy()
    if any(column.null_count for column in index.columns) or not pc.all(pc.equal(index["file"], b"")).as_py():
        return False
    return bool(((offsets >= 0) & (sizes >= 0) & (offsets <= size) & (sizes <= size - offsets)).all())


@contextmanager
def writing_index(shard: Shard, cache: str, read: ReadSettings) -> Generator[Callable[[Sequence[Pair]], None]]:
    """Keep the positions of a tar's images while it is read for something else; yield a function that takes all pairs.

    A shard has no index where no position is known, as of a compressed tar, nor where the cache is in a store: it would
    be one more request.

    Args:
        shard: of any kind.
        cache: a local folder, or an address, in which nothing is kept.
        read: how the shard is read.

    Raises:
        OpenMofiError: the cache cannot be written.
    """
    keys, places = list[str](), array("q")

    def add(pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            if pair.image is not None and pair.offset >= 0 and pair.status != PairStatus.DUPLICATE_KEY:
                keys.append(pair.key)
                places.extend((pair.offset, len(pair.image)))

    yield add
    if keys and not is_remote(cache):
        columns = [keys, [b""] * len(keys), np.array(places[::2]), np.array(places[1::2])]
        write_table(index_path(shard, cache, read), pa.table(columns, INDEX))


def index_path(shard: Shard, cache: str, read: ReadSettings) -> str:
    """Return where `writing_index` keeps the index of a shard."""
    key = fingerprint([_VERSION, replace(read, on_damage="keep")])
    return f"{cache}/index/{key}/{shard.name}-{shard.fingerprint}.parquet"


def copy_of_images(shard: Shard, cache: str | Path, read: ReadSettings = ReadSettings()) -> Path | None:
    """Return where a shard's images are copied, if single ones cannot be read out of it; else `None`.

    Raises:
        OpenMofiError: the shard is missing or cannot be read.
    """
    if shard.path.endswith(".parquet"):
        packed = not names_files(shard.path, read)
    elif shard.path.endswith(TARS):
        with open_source(shard.path) as file:
            packed = compression_of(file.read(8)) is not None
    else:
        packed = not shard.path.endswith((".json", *TABLES)) and holds_images(shard.path)
    return _cached(shard, cache, read, "images", ".bin") if packed else None


def _cached(shard: Shard, cache: str | Path, read: ReadSettings, folder: str, ending: str) -> Path:
    # The rows of an index name a copy by its whole path.
    base = Path(cache).absolute()
    name = fingerprint([_VERSION, shard.path, file_fingerprint(shard.path), replace(read, on_damage="keep"), str(base)])
    return base / folder / f"{name}{ending}"


def _write(path: Path, rows: list[_Row]) -> None:
    write_table(path, pa.table(list(zip(*rows, strict=True)) or [()] * len(INDEX), INDEX))


def places_of(
    shard: Shard, keys: pa.ChunkedArray, cache: str | Path, read: ReadSettings = ReadSettings(), labelled: str = ""
) -> pa.Table:
    """Return the columns `file`, `offset`, `size` of `INDEX` for each of `keys`; see `index_images`.

    Raises:
        OpenMofiError: as `index_images`, or the shard has no image of one of the keys.
    """
    index = index_images(shard, cache, read, labelled)
    rows = pc.index_in(keys, value_set=index["key"].combine_chunks())
    if rows.null_count:
        absent = keys.filter(pc.is_null(rows))[0]
        raise OpenMofiError(
            f"{shard.path} has no image of the key {absent}: it has changed since it was labelled.",
            "Restore the old shard, or label it and build the dataset again.",
        )
    return index.select(["file", "offset", "size"]).take(rows)


def _rows(shard: Shard, read: ReadSettings) -> list[_Row]:
    if not shard.path.endswith(TARS):
        return [(key, file, 0, -1) for key, file in _images(shard, read, paths_only=True)]
    with _reading(shard.path):
        return [(key, b"", offset, size) for key, offset, size in locate_images(shard.path)]


def _copied(shard: Shard, read: ReadSettings, copy: Path) -> list[_Row]:
    """Write the images one behind another."""
    rows, offset = [], 0
    with atomic_path(copy) as temporary, open(temporary, "wb") as out:
        for key, image in _images(shard, read):
            out.write(image)
            rows.append((key, os.fsencode(copy), offset, len(image)))
            offset += len(image)
    return rows


def _images(shard: Shard, read: ReadSettings, *, paths_only: bool = False) -> Iterator[tuple[str, bytes]]:
    with _reading(shard.path):
        for pair in read_pairs(shard, read, paths_only=paths_only):
            if pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY:
                yield pair.key, pair.image


@contextmanager
def _reading(path: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the disk, and start again.") from error


@dataclass
class ImageBytes:
    """Fetches images by their positions; keeps the last files open. Each process needs its own.

    Attributes:
        streams: 0, or for how many windows of remote shards, all of which will soon be wanted, there is room among the
            copies of `openmofi.storage.copies`: they are read in blocks, each once a machine, which are kept there.
            Else single images are, with what lies between near ones.
    """

    streams: int = 0
    _open: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _asking: Thread | None = None

    def fetch(self, shard: Shard, files: Sequence[bytes], offsets: Ints, sizes: Ints) -> list[bytes]:
        """Read the bytes at these positions of one shard; of a remote one all at once.

        Raises:
            OpenMofiError: a file is missing or cannot be read.
        """
        spans = [
            (os.fsdecode(file) or shard.path, int(offset), int(size))
            for file, offset, size in zip(files, offsets, sizes, strict=True)
        ]
        try:
            # A remote shard's images may have been copied to this machine.
            if spans and is_remote(spans[0][0]):
                in_shard = self.streams and {(path, size < 0) for path, _, size in spans} == {(shard.path, False)}
                if in_shard:
                    with suppress(OSError):  # the disk is full, or another process has removed a copy
                        return self._from_blocks(shard, spans)
                return _fetch_remote(spans)
            return [self._read(*span) for span in spans]
        except OSError as error:
            raise OpenMofiError(
                f"Images of {shard.path} cannot be read: {error}.",
                "Put back what was moved or removed since the pairs were labelled.",
            ) from error

    def ask_ahead(self, places: Iterable[tuple[Shard, Ints, Ints]]) -> None:
        """Fetch blocks in a thread before they are wanted, if there is room for three windows.

        Nothing waits for it, and what it could not fetch is fetched when it is wanted. One such thread is at work at a
        time: a block in memory.

        Args:
            places: remote shards, and offsets and sizes of images in them.
        """
        if self.streams > 2 and not (self._asking and self._asking.is_alive()):
            self._asking = Thread(target=_ask, args=(list(places),), daemon=True)
            self._asking.start()

    def _read(self, path: str, offset: int, size: int) -> bytes:
        path = path.removeprefix("file://")
        if size < 0:
            with open_regular(path) as whole:
                return whole.read()
        handle = self._open.pop(path, None)
        if handle is None:
            with open_regular(path) as file:
                handle = os.dup(file.fileno())
        self._open[path] = handle
        while len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return os.pread(handle, size, offset)

    def _from_blocks(self, shard: Shard, spans: Sequence[tuple[str, int, int]]) -> list[bytes]:
        touched = [_blocks_of(offset, size) for _, offset, size in spans]
        wanted = sorted(set(chain.from_iterable(touched)))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            copies = dict(zip(wanted, pool.map(partial(_block, shard), wanted), strict=True))
        images = [
            b"".join(
                self._read(copies[number], start, min(offset + size - number * BLOCK, BLOCK) - start)
                for number in numbers
                for start in [max(offset - number * BLOCK, 0)]
            )
            for (_, offset, size), numbers in zip(spans, touched, strict=True)
        ]
        if any(len(image) < size for image, (_, _, size) in zip(images, spans, strict=True)):
            for path in copies.values():
                if path in self._open:
                    os.close(self._open.pop(path))
                Path(path).unlink(missing_ok=True)
            raise OSError("a block is shorter than the store says")
        return images

    def __getstate__(self) -> dict[str, Any]:
        return {"streams": self.streams, "_open": OrderedDict(), "_asking": None}

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            os.close(self._open.popitem()[1])


def _blocks_of(offset: int, size: int) -> range:
    return range(offset // BLOCK, -(-(offset + size) // BLOCK))


def _ask(places: Iterable[tuple[Shard, Ints, Ints]]) -> None:
    with suppress(OSError, ValueError, OpenMofiError):
        for shard, offsets, sizes in places:
            for number in sorted(set(chain.from_iterable(map(_blocks_of, offsets.tolist(), sizes.tolist())))):
                _block(shard, number)


def _block(shard: Shard, number: int) -> str:
    """Return the local copy of a block of a remote shard; of several processes that want it one fetches it.

    fsspec's own caches of blocks are of one process each.
    """
    filesystem, name = filesystem_of(shard.path)
    address = f"{shard.path}/{shard.fingerprint}/{number}"

    def fetch(target: str) -> None:
        with store_errors(shard.path):
            data = filesystem.cat_file(name, start=number * BLOCK, end=(number + 1) * BLOCK)
        if len(data) > BLOCK:
            raise OpenMofiError(
                f"Images of {shard.path} cannot be read: the server does not send parts of files.",
                "Copy the shards to this machine.",
            )
        Path(target).write_bytes(data)

    if not (path := copy_path(address)).exists():
        with locked(path, lambda: None):
            return str(copy_of(address, fetch))
    return str(copy_of(address, fetch))


def _fetch_remote(spans: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Fetch spans, neighbours in one request; a size of −1 is the whole file."""
    filesystem: Any
    filesystem, _ = filesystem_of(spans[0][0])
    wanted = [
        (filesystem._strip_protocol(path), offset, offset + size if size >= 0 else None) for path, offset, size in spans
    ]
    paths, starts, ends = merge_offset_ranges(*map(list, zip(*wanted, strict=True)), max_gap=_GAP, max_block=BLOCK)
    with store_errors(spans[0][0]):
        fetched = filesystem.cat_ranges(paths, starts, ends, on_error="raise")
    merged = list(zip(paths, starts, strict=True))
    result = []
    for path, offset, end in wanted:
        at = bisect_right(merged, (path, offset)) - 1
        result.append(fetched[at][offset - starts[at] : None if end is None else end - starts[at]])
    return result
