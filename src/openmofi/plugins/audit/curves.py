"""Measures of scored labels: precision–recall curve, calibration, bootstrap intervals. All vectorised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.arrays import Bools, Doubles, Floats, Ints
from openmofi.bootstrap import RESAMPLES, Interval, percentiles, resampled_totals
from openmofi.dataset.tables import run_starts

_SHOWN = 200


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """A precision–recall curve: one point a distinct threshold, from the highest threshold to the lowest.

    Attributes:
        thresholds: a label is accepted if its score is at least this.
        precision, recall: float64, of the same length; recall never falls.
        average_precision: Σ (R_i − R_{i−1}) P_i, scikit-learn's definition (no interpolation).
    """

    thresholds: Doubles
    precision: Doubles
    recall: Doubles
    average_precision: float

    @classmethod
    def of(cls, score: Floats, correct: Bools, recalled: Bools, relevant: int) -> PrecisionRecallCurve:
        """Sweep the threshold over scored labels.

        Args:
            score, correct: (labels,) score, and whether the label is true.
            recalled: (labels,) whether accepting the label counts towards recall (a correct label of a pair whose
                text names the entity).
            relevant: number of pairs that count towards recall.
        """
        order = np.argsort(-score.astype(np.float64), kind="stable")
        ordered = score[order]
        ends = np.flatnonzero(run_starts(ordered[::-1])[::-1])
        true, hits = np.cumsum(correct[order])[ends], np.cumsum(recalled[order])[ends]
        precision, recall = true / (ends + 1), hits / max(relevant, 1)
        average = float(np.sum(np.diff(np.r_[0.0, recall]) * precision))
        return cls(ordered[ends].astype(np.float64), precision, recall, average)

    def at_recall(self, recall: float) -> tuple[float, float] | None:
        """(precision, threshold) at the highest threshold that reaches `recall`; `None` if none does."""
        position = int(np.searchsorted(self.recall, recall - 1e-12))
        if position == len(self.recall):
            return None
        return float(self.precision[position]), float(self.thresholds[position])

    def shown(self) -> PrecisionRecallCurve:
        """The curve thinned to about 200 points, for plots and JSON; the average precision is that of all points."""
        if len(self.recall) <= _SHOWN:
            return self
        grid = np.linspace(self.recall[0], self.recall[-1], _SHOWN)
        chosen = np.unique(np.r_[0, np.searchsorted(self.recall, grid).clip(0, len(self.recall) - 1)])
        return PrecisionRecallCurve(
            self.thresholds[chosen], self.precision[chosen], self.recall[chosen], self.average_precision
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, thinned."""
        thin = self.shown()
        return {
            "average_precision": self.average_precision,
            "thresholds": _rounded(thin.thresholds),
            "precision": _rounded(thin.precision),
            "recall": _rounded(thin.recall),
        }


@dataclass(frozen=True)
class CalibrationCurve:
    """Observed precision over expected probability, in bins.

    Attributes:
        expected: mean probability of each non-empty bin (10 bins of equal width).
        observed: share of true labels in it.
        counts: judged entities in it.
        error: expected calibration error, Σ n_b / n · |observed_b − expected_b|.
    """

    expected: Doubles
    observed: Doubles
    counts: Ints
    error: float

    @classmethod
    def of(cls, probability: Floats, correct: Bools, bins: int = 10) -> CalibrationCurve:
        """Bin judged entities by probability."""
        which = np.minimum((probability.astype(np.float64) * bins).astype(np.int64), bins - 1)
        counts = np.bincount(which, minlength=bins)
        filled = counts > 0
        expected = np.bincount(which, probability, bins)[filled] / counts[filled]
        observed = np.bincount(which, correct, bins)[filled] / counts[filled]
        error = float(np.sum(counts[filled] * np.abs(expected - observed)) / max(counts.sum(), 1))
        return cls(expected, observed, counts[filled], error)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "error": self.error,
            "expected": _rounded(self.expected),
            "observed": _rounded(self.observed),
            "counts": self.counts.tolist(),
        }


@dataclass(frozen=True)
class Figures:
    """Precision and recall with 95 % bootstrap intervals; `None` where nothing was counted.

    Attributes:
        precision, recall: `correct / accepted`, `found / named`.
        accepted, correct: accepted labels on pairs of known truth, and those that are true.
        named, found: pairs whose text names the true entity, and those that were given it.
        pairs: pairs of known truth.
    """

    pairs: int
    accepted: int
    correct: int
    named: int
    found: int
    precision: float | None
    recall: float | None
    precision_interval: Interval | None
    recall_interval: Interval | None

    @classmethod
    def of(cls, per_pair: Ints, *, resamples: int = RESAMPLES, seed: int = 0) -> Figures:
        """Figures from `(pairs, 4)` counts: accepted, correct, named, found (0 or 1 for a pair of one true entity).

        The intervals are a bootstrap over pairs: the labels of a pair are drawn together.
        """
        accepted, correct, named, recalled = (int(total) for total in per_pair.sum(axis=0))
        precision = recall = None
        if len(per_pair):
            totals = resampled_totals(per_pair, resamples=resamples, seed=seed)
            precision, recall = _interval(totals[:, 1], totals[:, 0]), _interval(totals[:, 3], totals[:, 2])
        return cls(
            len(per_pair),
            accepted,
            correct,
            named,
            recalled,
            correct / accepted if accepted else None,
            recalled / named if named else None,
            precision,
            recall,
        )


def _interval(part: Ints, whole: Ints) -> Interval | None:
    valid = whole > 0
    return percentiles(part[valid] / whole[valid]) if valid.any() else None


def _rounded(values: Doubles) -> list[float]:
    return [round(float(value), 6) for value in values]
