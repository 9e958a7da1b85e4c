"""The rows of a dataset as one memory-mapped file that all processes share, and which of them are held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from openmofi.errors import UsageError
from openmofi.evaluation.bands import thirds_of
from openmofi.features.store import noted_cache, noted_read
from openmofi.knowledge.texts import filled
from openmofi.pairs import ReadSettings
from openmofi.pairs.index import PLACE, copy_of_images, places_of
from openmofi.storage import Shard, atomic_path, fingerprint, hash64
from openmofi.training.recipe import EvaluateSettings

_VERSION = 2
_COLUMNS = ("key", "text", "classes", "scores")
_ROW = {
    "key": pa.string(),
    "text": pa.string(),
    "classes": pa.list_(pa.int32()),
    "scores": pa.list_(pa.float32()),
}


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
        if missing:
            progress.say(
                f"{len(missing)} of {len(copies)} shards are Parquet or compressed tars: their images are "
                f"copied once to {missing[0].parent}, where training can read single ones"
            )
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


def labels_of(rows: DatasetRows) -> tuple[Ints, Ints, NDArray[np.float32]]:
    """Each label of the dataset: its row and its class, (labels,) int64, and its probability, float32."""
    batches = [rows.batch(shard) for shard in range(len(rows.starts) - 1)]
    lengths, classes = (
        np.concatenate(part) for part in zip(*(flat_lists(batch["classes"]) for batch in batches), strict=True)
    )
    scores = np.concatenate([flat_lists(batch["scores"])[1] for batch in batches])
    return np.repeat(np.arange(len(lengths)), lengths), classes.astype(np.int64), scores.astype(np.float32)


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


_GALLERY = "gallery"


@dataclass(frozen=True)
class HeldOut:
    """Rows that evaluators see and that are never trained on.

    Attributes:
        rows: (n,) int64, ascending.
        labels: (n,) int64, the best-scored class of each; of the held-out classes, where classes are held out.
        gallery: (n,) bool, a random half: the labelled images of kNN, whose queries are the others.
        texts: for each template the texts of the classes that `labels` has, ascending: as training fills them.
        bands: (n,) int64 which of `evaluation.metrics.bands.BANDS` the class of each is, by the images of the dataset.
    """

    rows: Ints
    labels: Ints
    gallery: NDArray[np.bool_]
    texts: Sequence[Sequence[str]]
    bands: Ints


def hold_out(
    rows: DatasetRows,
    settings: EvaluateSettings,
    class_ids: Sequence[str],
    counts: Ints,
    names: Sequence[str],
    templates: Sequence[str],
    seed: int,
) -> HeldOut:
    """Choose the rows that are held out: of all rows or classes those with the lowest draws.

    Args:
        rows: of the dataset.
        settings: share, limit, and whether rows or classes are drawn.
        class_ids: (classes,) entities.
        counts: (classes,) images of each class.
        names: (classes,) of the classes.
        templates: of their texts, see `HeldOut`; one with `{description}` is left out.
        seed: of the draws, where the settings have none.

    Raises:
        UsageError: too few rows are held out for the evaluators, or all of them.
    """
    seed = seed if settings.seed is None else settings.seed
    if settings.held_out_by == "row":
        keys = (key for shard in range(len(rows.starts) - 1) for key in rows.batch(shard)["key"].to_pylist())
        draws = draws_of(keys, seed)
        lowest = np.argsort(draws, kind="stable")[: settings.limit]
        chosen, eligible = np.sort(lowest[draws[lowest] < settings.held_out]), np.arange(len(class_ids))
    else:
        draws = draws_of(class_ids, seed)
        order = np.argsort(draws, kind="stable")
        eligible = _within(order[draws[order] < settings.held_out], counts, settings.limit)
        row, label, _ = labels_of(rows)
        chosen = np.unique(row[np.isin(label, eligible)])
    if len(chosen) in (0, rows.starts[-1]):
        raise UsageError(
            f"run.evaluate.held_out is {settings.held_out:g}, which holds out {len(chosen)} of {rows.starts[-1]} rows.",
            "Set another share, such as --set run.evaluate.held_out=0.3, or run.evaluate.held_out_by or limit.",
        )
    table = rows.take(chosen, ["key", "classes"])
    lengths, classes = flat_lists(table["classes"])
    is_eligible = np.isin(classes, eligible)
    first = np.unique(np.repeat(np.arange(len(chosen)), lengths)[is_eligible], return_index=True)[1]
    labels = classes[is_eligible][first].astype(np.int64)
    gallery = draws_of(table["key"].to_pylist(), seed, _GALLERY) < 0.5
    if settings.retrieval and len(np.unique(labels)) == len(labels):
        raise UsageError(
            f"Of {len(chosen)} held-out rows no two have one class, so that retrieval has no positives.",
            "Set a greater run.evaluate.held_out, or run.evaluate.held_out_by: class.",
        )
    if settings.knn and (gallery.all() or gallery.sum() < settings.neighbours):
        raise UsageError(
            f"Of {len(chosen)} held-out rows {gallery.sum()} are kNN's labelled images, fewer than "
            f"run.evaluate.neighbours = {settings.neighbours}, or all.",
            "Set a greater run.evaluate.held_out, or fewer neighbours.",
        )
    usable = [template for template in templates if "{description}" not in template] or ["{name}"]
    texts = [[filled(template, names[label], "") for label in np.unique(labels)] for template in usable]
    return HeldOut(chosen, labels, gallery, texts, thirds_of(labels, counts))


def _within(classes: Ints, counts: Ints, limit: int) -> Ints:
    """Those of the classes, in their order, that have `limit` images together; one that is too large is passed over."""
    selected, images = [], 0
    for label, count in zip(classes.tolist(), counts[classes].tolist(), strict=True):
        if images + count <= limit:
            selected.append(label)
            images += count
    return np.array(selected, np.int64)


def draws_of(keys: Iterable[str], seed: int, purpose: str = "") -> NDArray[np.float64]:
    """A number of [0, 1) for each key, by its hash."""
    salt = f"{seed}/{purpose}/".encode()
    hashes = (hash64(salt + key.encode()) for key in keys)
    return np.fromiter(hashes, np.uint64) / 2.0**64
