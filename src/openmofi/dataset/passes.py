"""The two passes over labels, a task a shard: what is accepted; and the rows of what the filters have left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Codes
from openmofi.dataset.filters import text_salt
from openmofi.dataset.origin import SEEN, Origin
from openmofi.dataset.tables import Folder, Judged, as_array, mention_column, run_starts
from openmofi.engine.steps import Summary
from openmofi.knowledge import KnowledgeBase
from openmofi.schema import DATASET, LabelStatus
from openmofi.storage import Shard, read_parquet, write_table

_USABLE = tuple(str(status) for status in LabelStatus)


class LabelCounts(Summary, frozen=True):
    """Counts over label tables.

    Attributes:
        rows: rows in.
        statuses: `status` → rows; sums to `rows`.
        reasons: `reason` → judged entities.
        usable, mentioned, linked: rows that could be used; of these with a mention; of these with a candidate
            entity.
    """

    NOTE = "openmofi.counts"
    rows: int = 0
    statuses: dict[str, int] = msgspec.field(default_factory=dict)
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    usable: int = 0
    mentioned: int = 0
    linked: int = 0

    @classmethod
    def of_table(cls, table: pa.Table) -> Self:
        """Count a shard."""
        usable = pc.is_in(table["status"], pa.array(_USABLE))
        mentioned = pc.and_(usable, _filled(table["mentions"]))
        linked = pc.and_(mentioned, _filled(table["entities"]))
        return cls(
            len(table),
            Counter(table["status"].to_pylist()),
            Counter(pc.struct_field(pc.list_flatten(table["entities"]), "reason").to_pylist()),
            *(pc.sum(which).as_py() or 0 for which in (usable, mentioned, linked)),
        )


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.greater(pc.fill_null(pc.list_value_length(column), 0), 0)


_LABEL = pa.struct({"entity": pa.string(), "probability": pa.float32(), "surfaces": pa.list_(pa.string())})
ACCEPTED = pa.schema({"row": pa.int32(), "phash": pa.uint64(), "salt": pa.uint64(), "labels": pa.list_(_LABEL)})
"""An image with accepted labels: its row in the label table, what near duplicates are found by, each entity once with
its best probability and, without a knowledge base, the surface forms that were accepted for it."""


@dataclass(frozen=True)
class Chosen:
    """A shard, and what the filters left of it.

    Attributes:
        shard: of the labels.
        stamp: fingerprint of the shard of pairs that was labelled.
        classes: (accepted labels,) the class of each, −1 where it stays out.
    """

    shard: Shard
    stamp: str
    classes: Codes

    def __str__(self) -> str:
        return str(self.shard)


@dataclass(frozen=True)
class Passes:
    """The tasks; sent to workers.

    Attributes:
        labels: reads the label tables.
        kb: says what entities were merged into, if there is one.
        folder: gets a table `ACCEPTED` of each shard.
        images: folder that gets a table `schema.DATASET` of each.
    """

    labels: Folder
    kb: KnowledgeBase | None
    folder: str
    images: str

    def path(self, shard: Shard) -> str:
        """Return the path of what is accepted of a shard."""
        return f"{self.folder}/{shard.name}.parquet"

    def accepted(self, shard: Shard) -> pa.Table:
        """Read what is accepted of a shard.

        Raises:
            OpenMofiError: it is missing or damaged.
        """
        return read_parquet(self.path(shard), ACCEPTED, hint="Remove it and start the same command again.")

    def collect(self, shard: Shard) -> dict[str, Any]:
        """Write what is accepted of a shard; the footer has the counts."""
        table = self.labels.read(shard)
        judged = Judged.of(table)
        labelled = pc.equal(table["status"], LabelStatus.LABELLED).to_numpy().astype(bool)
        accepted = np.flatnonzero(judged.accepted & labelled[judged.row])
        row, probability = judged.row[accepted], judged.probability[accepted]
        entity = judged.entity.take(pa.array(accepted))
        entity = entity if self.kb is None else self.kb.current(entity)
        code = entity.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        order = np.lexsort((-probability.astype(np.float64), code, row))
        first = np.flatnonzero(run_starts(row[order], code[order]))
        best = order[first]
        surfaces = pa.nulls(len(best), _LABEL.field("surfaces").type)
        if self.kb is None:
            forms = mention_column(table, "surface").take(pa.array(judged.mention[accepted][order]))
            surfaces = pa.ListArray.from_arrays(np.r_[first, len(order)].astype(np.int32), forms)
        columns = [entity.take(pa.array(best)), pa.array(probability[best], pa.float32()), surfaces]
        rows, starts = np.unique(row[best], return_index=True)
        phash = table["phash"].to_numpy()[rows]
        salt = text_salt(phash, table["text"].take(pa.array(rows)).combine_chunks())
        labels = pa.ListArray.from_arrays(
            np.r_[starts, len(best)].astype(np.int32), pa.StructArray.from_arrays(columns, fields=list(_LABEL))
        )
        images = pa.table([pa.array(rows, pa.int32()), phash, salt, labels], schema=ACCEPTED)
        write_table(self.path(shard), images, LabelCounts.of_table(table).notes())
        return {"rows": len(table)}

    def write(self, task: Chosen) -> dict[str, Any]:
        """Write the dataset's rows of a shard."""
        accepted, shard = self.accepted(task.shard), task.shard
        of_image = as_array(accepted["labels"])
        labels, image = of_image.flatten(), pc.list_parent_indices(of_image).to_numpy(zero_copy_only=False)
        scores = labels.field("probability").to_numpy(zero_copy_only=False)
        chosen = np.flatnonzero(task.classes >= 0)
        # An image's labels: best first.
        chosen = chosen[np.lexsort((task.classes[chosen], -scores[chosen], image[chosen]))]
        images, counts = np.unique(image[chosen], return_counts=True)
        offsets = pa.array(np.r_[0, np.cumsum(counts)].astype(np.int32))
        table = self.labels.read(shard, ["key", "text", *SEEN]).take(accepted["row"].take(pa.array(images)))
        columns = [
            pa.array([shard.name] * len(table), pa.string()),
            table["key"],
            table["text"],
            pa.ListArray.from_arrays(offsets, pa.array(task.classes[chosen], pa.int32())),
            pa.ListArray.from_arrays(offsets, labels.field("entity").take(pa.array(chosen))),
            pa.ListArray.from_arrays(offsets, pa.array(scores[chosen], pa.float32())),
        ]
        metadata = Origin.of(task.stamp, table).metadata()
        write_table(f"{self.images}/{shard.name}.parquet", pa.table(columns, schema=DATASET), metadata)
        return {"rows": len(table)}
