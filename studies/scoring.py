"""Labels against a truth made by hand: which entities the image of a row shows, and which are doubtful.

An entity counts once a row: it is accepted if any of its mentions was, and has its highest probability. What a row
lists and the truth does not is wrong. Doubtful entities are left out of every figure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.bootstrap import percentiles, ratio_interval, wilson_interval
from openmofi.dataset.tables import Folder
from openmofi.plugins.audit.curves import CalibrationCurve, PrecisionRecallCurve

RESAMPLES = 1000
SENSES: Mapping[str, tuple[int, int]] = {"1": (1, 1), "2-8": (2, 8)}
"""Name → least and most candidates of a mention; the label job judges 8 at most."""


@dataclass(frozen=True)
class Truth:
    """What was seen of a row.

    Attributes:
        shard, key: of the pair; without a shard the key alone names it.
        right: identifiers of the entities that its image shows and its text names.
        doubt: of those that could not be decided.
    """

    shard: str
    key: str
    right: frozenset[str]
    doubt: frozenset[str]


@dataclass(frozen=True)
class Candidate:
    """An entity that a row lists.

    Attributes:
        probability: the highest of its mentions.
        accepted: whether one of them made it a label.
        mentions: their numbers.
        link_score: the highest of its mentions, by the text alone.
        senses: how many candidates its mention has; the fewest, where it has several.
    """

    probability: float
    accepted: bool
    mentions: tuple[int, ...]
    link_score: float
    senses: int


@dataclass(frozen=True)
class ScoredRow:
    """A row of labels beside its truth.

    Attributes:
        truth: see there.
        text: of the pair.
        mentions: as `schema.MENTION`.
        candidates: identifier → candidate, without the doubtful.
    """

    truth: Truth
    text: str
    mentions: Sequence[Mapping[str, Any]]
    candidates: Mapping[str, Candidate]

    @property
    def accepted(self) -> list[str]:
        """The labels."""
        return [entity for entity, candidate in self.candidates.items() if candidate.accepted]

    @property
    def wrong(self) -> list[str]:
        """Labels that are not right."""
        return [entity for entity in self.accepted if entity not in self.truth.right]

    @property
    def missed(self) -> list[str]:
        """Right entities that are no labels."""
        return sorted(self.truth.right - set(self.accepted))

    def without(self, entities: Collection[str]) -> ScoredRow:
        """The row as if these entities were doubtful."""
        truth = replace(self.truth, right=self.truth.right - set(entities), doubt=self.truth.doubt | set(entities))
        return replace(self, truth=truth, candidates=self._where(lambda entity, _: entity not in entities))

    def of_senses(self, least: int, most: int) -> ScoredRow:
        """The row with those candidates alone whose mention has so many."""
        return replace(self, candidates=self._where(lambda _, candidate: least <= candidate.senses <= most))

    def _where(self, chosen: Callable[[str, Candidate], bool]) -> dict[str, Candidate]:
        return {entity: candidate for entity, candidate in self.candidates.items() if chosen(entity, candidate)}


Score = Callable[[Candidate], float]
"""What candidates are ranked by."""


def read_truth(path: Path) -> list[Truth]:
    """The rows of JSON lines with `key`, `right`, `doubt` and maybe `shard`."""
    rows = map(json.loads, filter(None, path.read_text("utf-8").splitlines()))
    return [Truth(row.get("shard", ""), row["key"], frozenset(row["right"]), frozenset(row["doubt"])) for row in rows]


def truth_of_shard(truth: Sequence[Truth], shard: str) -> dict[str, Truth]:
    """Key → what was seen, of the rows that may be in a shard."""
    return {row.key: replace(row, shard=shard) for row in truth if row.shard in ("", shard)}


def scored_rows(labels: Folder, truth: Sequence[Truth]) -> list[ScoredRow]:
    """The rows of the labels that the truth knows, in the order of the shards."""
    scored = []
    for shard in labels.shards:
        of_key = truth_of_shard(truth, shard.name)
        table = labels.read(shard, ["key", "text", "mentions", "entities"])
        judged = table.filter(pc.is_in(table["key"], pa.array(list(of_key), pa.string()))).to_pylist()
        scored += [_scored(row, of_key[row["key"]]) for row in judged]
    return scored


def _scored(row: Mapping[str, Any], truth: Truth) -> ScoredRow:
    candidates: dict[str, Candidate] = {}
    senses = Counter(judged["mention"] for judged in row["entities"])
    for judged in row["entities"]:
        if judged["entity"] not in truth.doubt:
            count = senses[judged["mention"]]
            before = candidates.get(judged["entity"], Candidate(0.0, False, (), 0.0, count))
            candidates[judged["entity"]] = Candidate(
                max(before.probability, judged["probability"]),
                before.accepted or judged["accepted"],
                (*before.mentions, judged["mention"]),
                max(before.link_score, judged["link_score"]),
                min(before.senses, count),
            )
    return ScoredRow(truth, row["text"], row["mentions"], candidates)


def precision_figures(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    """Precision of labels.

    Returns:
        `accepted` labels, `precision`, its intervals `precision_wilson` and `precision_bootstrap` (over rows), and
        `expected` precision. `None` where nothing is accepted.
    """
    accepted = np.array([len(row.accepted) for row in rows if row.accepted])
    correct = accepted - [len(row.wrong) for row in rows if row.accepted]
    total, found = int(accepted.sum()), int(correct.sum())
    probabilities = [row.candidates[entity].probability for row in rows for entity in row.accepted]
    return {
        "accepted": total,
        "precision": _share(found, total),
        "precision_wilson": wilson_interval(found / total, total) if total else None,
        "precision_bootstrap": ratio_interval(correct, accepted, resamples=RESAMPLES) if total else None,
        "expected": float(np.mean(probabilities)) if total else None,
    }


def label_figures(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    """Precision and recall of labels.

    Returns:
        `rows`; all of `precision_figures`; `row_recall`, the share of rows with something right that were given
        something right, with `row_recall_wilson`; `recall`, the share of right entities; `average_precision` over all
        candidates, with `average_precision_bootstrap`, and `text_average_precision`, with its own, when the link score
        alone ranks them; `senses`, see `precision_by_senses`; `calibration`, see `calibration_bins`. `None` where there
        is nothing to count.
    """
    kept = [len(row.truth.right) - len(row.missed) for row in rows]
    with_right, reached = sum(bool(row.truth.right) for row in rows), sum(map(bool, kept))
    return {
        "rows": len(rows),
        **precision_figures(rows),
        "row_recall": _share(reached, with_right),
        "row_recall_wilson": wilson_interval(reached / with_right, with_right) if with_right else None,
        "recall": _share(sum(kept), sum(len(row.truth.right) for row in rows)),
        "average_precision": average_precision(rows),
        "average_precision_bootstrap": _average_precision_interval(rows, _by_probability),
        "text_average_precision": average_precision(rows, _by_text),
        "text_average_precision_bootstrap": _average_precision_interval(rows, _by_text),
        "senses": precision_by_senses(rows),
        "calibration": calibration_bins(rows),
    }


def precision_by_senses(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    """`precision_figures` of labels by how many candidates the name in the text has: `1`, and `2-8`."""
    return {name: precision_figures([row.of_senses(*ends) for row in rows]) for name, ends in SENSES.items()}


def _by_probability(candidate: Candidate) -> float:
    return candidate.probability


def _by_text(candidate: Candidate) -> float:
    return candidate.link_score


def average_precision(rows: Sequence[ScoredRow], score: Score = _by_probability) -> float | None:
    """Over all candidates; right entities that are none are never reached. Ties share the precision at their end."""
    listed = _Ranking.of(rows, score)
    return listed.average_precision(np.ones(len(rows), np.int64))


def calibration_bins(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    """All candidates in bins by probability: `expected`, `observed` with its interval (`low`, `high`), `counts`."""
    ranking = _Ranking.of(rows, _by_probability)
    curve = CalibrationCurve.of(ranking.score, ranking.right)
    intervals = [wilson_interval(share, count) for share, count in zip(curve.observed, curve.counts, strict=True)]
    return curve.as_dict() | {"low": [low for low, _ in intervals], "high": [high for _, high in intervals]}


@dataclass(frozen=True)
class _Ranking:
    """The candidates of all rows.

    Attributes:
        row, score, right: (n,) of each candidate.
        positives: (rows,) how many entities are right.
    """

    row: np.ndarray
    score: np.ndarray
    right: np.ndarray
    positives: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[ScoredRow], score: Score) -> _Ranking:
        listed = [
            (number, score(candidate), entity in row.truth.right)
            for number, row in enumerate(rows)
            for entity, candidate in row.candidates.items()
        ]
        columns = zip(*listed, strict=True) if listed else ((), (), ())
        row, scores, right = (
            np.array(values, kind) for values, kind in zip(columns, (np.int64, np.float32, bool), strict=True)
        )
        return cls(row, scores, right, np.array([len(row.truth.right) for row in rows], np.int64))

    def average_precision(self, times: np.ndarray) -> float | None:
        """Where row i counts `times[i]` times."""
        positives = int(times @ self.positives)
        if not positives:
            return None
        taken = np.repeat(np.arange(len(self.row)), times[self.row])
        right = self.right[taken]
        return PrecisionRecallCurve.of(self.score[taken], right, right, positives).average_precision


def _average_precision_interval(rows: Sequence[ScoredRow], score: Score) -> tuple[float, float] | None:
    draw, ranking = np.random.default_rng(0), _Ranking.of(rows, score)
    drawn = (
        ranking.average_precision(np.bincount(draw.integers(0, len(rows), len(rows)), minlength=len(rows)))
        for _ in range(RESAMPLES if rows else 0)
    )
    values = [value for value in drawn if value is not None]
    return percentiles(np.array(values)) if values else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
