"""How many labels people should look at in each stratum, and the precision that their verdicts show.

Precision is from many probabilities and few verdicts: prediction-powered inference, tuned (PPI++, arXiv 2311.01453).
λ times the mean of all labels' probabilities is corrected by the weighted mean of (verdict − λ · probability) over the
labels that were looked at: right on average whatever the probabilities are worth. The verdicts choose λ so that the
variance is least, 0 where probabilities say nothing; so it is hardly ever wider than verdicts alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from openmofi.arrays import Bools, Doubles, Ints
from openmofi.bootstrap import LEVEL, wilson_interval
from openmofi.review.verdicts import Verdicts

EDGES = (0.0, 0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99)
"""Lower ends of the ranges of probability that strata are made of."""

CONSIDERED = EDGES[1]
"""Least probability of a candidate below the threshold that is drawn."""

_LEAST = 2
"""Labels of a stratum, where there are enough: the estimate of a variance takes two."""

_SPREAD = 0.02
"""Least variance that a stratum counts with: a calibration that is too sure would leave its surest labels unseen."""

_FIRST = 1e9


def ranges(probability: ArrayLike) -> Ints:
    """Return the position of each probability's range in `EDGES`, by float32, as label tables hold probabilities."""
    return np.searchsorted(np.array(EDGES, np.float32), np.asarray(probability, np.float32), "right") - 1


def range_name(position: int) -> str:
    """Return a range of probability for people."""
    return f"{EDGES[position]:.2f}–{[*EDGES, 1.0][position + 1]:.2f}"


def stratum_name(accepted: bool, position: int = -1, kind: str = "") -> str:
    """Return a stratum's name for people: accepted or not, the range of probability, the type of entity."""
    words = ["accepted" if accepted else "below the threshold", range_name(position) if position >= 0 else "", kind]
    return ", ".join(filter(None, words))


