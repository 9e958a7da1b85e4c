"""Retrieval with junk, as Revisited Oxford and Paris define it (Radenović et al., CVPR 2018, python/evaluate.py).

For each query the database holds easy, hard and junk images. Easy: positives are the easy ones, junk are junk and
hard. Medium: positives are easy and hard, junk is junk. Hard: positives are the hard ones, junk are junk and easy.
Junk is taken out of the ranking. AP is the trapezoidal area under precision over recall:

    AP = Σ_j (p0 + p1) / (2 n),  p0 = j / rank_j (1 where rank_j = 0),  p1 = (j + 1) / (rank_j + 1),  ranks from 0.

P@k = positives among the first k' / k', where k' = min(k, rank of the last positive, from 1). Queries without
positives are not counted. Ties: see `openmofi.evaluation.metrics.ranking`; a distractor stands behind a database
image of its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.plain_pickle import read_plain_pickle
from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, ranks_of
from openmofi.pairs.formats.files import inside

DIFFICULTIES = {"easy": (("easy",), ("junk", "hard")), "medium": (("easy", "hard"), ("junk",)),
                "hard": (("hard",), ("junk", "easy"))}
"""Difficulty → (kinds that are positives, kinds that are junk)."""

KINDS = ("easy", "hard", "junk")


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes:
        name: of its image, without the ending.
        box: left, upper, right, lower edge in pixels of what is asked for.
        places: kind (`KINDS`) → places in the database, ascending.
    """

    name: str
    box: tuple[float, float, float, float]
    places: dict[str, Ints]


@dataclass(frozen=True)
class GroundTruth:
    """What a `gnd_*.pkl` says: names of the database's images without their ending, and the queries."""

    database: list[str]
    queries: list[Query]


def read_ground_truth(path: str | Path) -> GroundTruth:
    """Read the authors' file, without trusting it; see `read_plain_pickle`.

    Raises:
        OpenMofiError: it is not what the authors ship, or names images that are not in its list.
    """
    raw = read_plain_pickle(path)
    try:
        database = _names(raw["imlist"])
        names, found = _names(raw["qimlist"]), raw["gnd"]
        if not names or len(names) != len(found) or not database:
            raise ValueError(f"{len(names)} queries with {len(found)} answers")
        queries = [Query(name, _box(one["bbx"]), {kind: _places(one[kind], len(database)) for kind in KINDS})
                   for name, one in zip(names, found, strict=True)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise OpenMofiError(f"{path} is no ground truth of Revisited Oxford or Paris: {error}.",
                            "It has imlist, qimlist and gnd, with bbx, easy, hard and junk for each query.") from error
    return GroundTruth(database, queries)


def _names(values: Any) -> list[str]:
    names = [str(value) for value in values]
    outside = next((name for name in names if not inside(name)), None)
    if outside is not None:
        raise ValueError(f"the image {outside!r} lies outside the folder")
    return names


def _box(values: Any) -> tuple[float, float, float, float]:
    left, upper, right, lower = (float(value) for value in np.asarray(values, np.float64).ravel())
    if not (np.isfinite([left, upper, right, lower]).all() and left < right and upper < lower):
        raise ValueError(f"the box {values} is empty")
    return left, upper, right, lower


def _places(values: Any, count: int) -> Ints:
    # An empty list of the authors' has a floating type.
    places = np.asarray(values).ravel()
    whole = places.astype(np.int64)
    if len(places) and (np.any(whole != places) or whole.min() < 0 or whole.max() >= count):
        raise ValueError(f"a place beyond the {count} images of the database")
    return np.unique(whole)


def average_precision(ranks: ArrayLike, positives: int) -> float:
    """The trapezoidal AP of positives found at `ranks` (from 0, ascending, junk taken out) out of `positives`."""
    at = np.asarray(ranks, np.float64)
    order = np.arange(len(at))
    before = np.where(at == 0, 1.0, order / np.maximum(at, 1))
    return float(((before + (order + 1) / (at + 1)) / (2 * positives)).sum())


def precision_at(ranks: ArrayLike, k: int) -> float:
    """P@k of positives found at `ranks` (from 0, ascending, junk taken out); 0 where none was found."""
    at = np.asarray(ranks) + 1
    if not len(at):
        return 0.0
    depth = min(int(at.max()), k)
    return int((at <= depth).sum()) / depth


@dataclass(frozen=True)
class Ranks:
    """Where the images of one query rank, from 0, with distractors and junk in the ranking.

    Attributes:
        of: kind → (found,) ranks, not in order.
        named: kind → how many there are, found or not.
    """

    of: dict[str, Ints]
    named: dict[str, int]

    def judged(self, difficulty: str) -> tuple[Ints, int]:
        """Ranks of the positives with junk taken out, ascending, and how many positives there are."""
        positive, junk = DIFFICULTIES[difficulty]
        places = np.sort(np.concatenate([self.of[kind] for kind in positive]))
        dropped = np.sort(np.concatenate([self.of[kind] for kind in junk]))
        return places - np.searchsorted(dropped, places), sum(self.named[kind] for kind in positive)


class Ranking:
    """Ranks the queries' images in the database, then pushes them down by what further distractors beat them.

    Args:
        queries: (q, d) L2-normalised.
        database: (n, d) L2-normalised.
        truth: of each query.
        rows: (named,) place in the ground truth's list → row of `database`; −1 where the image could not be read.
    """

    def __init__(self, queries: Floats, database: Floats, truth: Sequence[Query], rows: Ints) -> None:
        self._queries, self._truth = queries, truth
        self._ranks: list[Ints] = []
        self._scores: list[Floats] = []
        self._kinds: list[NDArray[Any]] = []
        for start, scores in Index.of(database).blocks(queries):
            for offset in range(len(scores)):
                places, kinds = _found(truth[start + offset], rows)
                self._kinds.append(kinds)
                self._scores.append(scores[offset, places])
                self._ranks.append(ranks_of(scores[offset], places) - 1)

    def add(self, distractors: Floats) -> None:
        """Put (m, d) further images, none of which is right, into the database."""
        for start, scores in Index.of(distractors).blocks(self._queries):
            for offset, found in enumerate(scores):
                number = start + offset
                ascending = np.sort(found)
                self._ranks[number] += len(found) - np.searchsorted(ascending, self._scores[number], "right")

    def ranks(self) -> list[Ranks]:
        """Of each query."""
        return [Ranks({kind: ranks[kinds == kind] for kind in KINDS},
                      {kind: len(query.places[kind]) for kind in KINDS})
                for ranks, kinds, query in zip(self._ranks, self._kinds, self._truth, strict=True)]


def _found(query: Query, rows: Ints) -> tuple[Ints, NDArray[Any]]:
    """Rows of a query's readable images, ascending, and the kind of each."""
    found = np.concatenate([rows[query.places[kind]] for kind in KINDS])
    kinds = np.repeat(np.array(KINDS, object), [len(query.places[kind]) for kind in KINDS])
    kept = np.flatnonzero(found >= 0)
    order = kept[np.argsort(found[kept], kind="stable")]
    return found[order], kinds[order]
