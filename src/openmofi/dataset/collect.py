"""First pass over the labels: what is accepted, and the counts of everything else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Ints
from openmofi.dataset.duplicates import text_salt
from openmofi.dataset.filters import LabelArrays
from openmofi.dataset.tables import Codebook, Folder, Judged, Surfaces, best_of_pairs, mention_column
from openmofi.knowledge import KnowledgeBase
from openmofi.schema import LabelStatus

_USABLE = tuple(str(status) for status in LabelStatus)


@dataclass
class Counts:
    """Counts over the label table.

    Attributes:
        rows: rows in.
        statuses: `status` → rows; sums to `rows`.
        reasons: `reason` → judged entities.
        usable, mentioned, linked: rows that could be used; of these with a mention; of these with a candidate
            entity.
    """

    rows: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    usable: int = 0
    mentioned: int = 0
    linked: int = 0

    def add(self, table: pa.Table) -> None:
        """Count a shard."""
        self.rows += len(table)
        self.statuses.update(table["status"].to_pylist())
        self.reasons.update(pc.struct_field(pc.list_flatten(table["entities"]), "reason").to_pylist())
        usable = pc.is_in(table["status"], pa.array(_USABLE))
        mentioned = pc.and_(usable, _filled(table["mentions"]))
        self.usable += pc.sum(usable).as_py() or 0
        self.mentioned += pc.sum(mentioned).as_py() or 0
        self.linked += pc.sum(pc.and_(mentioned, _filled(table["entities"]))).as_py() or 0


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.greater(pc.fill_null(pc.list_value_length(column), 0), 0)


@dataclass(frozen=True)
class Collected:
    """The first pass.

    Attributes:
        labels: the accepted labels; images are numbered in reading order over all shards.
        starts: (shards + 1,) number of the first image of each shard.
        row: (images,) int32, each image's row in its shard's table.
        entities: identifiers by entity code.
        counts: see there.
        surfaces: surface forms of the accepted entities; empty with a knowledge base.
    """

    labels: LabelArrays
    starts: Ints
    row: np.ndarray
    entities: list[str]
    counts: Counts
    surfaces: Surfaces


def collect(folder: Folder, kb: KnowledgeBase | None) -> Collected:
    """Read the labels shard by shard; only what the filters need is kept in memory.

    With a knowledge base entities that were merged since are what they were merged into; without one the surface forms
    are counted.
    """
    book, counts, surfaces = Codebook(), Counts(), Surfaces()
    parts: list[tuple[np.ndarray, ...]] = []
    starts = [0]
    for shard in folder.shards:
        table = folder.read(shard)
        counts.add(table)
        judged = Judged.of(table)
        labelled = pc.equal(table["status"], LabelStatus.LABELLED).to_numpy().astype(bool)
        accepted = np.flatnonzero(judged.accepted & labelled[judged.row])
        entity = judged.entity.take(pa.array(accepted))
        if kb is not None:
            entity = kb.current(entity)
        elif len(accepted):
            forms = mention_column(table, "surface").take(pa.array(judged.mention[accepted]))
            surfaces.update(zip(entity.to_pylist(), forms.to_pylist(), strict=True))
        code = book.encode(entity)
        best = best_of_pairs(judged.row[accepted], code, judged.probability[accepted])
        rows, image = np.unique(judged.row[accepted][best], return_inverse=True)
        phash = table["phash"].to_numpy()[rows]
        salt = text_salt(phash, table["text"].take(pa.array(rows)).combine_chunks())
        parts.append(
            (
                image.astype(np.int64) + starts[-1],
                code[best],
                judged.probability[accepted][best],
                phash,
                salt,
                rows.astype(np.int32),
            )
        )
        starts.append(starts[-1] + len(rows))
    image, code, probability, phash, salt, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    labels = LabelArrays(image, code, probability, phash, salt, len(book))
    return Collected(labels, np.array(starts), rows, book.values, counts, surfaces)
