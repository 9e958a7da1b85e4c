"""The shards of pairs behind a dataset: whether they are still those that were labelled."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.arrays import Ints
from openmofi.dataset.origin import Origin
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.pairs.index import ImageBytes
from openmofi.storage import Shard, file_fingerprint, fingerprint, read_json, write_json
from openmofi.storage.addresses import is_remote
from openmofi.storage.tables.footers import parquet_metadata
from openmofi.storage.threads import in_threads
from openmofi.training.data.rows import Rows

_KNOWN = "shards.json"
_THREADS = 16
_COMPARED = 64


def read_footers(dataset: Folder) -> tuple[Ints, list[Origin], str]:
    """What the footers of a dataset's tables say.

    Returns:
        (shards + 1,) int64 first row of each shard, and the number of rows; the origin of each shard; a fingerprint of
        the tables' sizes and times.

    Raises:
        OpenMofiError: a file is missing or damaged, or there are no rows at all.
    """
    counts, origins, marks = [], [], []
    for path, footer, mark in in_threads(_read_footer, map(dataset.file, dataset.shards)):
        counts.append(footer.num_rows)
        origins.append(Origin.parse(path, footer.metadata))
        marks.append(mark)
    if not sum(counts):
        raise OpenMofiError(f"{dataset.path} has no rows.", "Label more pairs and build the dataset again.")
    return np.r_[0, np.cumsum(counts)].astype(np.int64), origins, fingerprint(marks)


def _read_footer(path: str) -> tuple[str, pq.FileMetaData, str]:
    """The path, what stands at the end of the file, and what changes with it."""
    try:
        return path, parquet_metadata(path), file_fingerprint(path) if is_remote(path) else _mark(path)
    except (pa.ArrowException, OSError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise OpenMofiError(f"{path} {reason}.", "Build the dataset again.") from error


def shard_fingerprints(dataset: Folder, cache: Path) -> list[str]:
    """The fingerprint of each shard of pairs as it is now.

    A local file's is kept in the cache with its size and times, so that 100,000 unchanged shards cost as many calls of
    `stat`.

    Raises:
        OpenMofiError: one is missing.
    """
    path = cache / _KNOWN
    known, marks = _known(path), [_mark_of(shard) for shard in dataset.shards]

    def current(shard: Shard, mark: str) -> str:
        kept = known.get(shard.path)
        return kept[1] if mark and kept and kept[0] == mark else file_fingerprint(shard.path)

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            prints = list(pool.map(current, dataset.shards, marks))
    except OpenMofiError as error:
        raise OpenMofiError(
            f"The images of {dataset.path} are not where they were labelled: {error.message}",
            "Put them or a link to them there, or label and build again from where they are now.",
        ) from error
    fresh = {
        shard.path: [mark, value]
        for shard, mark, value in zip(dataset.shards, marks, prints, strict=True)
        if mark and known.get(shard.path) != [mark, value]
    }
    if fresh:
        write_json(path, known | fresh)
    return prints


def require_labelled_images(
    dataset: Folder, origins: Sequence[Origin], fingerprints: Sequence[str], rows: Rows, *, copies: bool
) -> int:
    """Compare the shards with those that were labelled, and some images with how they looked then.

    Args:
        dataset: the dataset.
        origins: of its shards.
        fingerprints: of the shards as they are now.
        rows: with the places of their images.
        copies: a shard may be another copy, whose images look the same in other sizes and bytes.

    Returns:
        How many shards are other copies.

    Raises:
        OpenMofiError: a shard has changed, an image is another one, or cannot be read.
    """
    if not copies:
        for shard, origin, value in zip(dataset.shards, origins, fingerprints, strict=True):
            origin.require_same(shard, value)
    changed = {
        number
        for number, (origin, value) in enumerate(zip(origins, fingerprints, strict=True))
        if not origin.is_same(value)
    }
    same = [number for number, origin in enumerate(origins) if origin.sample and number not in changed]
    few = same[:: -(-len(same) // _COMPARED) or 1]
    reader = ImageBytes()
    for number in [*sorted(changed), *few]:
        sample = origins[number].sample
        within = [seen.row for seen in sample[:: 1 if number in changed else -(-len(sample) * len(few) // _COMPARED)]]
        places = (
            rows.batch(number).select(["key", "file", "offset", "size"]).take(pa.array(within, pa.int64())).to_pydict()
        )
        data = reader.fetch(
            dataset.shards[number], places["file"], np.array(places["offset"]), np.array(places["size"])
        )
        images = dict(zip(within, zip(places["key"], data, strict=True), strict=True))
        origins[number].require_seen(dataset.shards[number], images, any_size=number in changed)
    reader.close()
    return len(changed)


def _mark_of(shard: Shard) -> str:
    """See `_mark`; empty where a shard is no local file."""
    try:
        return "" if is_remote(shard.path) else _mark(shard.path.removeprefix("file://"))
    except OSError:
        return ""


def _mark(path: str) -> str:
    """Changes whenever a file is written to; empty for a folder."""
    entry = Path(path).stat()
    times = f"{entry.st_mtime_ns}-{entry.st_ctime_ns}"
    return f"{entry.st_size}-{times}-{entry.st_ino}" if stat.S_ISREG(entry.st_mode) else ""


def _known(path: Path) -> dict[str, Any]:
    """Path → its mark and fingerprint, as an earlier run wrote them; nothing where the file is missing or damaged."""
    try:
        return read_json(path, dict[str, tuple[str, str]], "", missing={})
    except OpenMofiError:
        return {}
