"""What look-ups in a knowledge base search: names of an entity, vectors that are near, keys that are spelt alike."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.knowledge.candidates import CandidateTable
from openmofi.schema import Entity

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
    """What an entity is related to.

    Attributes:
        name: of the relation, such as `hypernym`.
        entity: its tail.
    """

    name: str
    entity: Entity


def plain_candidate(entity: Entity, prior: float, details: Mapping[str, str]) -> dict[str, Any]:
    """A candidate of a name as plain data; `details` are those of `openmofi.knowledge.files.beside`, or empty."""
    known = {"prior_from": details["prior"], "image": entity.image} if details else {}
    return {
        "prior": prior,
        "id": entity.id,
        "name": entity.name,
        "types": list(entity.types),
        "description": entity.description,
        "popularity": entity.popularity,
        **known,
    }


def spelt_alike(beginning: Callable[[str], Iterable[str]], key: str, limit: int) -> list[str]:
    """Keys that are spelt like `key`: of those with the longest beginning in common, at most `limit`.

    Args:
        beginning: gives the keys that begin with a string, such as `iterkeys` of a trie.
        key: that is unknown.
        limit: most keys.
    """
    for length in range(len(key), 0, -1):
        keys = list(islice(beginning(key[:length]), _COMPARED))
        if matches := difflib.get_close_matches(key, keys, limit):
            return matches
    return []


def names_of(table: CandidateTable, row: int) -> list[str]:
    """Keys with the entity at `row` among their candidates, by falling commonness, then by key."""
    places = np.concatenate(
        [
            np.flatnonzero(table.rows[start : start + _ELEMENTS] == row) + start
            for start in range(0, len(table.rows), _ELEMENTS)
        ]
    )
    keys = [table.names.restore_key(key) for key in keys_of(table, places).tolist()]
    return [key for _, key in sorted(zip((-table.commonness[places]).tolist(), keys, strict=True))]


def type_counts(entities: pa.Table) -> dict[str, int]:
    """Type → how many entities have it, the commonest first, then by name."""
    counts: Counter[str] = Counter()
    for batch in entities.select(["types"]).to_batches(max_chunksize=_ELEMENTS):
        found = pc.value_counts(batch.column(0).flatten())
        counts.update(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def keys_of(table: CandidateTable, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n) ids of the keys that candidates belong to, given by their places in `table.rows`."""
    return np.searchsorted(table.offsets, places, side="right") - 1


def nearest_rows(vectors: NDArray[np.float16], row: int, limit: int) -> list[tuple[int, float]]:
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
        kept = lengths > 0
        if start <= row < start + size:
            kept[row - start] = False
        if len(best) == limit:
            kept &= cosines > best[-1]
        near = np.flatnonzero(kept)
        best, rows = np.concatenate([best, cosines[near]]), np.concatenate([rows, near + start])
        if len(best) > limit:  # all of a block are not sorted for the sake of a few
            likely = best >= np.partition(best, len(best) - limit)[len(best) - limit]
            best, rows = best[likely], rows[likely]
        order = np.lexsort((rows, -best))[:limit]
        best, rows = best[order], rows[order]
    return list(zip(rows.tolist(), np.clip(best, -1, 1).tolist(), strict=True))
