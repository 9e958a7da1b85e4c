"""Links of many pairs as flat arrays, which is what selection computes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LinkArrays:
    """One element a candidate, ordered by pair, mention, descending link score.

    Attributes:
        entity_ids: identifiers that occur, sorted; `entity` indexes them.
        pair: row of the pair in its shard, int64.
        mention: index of the mention in its pair, int64.
        entity: index into `entity_ids`, int64.
        prior, link_score: float32, see `openmofi.schema.Link`.
        judged: bool, whether the image judges it (the best `max_candidates` of each mention).
    """

    entity_ids: pa.Array
    pair: Ints
    mention: Ints
    entity: Ints
    prior: Floats
    link_score: Floats
    judged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def group(self) -> Ints:
        """Number of the (pair, mention) that each element belongs to: 0, 1, 2 …, non-decreasing."""
        if not len(self):
            return np.zeros(0, np.int64)
        new = (np.diff(self.pair) != 0) | (np.diff(self.mention) != 0)
        return np.concatenate([[0], np.cumsum(new)]).astype(np.int64)


def link_arrays(links: pa.ListArray | pa.ChunkedArray, max_candidates: int) -> LinkArrays:
    """Flatten the `links` column of a links table."""
    column = links.combine_chunks() if isinstance(links, pa.ChunkedArray) else links
    flat = column.flatten()
    pair = np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
    mention = flat.field("mention").to_numpy().astype(np.int64)
    ids = flat.field("entity")
    distinct = pc.unique(ids).sort() if len(ids) else pa.array([], pa.string())
    entity = pc.index_in(ids, value_set=distinct).to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.ones(len(pair), bool)
    first[1:] = (np.diff(pair) != 0) | (np.diff(mention) != 0)
    starts = np.flatnonzero(first)
    rank = np.arange(len(pair)) - np.repeat(starts, np.diff(np.append(starts, len(pair))))
    return LinkArrays(distinct, pair, mention, entity,
                      flat.field("prior").to_numpy(), flat.field("link_score").to_numpy(), rank < max_candidates)


def read_links(path: str) -> pa.Table:
    """A shard's links table (`openmofi.schema.LINKS`)."""
    return pq.read_table(path)


def read_features(path: str) -> tuple[pa.Table, NDArray[np.float32]]:
    """A shard's features table and its features as float32 (rows, feature_dim)."""
    table = pq.read_table(path)
    column = table.column("feature").combine_chunks()
    dim = column.type.list_size
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    return table, values.astype(np.float32)
