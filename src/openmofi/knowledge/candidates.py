"""From a table of names to candidate lists: commonness and link probability, as CSR arrays.

For a key n (a normalised name) and an entity e:

- commonness P(e | n) = count(n, e) / Σ_e' count(n, e');
- link probability P(mention | n) = count(n) / occurrences(n), where a surface form s of probability p(s) occurred
  count(s) / p(s) times, and the surface forms of one key add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import marisa_trie
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.knowledge.names import normalise

_LEAST = 1e-6


@dataclass(frozen=True)
class CandidateTable:
    """Names with their candidates; the key's id in `names` is its row.

    Attributes:
        names: trie of keys.
        offsets: (n+1) int64; candidates of key i are `[offsets[i], offsets[i+1])`.
        rows: int32, entity rows; by falling commonness, then by row.
        commonness: float32; sums to at most 1 for a key (less where candidates were cut).
        link_probability: (n) float32.
        unnameable: source rows whose name has no letter and no digit, left out.
        cut: (name, entity) pairs beyond the limit, left out.
    """

    names: marisa_trie.Trie
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    commonness: NDArray[np.float32]
    link_probability: NDArray[np.float32]
    unnameable: int
    cut: int


def _surface_probability(raw: pa.Array, keys: Sequence[str], surfaces: pa.Table) -> NDArray[np.float64]:
    """Link probability of every raw name: its own row of the table, else that of a surface form of its key, else 1.

    Where only other spellings of a key have rows, the least of them counts.
    """
    if not len(surfaces):
        return np.ones(len(raw))
    names = surfaces.column("name").combine_chunks()
    probabilities = surfaces.column("link_probability").to_numpy().astype(np.float64)
    of_key: dict[str, float] = {}
    for name, probability in zip(names.to_pylist(), probabilities.tolist(), strict=True):
        key = normalise(name)
        of_key[key] = min(probability, of_key.get(key, 1.0))
    by_key = np.fromiter((of_key.get(key, 1.0) for key in keys), np.float64, len(raw))
    own = pc.fill_null(pc.index_in(raw, value_set=names), -1).to_numpy(zero_copy_only=False)
    return np.maximum(np.where(own >= 0, probabilities[own], by_key), _LEAST)


def _candidate_lists(
    keys: NDArray[np.int64], entities: NDArray[np.int64], counts: NDArray[np.float64], size: int, limit: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], int]:
    """CSR of (key, entity) pairs whose counts are summed, sorted and cut to `limit` a key."""
    width = int(entities.max()) + 1
    pairs, where = np.unique(keys * width + entities, return_inverse=True)
    totals = np.bincount(where, weights=counts)
    key, row = np.divmod(pairs, width)
    per_key = np.bincount(key, weights=totals, minlength=size)
    order = np.lexsort((row, -totals, key))
    key, row, totals = key[order], row[order], totals[order]
    lengths = np.bincount(key, minlength=size)
    rank = np.arange(len(key)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = rank < limit
    offsets = np.zeros(size + 1, np.int64)
    np.cumsum(np.minimum(lengths, limit), out=offsets[1:])
    commonness = totals[kept] / per_key[key[kept]]
    return offsets, row[kept].astype(np.int32), commonness.astype(np.float32), int((~kept).sum())


def tabulate(names: pa.Table, entity_ids: pa.Array, surfaces: pa.Table, limit: int) -> CandidateTable:
    """Build the candidate lists of a checked source.

    Args:
        names: schema `NAMES`; rows of one key and one entity add up.
        entity_ids: identifiers in row order.
        surfaces: schema `SURFACES`, may be empty; names there that have no entity are ignored.
        limit: most candidates a key keeps.

    Raises:
        OpenMofiError: no name has a letter or a digit.
    """
    encoded = names.column("name").combine_chunks().dictionary_encode()
    raw = encoded.dictionary
    keys_of_raw = [normalise(name) for name in raw.to_pylist()]
    # Sorted, so that the trie's bytes do not depend on the order of the source.
    trie = marisa_trie.Trie(sorted({key for key in keys_of_raw if key}))
    if not len(trie):
        raise OpenMofiError("No name of the source has a letter or a digit.", "Check the table of names.")
    id_of_raw = np.fromiter((trie.get(key, -1) if key else -1 for key in keys_of_raw), np.int64, len(keys_of_raw))
    code = encoded.indices.to_numpy()
    keys = id_of_raw[code]
    entities = pc.index_in(names.column("entity").combine_chunks(), value_set=entity_ids).to_numpy().astype(np.int64)
    counts = names.column("count").to_numpy().astype(np.float64)
    usable = keys >= 0
    offsets, rows, commonness, cut = _candidate_lists(keys[usable], entities[usable], counts[usable], len(trie), limit)
    occurrences = counts / _surface_probability(raw, keys_of_raw, surfaces)[code]
    anchors = np.bincount(keys[usable], weights=counts[usable], minlength=len(trie))
    seen = np.bincount(keys[usable], weights=occurrences[usable], minlength=len(trie))
    return CandidateTable(trie, offsets, rows, commonness, (anchors / seen).astype(np.float32),
                          int((~usable).sum()), cut)
