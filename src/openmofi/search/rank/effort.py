"""How far a query looks in an approximate index: the least effort that finds what exact search finds.

It depends on the vectors, so that no constant suits: it is measured when the index is made, by queries that are some of
its own vectors, each of which is then no answer to itself, and by texts of entities, which lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array
from openmofi.search.vectors import Bools, Effort, Ints, Vectors, best

QUERIES = 500
"""Of each kind, at most."""
COUNT = 10
GOAL = 0.98
_SURE = 1.64
"""Standard errors by which the recall of the queries has to be above the goal: 95 % sure that it is for all."""
_ROWS = 16_384


@dataclass(frozen=True)
class Asked:
    """Queries.

    Attributes:
        queries: (q, dim) L2-normalised.
        own: (q,) their own positions among the vectors; −1 where they are not among them.
    """

    queries: Array
    own: Ints

    def first(self, count: int) -> Asked:
        """At most so many of them."""
        return Asked(self.queries[:count], self.own[:count])


def least_effort(
    search: Callable[[Array, int, int], Ints],
    vectors: Vectors,
    allowed: Bools | None,
    kinds: Mapping[str, Asked],
    values: Sequence[int],
) -> Effort:
    """The least effort whose recall@10 is .98, with 95 % confidence, for each kind of query; else the last one.

    Args:
        search: (q, dim) queries, k and an effort → (q, k) positions that are found.
        vectors: all of them.
        allowed: (n,) which of them are searched; all where not given.
        kinds: queries of each kind; kinds without queries are left out.
        values: efforts to try, rising.
    """
    among = np.ones(len(vectors), bool) if allowed is None else allowed
    asked = {kind: some for kind, some in kinds.items() if len(some.queries)}
    truth = {kind: nearest(vectors, some, among) for kind, some in asked.items()}
    least = 0.0
    for value in values:
        shares = [
            _shares(_others(search(some.queries, COUNT + 1, value), some.own), truth[kind])
            for kind, some in asked.items()
        ]
        least = min((float(share.mean()) for share in shares), default=0.0)
        if all(share.mean() - _SURE * share.std() / len(share) ** 0.5 >= GOAL for share in shares):
            break
    return Effort(value, round(least, 4), sum(len(some.queries) for some in asked.values()), len(vectors))


def nearest(vectors: Vectors, asked: Asked, allowed: Bools) -> Ints:
    """(q, 10) positions of the nearest allowed vectors but themselves, exactly; reads each vector once."""
    count = len(asked.queries)
    values, positions = np.full((count, 0), -np.inf, np.float32), np.zeros((count, 0), np.int64)
    for start in range(0, len(vectors), _ROWS):
        rows = start + np.flatnonzero(allowed[start : start + _ROWS])
        scores, places = best(asked.queries @ vectors.rows(rows).T, min(COUNT + 1, len(rows)))
        known = np.concatenate([positions, rows[places]], axis=1)
        values, order = best(np.concatenate([values, scores], axis=1), min(COUNT + 1, known.shape[1]))
        positions = np.take_along_axis(known, order, axis=1)
    return _others(positions, asked.own)


def _others(positions: Ints, own: Ints) -> Ints:
    """(q, k + 1) → (q, k): without its own, else without the last."""
    order = np.argsort(positions == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(positions, np.sort(order[:, :-1], axis=1), axis=1)


def _shares(found: Ints, truth: Ints) -> NDArray[np.float64]:
    """(q,) of each query the share of the true nearest that was found."""
    return np.asarray((truth[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1))
