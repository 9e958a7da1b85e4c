"""Candidates of names, from counts to look-ups: commonness, link probability, neighbours, names spelt alike.

For a key n (a normalised name) and an entity e:

- commonness P(e | n) = count(n, e) / Σ_e' count(n, e');
- link probability P(mention | n) = count(n) / occurrences(n), where a surface form s of probability p(s) occurred
  count(s) / p(s) times, and the surface forms of one key add up.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Array, Codes, Halves, Ints
from openmofi.knowledge.arrays import Names
from openmofi.schema import Entity

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
    """The entities that a name may mean.

    Attributes:
        rows: int32 entity rows, by falling commonness.
        priors: float32 commonness P(entity | name); sums to 1 unless the builder cut candidates.
    """

    rows: Codes
    priors: Array

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
    """

    names: Names
    offsets: Ints
    rows: Codes
    commonness: Array
    link_probability: Array


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


def _begins(keys: pa.ChunkedArray) -> Ints:
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
    listed = rank < limit
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.minimum(lengths, limit))]).astype(np.int32))
    commonness = (totals / anchors[key])[listed].astype(np.float32)
    return pa.table(
        [
            pa.concat_arrays(counted.column("key").chunks).take(pa.array(first)),
            (anchors / seen).astype(np.float32),
            pa.ListArray.from_arrays(offsets, pa.array(entity[listed])),
            pa.ListArray.from_arrays(offsets, commonness),
        ],
        schema=LISTS,
    ), int((~listed).sum())


_COMPARED = 2000
_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entity near another one.

    Attributes:
        entity: it.
        cosine: of the two coherence vectors, −1..1.
    """

    entity: Entity
    cosine: float


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of an entity to another one.

    Attributes:
        name: of the relation, such as `hypernym`.
        entity: its tail.
    """

    name: str
    entity: Entity


def plain_candidate(entity: Entity, prior: float, details: Mapping[str, str]) -> dict[str, Any]:
    """A candidate of a name as plain data; `details` are those of `openmofi.knowledge.beside`, or empty."""
    extra = {"prior_from": details["prior"], "image": entity.image} if details else {}
    return {
        "prior": prior,
        "id": entity.id,
        "name": entity.name,
        "types": list(entity.types),
        "description": entity.description,
        "popularity": entity.popularity,
        **extra,
    }


def spelt_alike(beginning: Callable[[str], Iterable[str]], key: str, limit: int, least: float = 0.6) -> list[str]:
    """Keys that are spelt like `key`: of those with the longest beginning in common, at most `limit`.

    Args:
        beginning: gives the keys that begin with a string, such as `iterkeys` of a trie.
        key: that is unknown.
        limit: most keys.
        least: similarity by `difflib`, 0..1.
    """
    for length in range(len(key), 0, -1):
        keys = list(islice(beginning(key[:length]), _COMPARED))
        if matches := difflib.get_close_matches(key, keys, limit, least):
            return matches
    return []


def names_of(table: CandidateTable, row: int) -> list[str]:
    """Keys with the entity at `row` among their candidates, by falling commonness, then by key."""
    positions = np.concatenate(
        [
            np.flatnonzero(table.rows[start : start + _ELEMENTS] == row) + start
            for start in range(0, len(table.rows), _ELEMENTS)
        ]
    )
    keys = [table.names.restore_key(key) for key in keys_of(table, positions).tolist()]
    return [key for _, key in sorted(zip((-table.commonness[positions]).tolist(), keys, strict=True))]


def type_counts(entities: pa.Table) -> dict[str, int]:
    """Type → how many entities have it, the commonest first, then by name."""
    counts: Counter[str] = Counter()
    for batch in entities.select(["types"]).to_batches(max_chunksize=_ELEMENTS):
        counted = pc.value_counts(batch.column(0).flatten())
        counts.update(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def keys_of(table: CandidateTable, places: Ints) -> Ints:
    """(n) ids of the keys that candidates belong to, given by their places in `table.rows`."""
    return np.searchsorted(table.offsets, places, side="right") - 1


def nearest_rows(vectors: Halves, row: int, limit: int) -> list[tuple[int, float]]:
    """Rows that are nearest to `row` with their cosines, nearest first, then by row; without it and without zeros."""
    query = vectors[row].astype(np.float32)
    if not query.any() or limit < 1:
        return []
    query /= np.linalg.norm(query)
    best, rows = np.zeros(0, np.float32), np.zeros(0, np.int64)
    size = max(_ELEMENTS // len(query), 1)
    for start in range(0, len(vectors), size):
        block = vectors[start : start + size].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        cosines = block @ query / np.maximum(lengths, 1e-12)
        eligible = lengths > 0
        if start <= row < start + size:
            eligible[row - start] = False
        if len(best) == limit:
            eligible &= cosines > best[-1]
        near = np.flatnonzero(eligible)
        best, rows = np.concatenate([best, cosines[near]]), np.concatenate([rows, near + start])
        if len(best) > limit:  # all of a block are not sorted for the sake of a few
            likely = best >= np.partition(best, len(best) - limit)[len(best) - limit]
            best, rows = best[likely], rows[likely]
        order = np.lexsort((rows, -best))[:limit]
        best, rows = best[order], rows[order]
    return list(zip(rows.tolist(), np.clip(best, -1, 1).tolist(), strict=True))
