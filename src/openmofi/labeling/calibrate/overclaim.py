"""Estimate how over-confident a calibration is, from decoys; and decide by that whether an adapter judges.

A calibration's probabilities say how many of its labels are wrong. So does what is not shown: how often its evidence,
in the place of a candidate's own, would make a label, times how probably that candidate is not shown by all but its
own evidence. Where a rival is shown, losing senses of mentions stand for it; elsewhere decoys do, or where a pair has
a group, decoys of that group, which share what was learned of a source. No truth is asked for.

An adapter judges, and not only the encoder that it stands on, where all of this holds. Evidence of both is cross-
fitted by groups (`openmofi.labeling.calibrate.evidence.Scorer`), so that an adapter is asked about groups that its
heads have not seen.

1. More labels are expected to be right than without it, by more than twice the standard error of the difference, for
   which the pairs of a group count as one.
2. What is named and not shown does not lie materially further above the decoys than without it.
3. It reaches the precision that it expects: by neither kind of decoys are materially more labels wrong than it claims
   (`excesses`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from openmofi.arrays import Bools, Floats
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import Evidence

_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
LEAST = 30
_MOST = 3.0
_TINY = 1e-12


@dataclass(frozen=True)
class JudgedSample:
    """An encoder's judgement of the pairs that a calibration is fitted on.

    Attributes:
        probability: (n,) P(shown) of the candidates.
        log_ratio: (n,) what a candidate's own evidence adds to its log odds; see `Calibration.log_ratio`.
        mention, pair: (n,) int64 numbers of each one's mention and pair.
        decoys: (m,) log ratios of decoys.
        threshold: least probability of a label.
        exchangeability: see `openmofi.labeling.calibrate.calibration.exchangeability`; empty where it was not tested.
        pair_group: (pairs,) number of each pair's group, by `pair`; `None` where it is not known.
        near: (m,) whether a decoy's image is of its pair's own group; `None` where it is not known.
    """

    probability: Floats
    log_ratio: Floats
    mention: NDArray[np.int64]
    pair: NDArray[np.int64]
    decoys: Floats
    threshold: float
    exchangeability: Mapping[str, Any]
    pair_group: NDArray[Any] | None = None
    near: Bools | None = None

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        calibration: Calibration,
        probability: Floats,
        real: Floats,
        decoys: Floats,
        threshold: float,
        pair_group: NDArray[Any] | None = None,
        near: Bools | None = None,
    ) -> JudgedSample:
        """Judge by a calibration (n,) and (m,) evidence without offsets and with votes."""
        candidates, others = (
            np.interp(values, calibration.centres, calibration.log_ratio) for values in (real, decoys)
        )
        return cls(
            probability,
            candidates,
            evidence.mention,
            evidence.pair,
            others,
            threshold,
            calibration.report.get("exchangeability", {}),
            pair_group,
            near,
        )

    @property
    def accepted(self) -> Bools:
        """Return (n,) whether each candidate becomes a label."""
        return self.probability >= self.threshold

    @property
    def right(self) -> Floats:
        """Return (n,) the right labels expected of each candidate: its probability where it is accepted."""
        return np.where(self.accepted, self.probability, 0.0)


def humility(judged: JudgedSample) -> float:
    """Return what to take off all log odds, 0 or more, so that labels are not claimed right too often.

    The most that it takes at thresholds from .5 to .9, of those with at least 30 labels: a claim holds at each.
    """
    shifts = []
    for threshold in _THRESHOLDS:
        tried = replace(judged, threshold=threshold)
        labels = judged.probability[tried.accepted]
        excess = max((value for _, value in excesses(tried, 0.0)), default=0.0)
        if len(labels) >= LEAST:
            shifts.append(_shift_for(labels, float(labels.sum()) - excess))
    return max(shifts, default=0.0)


def _shift_for(labels: Floats, right: float) -> float:
    """Return what to take off the log odds of labels for their probabilities to sum to `right`."""
    odds = logit(np.clip(labels, _TINY, 1 - _TINY))

    def surplus(shift: float) -> float:
        return float(expit(odds - shift).sum()) - right

    if surplus(0.0) <= 0:
        return 0.0
    return _MOST if surplus(_MOST) >= 0 else float(brentq(surplus, 0.0, _MOST))


def excesses(judged: JudgedSample, errors: float) -> Iterator[tuple[str, float]]:
    """Yield each kind of decoys, and by it the wrong labels beyond those claimed, less `errors` standard errors.

    Nothing where there are fewer than 30 decoys.
    """
    everyone, near = np.ones(len(judged.probability), bool), judged.near
    kinds = [("decoys", [(judged.decoys, everyone)])]
    if near is not None and near.sum() >= LEAST:
        grouped = _of_groups(judged)
        kinds.append(("decoys of the same group", [(judged.decoys[near], grouped), (judged.decoys, ~grouped)]))
    if len(judged.decoys) < LEAST:
        return
    probability = np.clip(judged.probability, _TINY, 1 - _TINY)
    # What all but its own evidence says of a candidate: that it is not shown, and that a rival is in its place.
    by_others = logit(probability) - judged.log_ratio
    unshown = expit(-by_others)
    rivals = np.clip(np.bincount(judged.mention, probability)[judged.mention] - probability, 0.0, 1 - probability)
    losing = unshown * rivals / (1 - probability)
    needed = logit(judged.threshold) - by_others
    claimed = float((1 - judged.probability)[judged.accepted].sum())
    senses = _wrong(judged.log_ratio, rivals, needed, losing)
    for name, samples in kinds:
        parts = [
            senses,
            *(_wrong(sample, np.ones(len(sample)), needed[like], (unshown - losing)[like]) for sample, like in samples),
        ]
        total, variance = (sum(values) for values in zip(*parts, strict=True))
        yield name, total - errors * float(np.sqrt(variance)) - claimed


def _of_groups(judged: JudgedSample) -> Bools:
    """Return (n,) whether another pair with candidates is in a candidate's group."""
    if judged.pair_group is None:
        return np.ones(len(judged.pair), bool)
    _, number, counts = np.unique(judged.pair_group[np.unique(judged.pair)], return_inverse=True, return_counts=True)
    return counts[number][np.unique(judged.pair, return_inverse=True)[1]] > 1


