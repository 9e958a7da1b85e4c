"""Whether an adapter is to judge, or the encoder that it stands on. No truth is asked for.

Evidence of both is cross-fitted by groups (`openmofi.labeling.calibrate.evidence.Scorer`), so that an adapter is asked
about groups that its heads have not seen. It judges where all of this holds:

1. More labels are expected to be right than without it, by more than twice the standard error of the difference, for
   which the pairs of a group count as one.
2. What is named and not shown does not lie materially further above the decoys than without it.
3. It reaches the precision that it expects: by neither kind of decoys are materially more labels wrong than it claims
   (`openmofi.labeling.calibrate.overclaim`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmofi.labeling.calibrate.overclaim import LEAST, Judged, excesses

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


def check_adapter(without: Judged, adapted: Judged) -> AdapterCheck:
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


def _error(without: Judged, adapted: Judged) -> float:
    """Standard error of the difference of right labels: over groups, and of the labels that one alone has."""
    cluster = adapted.pair if adapted.source is None else adapted.source[adapted.pair]
    number = np.unique(cluster, return_inverse=True)[1]
    difference = np.bincount(number, adapted.right - without.right)
    alone = adapted.accepted != without.accepted
    chance = sum(float((side.right * (1 - side.probability))[alone].sum()) for side in (without, adapted))
    return float(np.sqrt(len(difference) * difference.var() + chance)) if len(difference) else 0.0


def _shift(judged: Judged) -> float:
    tested = judged.exchangeability.get("status", "untested") != "untested"
    return float(judged.exchangeability["shift"]) if tested else 0.0


def _shift_error(judged: Judged) -> float:
    return float(judged.exchangeability.get("standard_error", 0.0))
