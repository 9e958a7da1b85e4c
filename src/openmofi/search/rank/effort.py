"""How far a query looks in an approximate index: the least effort that finds what exact search finds.

It depends on the vectors, so that no constant suits: it is measured when the index is built, by queries that the index
does not have yet (some of its own vectors, before they are added) and by texts of entities, which lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array
from openmofi.search.rank.vectors import Bools, Effort, Ints, Vectors, best

QUERIES = 500
"""Of each kind, at most."""
COUNT = 10
GOAL = 0.98
_SURE = 1.64
"""Standard errors by which the recall of the queries has to be above the goal: 95 % sure that it is for all."""
_ROWS = 65_536


def least_effort(search: Callable[[Array, int], Ints], vectors: Vectors, allowed: Bools,
                 kinds: Mapping[str, Array], values: Sequence[int]) -> Effort:
    """The least effort whose recall@10 is .98, with 95 % confidence, for each kind of query; else the last one.

    Args:
        search: (q, dim) queries and an effort → (q, 10) positions that are found.
        vectors: all of them.
        allowed: (n,) which of them are searched.
        kinds: (q, dim) queries of each kind, L2-normalised; kinds without queries are left out.
        values: efforts to try, rising.
    """
    asked = {kind: queries for kind, queries in kinds.items() if len(queries)}
    truth = {kind: nearest(vectors, queries, allowed) for kind, queries in asked.items()}
    least = 0.0
    for value in values:
        shares = [_shares(search(queries, value), truth[kind]) for kind, queries in asked.items()]
        least = min((float(share.mean()) for share in shares), default=0.0)
        if all(share.mean() - _SURE * share.std() / len(share) ** 0.5 >= GOAL for share in shares):
            break
    return Effort(value, round(least, 4), sum(map(len, asked.values())), int(allowed.sum()))


def nearest(vectors: Vectors, queries: Array, allowed: Bools) -> Ints:
    """(q, 10) positions of the nearest allowed vectors, exactly; reads each vector once."""
    values, positions = np.full((len(queries), 0), -np.inf, np.float32), np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(vectors), _ROWS):
        rows = start + np.flatnonzero(allowed[start:start + _ROWS])
        if not len(rows):
            continue
        scores = np.concatenate([values, queries @ vectors.rows(rows).T], axis=1)
        known = np.concatenate([positions, np.broadcast_to(rows, (len(queries), len(rows)))], axis=1)
        values, places = best(scores, min(COUNT, scores.shape[1]))
        positions = np.take_along_axis(known, places, axis=1)
    return positions


def _shares(found: Ints, truth: Ints) -> NDArray[np.float64]:
    """(q,) of each query the share of the true nearest that was found."""
    return np.asarray((truth[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1))
