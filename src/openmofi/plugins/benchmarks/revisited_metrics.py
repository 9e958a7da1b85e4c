"""Retrieval with junk, as Revisited Oxford and Paris define it (Radenović et al., CVPR 2018, python/evaluate.py).

For each query the database holds easy, hard and junk images. Easy: positives are the easy ones, junk are junk and
hard. Medium: positives are easy and hard, junk is junk. Hard: positives are the hard ones, junk are junk and easy.
Junk is removed from the ranking. AP is the trapezoidal area under precision over recall:

    AP = Σ_j (p0 + p1) / (2 n),  p0 = j / rank_j (1 where rank_j = 0),  p1 = (j + 1) / (rank_j + 1),  ranks from 0.

P@k = positives among the first k' / k', where k' = min(k, rank of the last positive, from 1). Queries without
positives are not counted. Ties: see `openmofi.evaluation.metrics.ranking`; a distractor ranks after a database image
with the same score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, ranks_of

KINDS = ("easy", "hard", "junk")
DIFFICULTIES = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Difficulty → (kinds that are positives, kinds that are junk)."""


def average_precision(ranks: ArrayLike, positives: int) -> float:
    """The trapezoidal AP of positives at `ranks` (from 0, ascending, junk removed) out of `positives`."""
    at = np.asarray(ranks, np.float64)
    order = np.arange(len(at))
    before = np.where(at == 0, 1.0, order / np.maximum(at, 1))
    return float(((before + (order + 1) / (at + 1)) / (2 * positives)).sum())


def precision_at(ranks: ArrayLike, k: int) -> float:
    """P@k of positives at `ranks` (from 0, ascending, junk removed); 0 without ranks."""
    at = np.asarray(ranks) + 1
    if not len(at):
        return 0.0
    depth = min(int(at.max()), k)
    return int((at <= depth).sum()) / depth


@dataclass(frozen=True)
class QueryRanks:
    """The ranks of one query's images, from 0; distractors and junk are in the ranking.

    Attributes:
        ranks: kind → (readable,) ranks, unordered.
        counts: kind → number of images, readable or not.
    """

    ranks: dict[str, Ints]
    counts: dict[str, int]

    def positives(self, difficulty: str) -> tuple[Ints, int]:
        """Ranks of the positives, ascending, with junk removed; and the number of positives, readable or not."""
        positive, junk = DIFFICULTIES[difficulty]
        ranks = np.sort(np.concatenate([self.ranks[kind] for kind in positive]))
        removed = np.sort(np.concatenate([self.ranks[kind] for kind in junk]))
        return ranks - np.searchsorted(removed, ranks), sum(self.counts[kind] for kind in positive)


class Ranking:
    """Ranks each query's images in the database, then moves them down by the distractors that score higher.

    Args:
        queries: (q, d) L2-normalised.
        database: (n, d) L2-normalised.
        truth: (q,) of each query: kind → positions in the ground truth's list.
        rows: (listed,) position in the ground truth's list → row of `database`; −1 where the image cannot be read.
    """

    def __init__(self, queries: Floats, database: Floats, truth: Sequence[Mapping[str, Ints]], rows: Ints) -> None:
        self._queries, self._truth = queries, truth
        self._ranks: list[Ints] = []
        self._scores: list[Floats] = []
        self._kinds: list[NDArray[Any]] = []
        for start, block in Index.of(database).blocks(queries):
            for scores, positions in zip(block, truth[start:], strict=False):
                query_rows, kinds = _readable(positions, rows)
                self._kinds.append(kinds)
                self._scores.append(scores[query_rows])
                self._ranks.append(ranks_of(scores, query_rows) - 1)

    def add(self, distractors: Floats) -> None:
        """Add (m, d) further images, all negatives, to the database."""
        for start, block in Index.of(distractors).blocks(self._queries):
            for query, scores in enumerate(block, start):
                self._ranks[query] += len(scores) - np.searchsorted(np.sort(scores), self._scores[query], "right")

    def ranks(self) -> list[QueryRanks]:
        """(q,) of each query."""
        return [
            QueryRanks({kind: ranks[kinds == kind] for kind in KINDS}, {kind: len(positions[kind]) for kind in KINDS})
            for ranks, kinds, positions in zip(self._ranks, self._kinds, self._truth, strict=True)
        ]


def _readable(positions: Mapping[str, Ints], rows: Ints) -> tuple[Ints, NDArray[Any]]:
    """Rows of a query's readable images, ascending, and the kind of each."""
    listed = np.concatenate([rows[positions[kind]] for kind in KINDS])
    kinds = np.repeat(np.array(KINDS, object), [len(positions[kind]) for kind in KINDS])
    readable = np.flatnonzero(listed >= 0)
    order = readable[np.argsort(listed[readable], kind="stable")]
    return listed[order], kinds[order]