def allocation(labels: ArrayLike, expected: ArrayLike, count: int, judged: ArrayLike = 0) -> Ints:
    """Return how many labels of each stratum to look at next, so that the precision's variance becomes least.

    Each goes where it lowers the variance most (Wright 2012, https://doi.org/10.1198/tas.2012.11208), which is the one
    that the probabilities expect. What the verdicts say changes nothing: if strata where the first verdicts were all
    right were looked at less, their luck would stay in the estimate, which then is too high.

    Args:
        labels, expected: (strata,) how many labels there are, and the mean of their probabilities.
        count: how many to look at; fewer where there are not so many.
        judged: (strata,) how many were looked at before.
    """
    rooms, mean = np.asarray(labels, np.int64), np.asarray(expected, np.float64)
    before = np.minimum(np.broadcast_to(np.asarray(judged, np.int64), rooms.shape), rooms)
    spread = rooms * np.sqrt(np.maximum(mean * (1 - mean), _SPREAD))
    least = max(1, min(_LEAST, (count + int(before.sum())) // max(1, int(np.count_nonzero(rooms)))))
    after = before.copy()
    for _ in range(min(count, int((rooms - before).sum()))):
        gain = np.where(after < least, _FIRST, 1 / np.sqrt(np.maximum(after * (after + 1), 1)))
        after[np.argmax(np.where(after < rooms, spread * gain, -1.0))] += 1
    return np.asarray(after - before, np.int64)


FEW = 30
"""Below so many verdicts the probabilities are left alone: the share of right ones, with Clopper–Pearson's interval."""


@dataclass(frozen=True)
class Precision:
    """How many of some labels are right.

    Attributes:
        labels: how many there are.
        expected: the mean of their probabilities.
        judged, right: verdicts yes or no, and yes.
        unsure: verdicts that could not say; left out.
        corrected: by the verdicts; `None` where there are none.
        interval: of `corrected`, 95 %.
    """

    labels: int
    expected: float | None
    judged: int
    right: int
    unsure: int
    corrected: float | None = None
    interval: tuple[float, float] | None = None


def precision_by(verdicts: Verdicts, labels: int, expected: float | None, on: Sequence[bool]) -> Precision:
    """Return the precision of labels by the verdicts on some of them.

    Args:
        verdicts: with the strata that they were drawn from.
        labels, expected: how many labels there are, and the mean of their probabilities.
        on: (verdicts,) whether each is on one of these labels.
    """
    said = np.array([chosen for chosen, each in zip(on, verdicts.verdicts, strict=True) if each.verdict != "u"], bool)
    right = verdicts.right[said]
    counts = Precision(labels, expected, len(right), int(right.sum()), sum(on) - len(right))
    if expected is None or not len(right):
        return counts
    mean, interval = corrected_precision(
        expected, verdicts.probability[said], right, verdicts.weights[said], verdicts.strata_said[said]
    )
    return replace(counts, corrected=mean, interval=interval)


def corrected_precision(
    expected: float, probability: Doubles, right: Bools, weights: Doubles, strata: Ints
) -> tuple[float, tuple[float, float]]:
    """The precision of labels of which some were looked at, and its interval.

    Args:
        expected: mean of the probabilities of all of them.
        probability, right, weights, strata: (n,) of those that were looked at, n ≥ 1: whether it is right, how many
            labels it stands for, and the stratum that it was drawn from.
    """
    share = float(np.average(right, weights=weights))
    if len(right) < FEW:
        # A census is exact.
        draws = float(weights.sum() ** 2 / np.sum(weights**2))  # Kish's effective sample size
        return share, (share, share) if (weights <= 1).all() else _clopper_pearson(share, draws)
    power = tuned_power(right, probability, weights, strata)
    residual = right - power * probability
    mean = float(np.clip(power * expected + np.average(residual, weights=weights), 0, 1))
    variance = _variance(residual, weights, strata)
    if (weights <= 1).all():
        return mean, (mean, mean)
    # As Korn and Graubard (1998): an interval of a proportion, for as many plain draws as the design is worth.
    # Where hardly any label is wrong, the spread of few residuals says too little: what the design is worth by the
    # probabilities is the most.
    plain = (share * len(right) + 2) / (len(right) + 4)
    model = float(np.sum(weights**2 * probability * (1 - probability)) / weights.sum() ** 2)
    typical = float(np.average(probability, weights=weights))
    worth = typical * (1 - typical) / model if model > 0 else float(len(right))
    count = min(plain * (1 - plain) / variance, worth) if variance > 0 else len(right)
    low, high = wilson_interval(mean, count)
    # Verdicts of which none is no do not show that any label is wrong, nor does the other side.
    return mean, (low if right.any() else 0.0, 1.0 if right.all() else high)


def tuned_power(right: Bools, probability: Doubles, weights: Doubles, strata: Ints) -> float:
    """PPI++'s λ, 0..1, within strata: the covariance of verdicts and probabilities over the variance of these.

    All labels' probabilities are known, so that the mean of these has no variance.
    """
    codes = np.unique(strata, return_inverse=True)[1]
    count = np.bincount(codes)
    verdict, claim = (
        values - (np.bincount(codes, values) / count)[codes] for values in (right.astype(np.float64), probability)
    )
    spread = float(np.sum(weights**2 * claim**2))
    return float(np.clip(np.sum(weights**2 * verdict * claim) / spread, 0, 1)) if spread > 0 else 1.0


def _variance(residual: Doubles, weights: Doubles, strata: Ints) -> float:
    """Of the weighted mean of the residuals, drawn without replacement within strata."""
    codes = np.unique(strata, return_inverse=True)[1]
    count = np.bincount(codes)
    centred = residual - (np.bincount(codes, residual) / count)[codes]
    # One more draw of the spread of all for each stratum: two verdicts that agree by chance are no certainty.
    pooled = float(np.average(centred**2, weights=weights))
    spread = (np.bincount(codes, centred**2) + pooled) / count
    drawn = np.clip(1 - 1 / weights, 0, 1)
    return float(np.sum(weights**2 * drawn * spread[codes]) / weights.sum() ** 2)


def _clopper_pearson(share: float, count: float) -> tuple[float, float]:
    tail, right = (1 - LEVEL) / 2, share * count
    low = 0.0 if right <= 0 else float(betaincinv(right, count - right + 1, tail))
    high = 1.0 if right >= count else float(betaincinv(right + 1, count - right, 1 - tail))
    return low, high
