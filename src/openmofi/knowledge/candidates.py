"""From counted names to candidate lists: commonness and link probability.

For a key n (a normalised name) and an entity e:

- commonness P(e | n) = count(n, e) / Σ_e' count(n, e');
- link probability P(mention | n) = count(n) / occurrences(n), where a surface form s of probability p(s) occurred
  count(s) / p(s) times, and the surface forms of one key add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.knowledge.files.tries import Names

COUNTED = pa.schema([("key", pa.string()), ("row", pa.int32()), ("count", pa.float64()), ("occurrences", pa.float64())])
"""counted: how often a key means an entity, and how often it occurred then; ascending by all columns."""

LISTS = pa.schema(
    [
        ("key", pa.string()),
        ("link_probability", pa.float32()),
        ("rows", pa.list_(pa.int32())),
        ("commonness", pa.list_(pa.float32())),
    ]
)
"""lists: a key with its candidates, by falling commonness, then by row; ascending by key."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a name may mean.

    Attributes:
        rows: int32 entity rows, by falling commonness.
        priors: float32 commonness P(entity | name); sums to 1 unless the builder cut candidates.
    """

    rows: NDArray[np.int32]
    priors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class CandidateTable:
    """Names with their candidates; the key's id in `names` is its row.

    Attributes:
        names: of the keys.
        offsets: (n+1) int64; candidates of key i are `[offsets[i], offsets[i+1])`.
        rows: int32, entity rows; by falling commonness, then by row.
        commonness: float32; sums to at most 1 for a key (less where candidates were cut).
        link_probability: (n) float32.
        unnameable: source rows whose name has no letter and no digit, left out.
        cut: (name, entity) pairs beyond the limit, left out.
    """

    names: Names
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    commonness: NDArray[np.float32]
    link_probability: NDArray[np.float32]
    unnameable: int
    cut: int


def candidate_lists(counted: Iterator[pa.Table], limit: int) -> Iterator[tuple[pa.Table, int]]:
    """The candidate lists of keys.

    Args:
        counted: parts of `COUNTED`, in order; rows of one key and entity add up.
        limit: most candidates a key keeps.

    Yields:
        parts of `LISTS` in order, each with the number of candidates that were left out.
    """
    held = COUNTED.empty_table()
    for part in counted:
        held = pa.concat_tables([held, part])
        first = _begins(held.column("key"))
        if len(first) > 1:
            whole = int(first[-1])
            yield _lists(held.slice(0, whole), limit)
            held = held.slice(whole).combine_chunks()
    if len(held):
        yield _lists(held, limit)


def _begins(keys: pa.ChunkedArray) -> NDArray[np.int64]:
    """Rows with another key than the row before."""
    if not len(keys):
        return np.zeros(0, np.int64)
    other = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1)).to_numpy()
    return np.concatenate([[0], np.flatnonzero(other) + 1])


def _lists(counted: pa.Table, limit: int) -> tuple[pa.Table, int]:
    """The lists of whole keys."""
    first = _begins(counted.column("key"))
    key = np.repeat(np.arange(len(first)), np.diff(first, append=len(counted)))
    entity = counted.column("row").to_numpy()
    counts, occurrences = (counted.column(name).to_numpy() for name in ("count", "occurrences"))
    # Sums go from the first to the last, so that they do not depend on how the parts are cut.
    anchors, seen = (np.bincount(key, weights=values) for values in (counts, occurrences))
    pair_first = np.flatnonzero(np.concatenate([[True], (np.diff(key) > 0) | (np.diff(entity) != 0)]))
    pair = np.repeat(np.arange(len(pair_first)), np.diff(pair_first, append=len(counted)))
    totals = np.bincount(pair, weights=counts)
    key, entity = key[pair_first], entity[pair_first]
    order = np.lexsort((entity, -totals, key))
    entity, totals = entity[order], totals[order]
    lengths = np.bincount(key)
    rank = np.arange(len(key)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = rank < limit
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.minimum(lengths, limit))]).astype(np.int32))
    commonness = (totals / anchors[key])[kept].astype(np.float32)
    return pa.table(
        [
            pa.concat_arrays(counted.column("key").chunks).take(pa.array(first)),
            (anchors / seen).astype(np.float32),
            pa.ListArray.from_arrays(offsets, pa.array(entity[kept])),
            pa.ListArray.from_arrays(offsets, commonness),
        ],
        schema=LISTS,
    ), int((~kept).sum())