def _wrong(sample: Floats, weight: Floats, needed: Floats, unshown: Floats) -> tuple[float, float]:
    """Return how many labels are wrong if what is not shown resembles a sample, and its squared standard error.

    Args:
        sample: (s,) log ratios.
        weight: (s,) how probably each belongs to the sample.
        needed: (n,) the log ratio from which on a candidate is accepted.
        unshown: (n,) how probably it is not shown, but like the sample.
    """
    order = np.argsort(needed)
    of_each = np.append(0.0, np.cumsum(unshown[order]))[np.searchsorted(needed[order], sample, side="right")]
    total = max(float(weight.sum()), _TINY)
    mean = float(weight @ of_each) / total
    return mean, float((weight**2 * (of_each - mean) ** 2).sum()) / total**2


_ERRORS = 2.0
_SHIFT, _PRECISION = 0.1, 0.03


@dataclass(frozen=True)
class AdapterCheck:
    """Whether an adapter judges.

    Attributes:
        used: the outcome.
        why: a sentence with the figures that decide.
        right_without, right_with: labels that are expected to be right.
        standard_error: of their difference.
        shift_without, shift_with: of losing senses over decoys in SD; 0 where not tested.
        expected_precision: of the labels with the adapter; 0 without labels.
        checked_precision: the lesser of what either kind of decoys makes of it, twice its standard error added.
        decoys: which kind that is; `none` where there are too few.
    """

    used: bool
    why: str
    right_without: float
    right_with: float
    standard_error: float
    shift_without: float
    shift_with: float
    expected_precision: float
    checked_precision: float
    decoys: str


def check_adapter(without: JudgedSample, adapted: JudgedSample) -> AdapterCheck:
    """Decide whether `adapted` judges, instead of the encoder without it; both of the same candidates."""
    right_without, right_with, error = float(without.right.sum()), float(adapted.right.sum()), _error(without, adapted)
    shift_without, shift_with = _shift(without), _shift(adapted)
    labels = max(int(adapted.accepted.sum()), 1)
    expected = right_with / labels
    checked, decoys = min(
        ((expected - excess / labels, name) for name, excess in excesses(adapted, _ERRORS)), default=(0.0, "none")
    )
    tolerance = max(_SHIFT, _ERRORS * np.hypot(_shift_error(without), _shift_error(adapted)))
    gain = (
        f"{right_with:,.0f} labels are expected to be right with it and {right_without:,.0f} without "
        f"(standard error of the difference {error:,.0f})"
    )
    why = ""
    if right_with - right_without <= _ERRORS * error:
        why = f"{gain}, which is no clear gain"
    elif max(shift_with, 0.0) - max(shift_without, 0.0) > tolerance:
        why = (
            f"what is named and not shown lies {shift_with:.2f} SD above its decoys, and {shift_without:.2f} without it"
        )
    elif decoys == "none":
        why = f"there are fewer than {LEAST} decoys to check its precision by"
    elif checked < expected - _PRECISION:
        why = f"it expects a precision of {expected:.3f}, and by {decoys} reaches {checked:.3f} at most"
    used = f"The adapter is used: {gain}, and by {decoys} it reaches the precision of {expected:.3f} that it expects."
    return AdapterCheck(
        not why,
        f"The adapter is not used: {why}." if why else used,
        round(right_without, 1),
        round(right_with, 1),
        round(error, 1),
        shift_without,
        shift_with,
        round(expected, 4),
        round(checked, 4),
        decoys,
    )


def _error(without: JudgedSample, adapted: JudgedSample) -> float:
    """Return the standard error of the difference of right labels: over groups, and of labels of one alone."""
    cluster = adapted.pair if adapted.pair_group is None else adapted.pair_group[adapted.pair]
    number = np.unique(cluster, return_inverse=True)[1]
    difference = np.bincount(number, adapted.right - without.right)
    alone = adapted.accepted != without.accepted
    chance = sum(float((side.right * (1 - side.probability))[alone].sum()) for side in (without, adapted))
    return float(np.sqrt(len(difference) * difference.var() + chance)) if len(difference) else 0.0


def _shift(judged: JudgedSample) -> float:
    tested = judged.exchangeability.get("status", "untested") != "untested"
    return float(judged.exchangeability["shift"]) if tested else 0.0


def _shift_error(judged: JudgedSample) -> float:
    return float(judged.exchangeability.get("standard_error", 0.0))
