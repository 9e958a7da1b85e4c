"""The rows of a dataset as one memory-mapped file that all processes share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.arrays import Ints
from openmofi.dataset.tables import Folder
from openmofi.engine import Progress
from openmofi.features.notes import noted_cache, noted_read
from openmofi.pairs import ReadSettings
from openmofi.pairs.index import PLACE, copy_of_images, places_of
from openmofi.storage import Shard, atomic_path, fingerprint, locked

_VERSION = 3
_COLUMNS = ("key", "text", "classes", "scores")
_ROW = {"key": pa.string(), "text": pa.string(), "classes": pa.list_(pa.int32()), "scores": pa.list_(pa.float32())}


def open_rows(
    dataset: Folder, starts: Ints, tables: str, sources: Sequence[str], cache: Path, progress: Progress
) -> DatasetRows:
    """Map the rows of a dataset; the file is written to the cache for a new dataset or shard.

    Args:
        dataset: an open dataset.
        starts: (shards + 1,) first row of each shard, and the number of rows.
        tables: changes when the dataset's tables do.
        sources: fingerprints of the shards of pairs, in which the images are located; none where they are not needed.
        cache: local folder.
        progress: counts the shards that are indexed.

    Raises:
        OpenMofiError: a table is damaged; a shard of pairs is missing, or lacks an image.
    """
    with_locations, read = bool(sources), noted_read(dataset.path)
    used = [shard for shard, rows in zip(dataset.shards, np.diff(starts), strict=True) if rows]
    copies = [copy_of_images(shard, cache, read) for shard in used] if with_locations else []
    made_of = [
        _VERSION,
        dataset.manifest.fingerprint,
        starts.tolist(),
        tables,
        list(sources),
        read,
        list(map(str, copies)),
    ]
    path = cache / "rows" / f"{fingerprint(made_of)}.arrow"
    missing = [copy for copy in copies if copy and not copy.exists()]
    if missing or not path.exists():
        with locked(path, lambda: progress.say("Another process reads the dataset's rows; this one waits.")):
            if missing := [copy for copy in missing if not copy.exists()]:
                progress.say(
                    f"{len(missing)} of {len(copies)} shards are Parquet or compressed tars: their images are "
                    f"copied once to {missing[0].parent}, where training can read single ones"
                )
            if missing or not path.exists():
                progress.begin("index", len(dataset.shards))
                _write(path, dataset, cache, progress, read if with_locations else None)
    return DatasetRows(path, starts)


def _write(path: Path, dataset: Folder, cache: Path, progress: Progress, read: ReadSettings | None) -> None:
    """`read` is how to locate the images; `None` leaves their places out."""
    schema, labelled = pa.schema(_ROW | PLACE if read else _ROW), noted_cache(dataset.path)
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), schema) as out:
        for shard in dataset.shards:
            table = dataset.read(shard, _COLUMNS)
            if read and len(table):
                offsets = places_of(shard, table["key"], cache, read, labelled)
                for name in PLACE:
                    table = table.append_column(name, offsets[name])
            # One batch a shard, empty ones too: the number of the shard is that of its batch.
            batches = table.select(schema.names).cast(schema).combine_chunks().to_batches() if len(table) else []
            out.write_batch(*batches or [pa.RecordBatch.from_pylist([], schema)])
            progress.advance({"rows": len(table)})


@dataclass
class DatasetRows:
    """Random access to a dataset's rows; it pickles as its path.

    Attributes:
        path: the Arrow file.
        starts: (shards + 1,) first row of each shard, and the number of rows.
    """

    path: Path
    starts: Ints
    _reader: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "starts": self.starts, "_reader": None}

    def batch(self, shard: int) -> pa.RecordBatch:
        """All rows of a shard, mapped and not read."""
        if self._reader is None:
            self._reader = pa.ipc.open_file(pa.memory_map(str(self.path)))
        return self._reader.get_batch(shard)

    def shards(self, rows: Ints) -> Ints:
        """(n,) int64 shard of each of `rows`."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def by_shard(self, rows: Ints) -> Iterator[tuple[int, Ints, Ints]]:
        """Groups of `rows`: the shard, the positions in `rows`, and the rows within the shard."""
        shards = self.shards(rows)
        order = np.argsort(shards, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1):
            if len(group):
                shard = int(shards[group[0]])
                yield shard, group, rows[group] - self.starts[shard]

    def names(self, rows: Sequence[int], shards: Sequence[Shard]) -> list[str]:
        """Return the names of rows' images, which lie in these shards of pairs, as messages give them."""
        chosen = np.array(rows, np.int64)
        return [
            f"{key} of {shards[shard].path}"
            for key, shard in zip(self.take(chosen, ["key"])["key"].to_pylist(), self.shards(chosen), strict=True)
        ]

    def take(self, rows: Ints, columns: Sequence[str]) -> pa.Table:
        """The rows in the order of `rows`, of these columns."""
        groups = list(self.by_shard(rows))
        parts = [self.batch(shard).select(list(columns)).take(pa.array(within)) for shard, _, within in groups]
        back = np.argsort(np.concatenate([group for _, group, _ in groups]))
        return pa.Table.from_batches(parts).combine_chunks().take(pa.array(back)).combine_chunks()


def flat_lists(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, NDArray[Any]]:
    """A column of lists → the length of each list (n,), and all their values one after another."""
    return np.asarray(pc.list_value_length(column)).astype(np.int64), np.asarray(pc.list_flatten(column))


def labels_of(rows: DatasetRows) -> Iterator[tuple[Ints, Ints, NDArray[np.float32]]]:
    """Yield the labels of each shard: the row and the class of each, (labels,) int64, and its probability, float32."""
    for shard, start in enumerate(rows.starts[:-1]):
        batch = rows.batch(shard)
        lengths, classes = flat_lists(batch["classes"])
        scores = flat_lists(batch["scores"])[1]
        yield start + np.repeat(np.arange(len(lengths)), lengths), classes.astype(np.int64), scores.astype(np.float32)


def padded_labels(table: pa.Table, width: int) -> tuple[Ints, NDArray[np.float32]]:
    """`labels` (n, width) int64, padded with −1, and `label_weights` (n, width) float32; the best-scored come first."""
    lengths, classes = flat_lists(table["classes"])
    _, scores = flat_lists(table["scores"])
    row = np.repeat(np.arange(len(lengths)), lengths)
    column = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    fits = column < width
    labels = np.full((len(lengths), width), -1, np.int64)
    weights = np.zeros((len(lengths), width), np.float32)
    labels[row[fits], column[fits]] = classes[fits]
    weights[row[fits], column[fits]] = scores[fits]
    return labels, weights
