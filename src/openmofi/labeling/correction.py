"""The correction of probabilities and threshold by people's verdicts.

Verdicts recalibrate probabilities by two numbers: a shift and a slope of their log odds. An isotonic curve through two
hundred verdicts has steps, and the lowest threshold that reaches a target would sit on a lucky one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from openmofi.arrays import Bools, Doubles
from openmofi.errors import UsageError
from openmofi.labeling.calibrate.calibration import threshold_for_precision
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.labeling.tables import accepted_labels
from openmofi.review.commands import CONFIDENCE, first_draw, further_draw
from openmofi.review.guarantee import Guarantee, guaranteed
from openmofi.review.precision import precision_by
from openmofi.review.verdicts import Verdicts, require_same_basis
from openmofi.schema import LABELS
from openmofi.storage import fingerprint, read_parquet

_SHIFT, _SLOPE = 1.0, 0.5
"""Standard deviations of the shift around 0 and the slope around 1: with few verdicts the calibration's own holds."""

_EDGE = 1e-6


@dataclass(frozen=True)
class Recalibration:
    """Probability → probability, by shift and slope of the log odds."""

    shift: float
    slope: float

    @classmethod
    def of(cls, probability: Doubles, right: Bools) -> Recalibration:
        """Fit to labels that were looked at.

        Each counts once, however many labels it stands for: a few far below the threshold that stand for thousands
        would else decide what holds above it.
        """
        odds = _odds(probability)

        def loss(values: Doubles) -> tuple[float, Doubles]:
            shift, slope = values
            scores = shift + slope * odds
            wrong = expit(scores) - right
            value = np.sum(np.logaddexp(0, scores) - right * scores)
            return (
                float(value + (shift / _SHIFT) ** 2 / 2 + ((slope - 1) / _SLOPE) ** 2 / 2),
                np.array([wrong.sum() + shift / _SHIFT**2, (wrong * odds).sum() + (slope - 1) / _SLOPE**2]),
            )

        fitted = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (0.05, None)])
        return cls(float(fitted.x[0]), float(fitted.x[1]))

    def __call__(self, probability: Doubles) -> Doubles:
        """Recalibrate probabilities; the result rises with `probability`, so that the order of labels stays."""
        return np.asarray(expit(self.shift + self.slope * _odds(probability)), np.float64)

    def threshold_for(self, probability: Doubles, target: float) -> float:
        """Return the lowest of (n,) probabilities from which the recalibrated mean reaches `target`; 1.0 if none does.

        The mean and not its lower bound, as a job's expected precision is a mean, too; `label audit --verdicts` has the
        interval.
        """
        recalibrated = self(probability)
        reached = probability[recalibrated >= threshold_for_precision(recalibrated, target)]
        return float(reached.min()) if len(reached) else 1.0


