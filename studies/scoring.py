"""Labels against a truth made by hand: which entities the image of a row shows, and which are doubtful.

An entity counts once a row: it is accepted if any of its mentions was, and has its highest probability. What a row
lists and the truth does not is wrong. Doubtful entities are left out of every figure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.bootstrap import percentiles, ratio_interval, wilson_interval
from openmofi.dataset.audit.curves import CalibrationCurve, PrecisionRecallCurve
from openmofi.dataset.tables import Folder

RESAMPLES = 1000


@dataclass(frozen=True)
class Truth:
    """What was seen of a row.

    Attributes:
        shard, key: of the pair.
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
    """

    probability: float
    accepted: bool
    mentions: tuple[int, ...]


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


def read_truth(path: Path) -> list[Truth]:
    """The rows of JSON lines with `shard`, `key`, `right` and `doubt`."""
    rows = map(json.loads, filter(None, path.read_text("utf-8").splitlines()))
    return [Truth(row["shard"], row["key"], frozenset(row["right"]), frozenset(row["doubt"])) for row in rows]


def scored_rows(labels: Folder, truth: Sequence[Truth]) -> list[ScoredRow]:
    """The rows of the labels that the truth knows, in the order of the shards."""
    known = {(row.shard, row.key): row for row in truth}
    scored = []
    for shard in labels.shards:
        keys = [row.key for row in truth if row.shard == shard.name]
        table = labels.read(shard, ["key", "text", "mentions", "entities"])
        judged = table.filter(pc.is_in(table["key"], pa.array(keys, pa.string()))).to_pylist()
        scored += [_scored(row, known[shard.name, row["key"]]) for row in judged]
    return scored


def _scored(row: Mapping[str, Any], truth: Truth) -> ScoredRow:
    candidates: dict[str, Candidate] = {}
    for judged in row["entities"]:
        if judged["entity"] not in truth.doubt:
            before = candidates.get(judged["entity"], Candidate(0.0, False, ()))
            candidates[judged["entity"]] = Candidate(
                max(before.probability, judged["probability"]),
                before.accepted or judged["accepted"],
                (*before.mentions, judged["mention"]),
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
        candidates, with `average_precision_bootstrap`; `calibration`, see `calibration_bins`. `None` where there is
        nothing to count.
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
        "average_precision_bootstrap": _average_precision_interval(rows),
        "calibration": calibration_bins(rows),
    }


def average_precision(rows: Sequence[ScoredRow]) -> float | None:
    """Over all candidates; right entities that are none are never reached. Ties share the precision at their end."""
    positives = sum(len(row.truth.right) for row in rows)
    score, right = _all_candidates(rows)
    return PrecisionRecallCurve.of(score, right, right, positives).average_precision if positives else None


def calibration_bins(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    """All candidates in bins by probability: `expected`, `observed` with its interval (`low`, `high`), `counts`."""
    curve = CalibrationCurve.of(*_all_candidates(rows))
    intervals = [wilson_interval(share, count) for share, count in zip(curve.observed, curve.counts, strict=True)]
    return curve.as_dict() | {"low": [low for low, _ in intervals], "high": [high for _, high in intervals]}


def _all_candidates(rows: Sequence[ScoredRow]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) probability, and whether it is right, of the candidates of all rows."""
    listed = [
        (candidate.probability, entity in row.truth.right)
        for row in rows
        for entity, candidate in row.candidates.items()
    ]
    return np.array([score for score, _ in listed], np.float32), np.array([right for _, right in listed], bool)


def _average_precision_interval(rows: Sequence[ScoredRow]) -> tuple[float, float] | None:
    draw = np.random.default_rng(0)
    drawn = (
        average_precision([rows[number] for number in draw.integers(0, len(rows), len(rows))])
        for _ in range(RESAMPLES if rows else 0)
    )
    values = [value for value in drawn if value is not None]
    return percentiles(np.array(values)) if values else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
