"""The threshold that verdicts choose.

Verdicts recalibrate probabilities by two numbers: a shift and a slope of their log odds. An isotonic curve through two
hundred verdicts has steps, and the lowest threshold that reaches a target would sit on a lucky one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from openmofi.arrays import Bools, Doubles
from openmofi.errors import UsageError
from openmofi.labeling.calibrate.calibration import threshold_for_precision
from openmofi.labeling.verdicts.file import Verdicts, require_same_basis
from openmofi.storage import fingerprint

_SHIFT, _SLOPE = 1.0, 0.5
"""Standard deviations of the shift around 0 and the slope around 1: with few verdicts the calibration's own holds."""

_EDGE = 1e-6


@dataclass(frozen=True)
class Recalibration:
    """Probability → probability, by shift and slope of the log odds."""

    shift: float
    slope: float

    @classmethod
    def of(cls, probability: Doubles, right: Bools, weights: Doubles) -> Recalibration:
        """Fitted on labels that were looked at, each standing for `weights` labels."""
        odds = _odds(probability)
        # The weights say which labels count; how sure the verdicts are, their effective number says.
        counts = weights * weights.sum() / np.sum(weights**2)

        def loss(values: Doubles) -> tuple[float, Doubles]:
            shift, slope = values
            scores = shift + slope * odds
            wrong = counts * (expit(scores) - right)
            value = np.sum(counts * (np.logaddexp(0, scores) - right * scores))
            return (
                float(value + (shift / _SHIFT) ** 2 / 2 + ((slope - 1) / _SLOPE) ** 2 / 2),
                np.array([wrong.sum() + shift / _SHIFT**2, (wrong * odds).sum() + (slope - 1) / _SLOPE**2]),
            )

        fitted = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (0.05, None)])
        return cls(float(fitted.x[0]), float(fitted.x[1]))

    def __call__(self, probability: Doubles) -> Doubles:
        """Rises with `probability`, so that the order of labels stays."""
        return np.asarray(expit(self.shift + self.slope * _odds(probability)), np.float64)


def threshold_by_verdicts(
    probability: Doubles, judged: Doubles, right: Bools, weights: Doubles, target: float
) -> float:
    """The lowest threshold from which the corrected precision, its mean, reaches `target`; 1.0 where none does.

    The mean and not its lower bound, as a job's expected precision is a mean, too; `label audit --verdicts` has the
    interval.

    Args:
        probability: (n,) of all candidates.
        judged, right, weights: (m,) of those that were looked at: their probability, whether the image shows the
            entity, and how many candidates each stands for.
        target: 0..1.
    """
    return _lowest(probability, Recalibration.of(judged, right, weights), target)


def _lowest(probability: Doubles, recalibration: Recalibration, target: float) -> float:
    corrected = recalibration(probability)
    threshold = threshold_for_precision(corrected, target)
    reached = probability[corrected >= threshold]
    return float(reached.min()) if len(reached) else 1.0


@dataclass(frozen=True)
class Correction:
    """What a label job takes from verdicts.

    Attributes:
        verdicts: which labels they are of.
        recalibration: fitted on them.
    """

    verdicts: Verdicts
    recalibration: Recalibration

    def threshold(self, probability: Doubles, target: float) -> float:
        """See `threshold_by_verdicts`."""
        return _lowest(probability, self.recalibration, target)

    def counts(self, probability: Doubles, labels: Doubles) -> dict[str, Any]:
        """For the manifest, from (n,) probabilities and how many accepted labels have each."""
        corrected = self.recalibration(probability)
        return {
            "verdicts": {
                "judged": len(self.verdicts.said),
                "unsure": self.verdicts.unsure,
                "corrected_precision": float(np.average(corrected, weights=labels)) if len(labels) else None,
            }
        }


def correction_by(
    verdicts: Verdicts, target: float | None, settings: Mapping[str, Any], inputs: dict[str, str]
) -> Correction:
    """The correction of a label job by verdicts.

    Args:
        verdicts: of labels with the same probabilities.
        target: the job's target precision.
        settings: the job's.
        inputs: the job's, by name; gets the verdicts' fingerprint.

    Raises:
        UsageError: there is no target precision to choose a threshold for.
        OpenMofiError: they are of labels with other probabilities.
    """
    if target is None:
        raise UsageError(
            "Verdicts choose the threshold for a target precision, and none is given.",
            "Add --target-precision, e.g. 0.95.",
        )
    require_same_basis(verdicts, settings, inputs)
    inputs["/verdicts"] = fingerprint(asdict(replace(verdicts, path="")))
    return Correction(verdicts, Recalibration.of(verdicts.probability, verdicts.right, verdicts.weights))


def _odds(probability: Doubles) -> Doubles:
    return np.asarray(logit(np.clip(probability, _EDGE, 1 - _EDGE)), np.float64)