@dataclass
class Correction:
    """The correction that a label job takes from verdicts.

    Attributes:
        verdicts: which labels they are of.
        recalibration: fitted on them.
        guarantee: by them, where one is asked for; it chooses the threshold.
        why: nothing is accepted, or what is guaranteed; empty where there is nothing to say.
    """

    verdicts: Verdicts
    recalibration: Recalibration
    guarantee: Guarantee | None = None
    why: str = ""

    def threshold_for(self, probability: Doubles, target: float) -> float:
        """Return the least probability of a label, 1.0 for none, and note `why`.

        Args:
            probability: (n,) of the pairs that the calibration was fitted on.
            target: the job's target precision.
        """
        if self.guarantee:
            self.why = " ".join(self._said(self.guarantee))
            return self.guarantee.threshold
        threshold, self.why = self.recalibration.threshold_for(probability, target), ""
        accepted = probability[probability >= threshold]
        if not len(accepted):
            return 1.0
        precision = precision_by(
            self.verdicts, len(accepted), float(accepted.mean()), self._on(float(threshold)).tolist()
        )
        mean = float(self.recalibration(accepted).mean())
        # Verdicts that show more right than is expected are no reason to refuse.
        if precision.interval is None or mean <= precision.interval[1]:
            return threshold
        low, high = precision.interval
        self.why = (
            f"Nothing is accepted: from probability {threshold:.3f} on the recalibration by the verdicts expects "
            f"{mean:.3f} right, but the {precision.judged:,} verdicts there show {low:.3f} to {high:.3f}. Judge more "
            f"labels, or draw for a guarantee: {first_draw(self.verdicts, target, CONFIDENCE)}"
        )
        return 1.0

    def _said(self, guarantee: Guarantee) -> list[str]:
        """Return what is guaranteed, and the command of a further draw where one may decide more."""
        plan, said = self.verdicts.plan, guarantee.sentences()
        if plan and (plan.target, plan.confidence) != (guarantee.target, guarantee.confidence):
            drawn = f"{plan.target:g} with confidence {plan.confidence:g}"
            again = first_draw(self.verdicts, guarantee.target, guarantee.confidence)
            return [said[0], f"The labels were drawn for {drawn}; for more, draw for {guarantee.target:g}: {again}"]
        return [*said, f"Draw for the next step: {further_draw(self.verdicts)}"] if guarantee.further else said

    def _on(self, threshold: float) -> Bools:
        """(verdicts,) whether each is on a label of this threshold."""
        verdicts = self.verdicts
        probability = np.array([each.probability for each in verdicts.verdicts], np.float32)
        if verdicts.plan:
            return np.asarray(probability.astype(np.float64) >= threshold, bool)
        accepted = np.array([verdicts.strata[each.stratum].accepted for each in verdicts.verdicts], bool)
        # A candidate that is likelier than labels that were accepted missed more than the threshold.
        missed = ~accepted & (probability >= probability[accepted].min(initial=1))
        return np.asarray((probability >= threshold) & ~missed, bool)

    def counts(self, tables: Iterable[str], threshold: float) -> dict[str, Any]:
        """Return what the manifest says of the precision of a job's labels, as `openmofi label audit` estimates it.

        Args:
            tables: paths of the labels (`schema.LABELS`). An entity that a text names twice is one label of its pair.
            threshold: from which on candidates are labels.
        """
        labels, total = 0, 0.0
        for path in tables:
            accepted = accepted_labels(read_parquet(path, LABELS, columns=["entities"]))[1]
            probability = accepted.field("probability").to_numpy()
            labels, total = labels + len(probability), total + float(probability.sum(dtype=np.float64))
        verdicts = self.verdicts
        precision = precision_by(verdicts, labels, total / labels if labels else None, self._on(threshold).tolist())
        return {
            "verdicts": {
                "judged": len(verdicts.said),
                "unsure": verdicts.unsure,
                "corrected_precision": precision.corrected,
                "interval": precision.interval and list(precision.interval),
                **({"why": self.why} if self.why else {}),
                **({"guarantee": asdict(self.guarantee)} if self.guarantee else {}),
            }
        }


def correction_by(
    verdicts: Verdicts, selection: SelectionSettings, settings: Mapping[str, Any], inputs: dict[str, str]
) -> Correction:
    """Estimate the correction of a label job by verdicts.

    Args:
        verdicts: of labels with the same probabilities.
        selection: the job's.
        settings: the job's.
        inputs: the job's, by name; gets the verdicts' fingerprint.

    Raises:
        UsageError: there is no target precision to choose a threshold for, or they were not drawn for the guarantee
            that is asked for.
        OpenMofiError: they are of labels with other probabilities, or incomplete.
    """
    if selection.target_precision is None:
        raise UsageError(
            "Verdicts choose the threshold for a target precision, and none is given.",
            "Add --target-precision, e.g. 0.95.",
        )
    require_same_basis(verdicts, settings, inputs)
    inputs["/verdicts"] = fingerprint(asdict(replace(verdicts, path="", folder="")))
    correction = Correction(verdicts, Recalibration.of(verdicts.probability, verdicts.right))
    if selection.confidence is not None:
        correction.guarantee = guaranteed(verdicts, selection.target_precision, selection.confidence)
        plan = verdicts.plan
        if plan and (plan.top_k, plan.sibling_margin) != (selection.top_k, selection.sibling_margin):
            raise UsageError(
                f"The verdicts of {verdicts.path} were drawn where --top-k was {plan.top_k} and --sibling-margin "
                f"{plan.sibling_margin:g}: other labels are accepted with others.",
                "Give the same, or label with these, and draw anew.",
            )
    return correction


def _odds(probability: Doubles) -> Doubles:
    return np.asarray(logit(np.clip(probability, _EDGE, 1 - _EDGE)), np.float64)
