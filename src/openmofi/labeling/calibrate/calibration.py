"""From raw similarities to probabilities, fitted on unlabelled pairs alone.

Raw cosines differ between encoders, so a threshold on them means nothing. What can be had without a label is the
distribution of an image's evidence for entities that it does not show: give each pair the image of another one whose
text does not name the entity (decoys, see `openmofi.labeling.calibrate.decoys`). The evidence of the real pairs is a
mixture of that distribution (named, but not shown) and an unknown one (named and shown). Its share and its shape are
estimated by expectation–maximisation with a monotone likelihood ratio, the two-groups model of false-discovery-rate
estimation (Efron 2008, "Microarrays, empirical Bayes and the two-groups model").

What is named and not shown need not be like the decoys: a caption names companions of what is shown. What tells them
apart is inside the pairs: the candidates of one mention exclude each other, so that a mention whose candidates are all
likely shows how its losing senses lie. `openmofi.labeling.calibrate.mixture` holds the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from scipy.special import expit, logit

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.errors import OpenMofiError
from openmofi.labeling.calibrate.evidence import Evidence
from openmofi.labeling.calibrate.expectation import (
    TOGETHER,
    Bins,
    Estimate,
    ExpectationProblem,
    expectation_maximisation,
)
from openmofi.labeling.calibrate.mixture import Mixture, Posterior, Prior
from openmofi.labeling.calibrate.naming import Naming
from openmofi.storage import write_json
from openmofi.storage.addresses import read_text

_BEST = 20
_LEAST_SENSES, _ERRORS, _SHIFT = 30.0, 3.0, 0.1
_BLIND, _LITTLE = 2.0, 1.0
_MOST_ALIKE = 0.9
_NOTHING = 1e-9


def describe(problem: ExpectationProblem, estimate: Estimate) -> dict[str, Any]:
    """Return figures that describe a fit.

    Returns:
        `share` of the pairs that show something that they name, `separation` of what is shown from decoys in SD of
        these, `information` in nats (see `_information`), `blind` where the one is below 2 or the other below 1,
        `best_precision` expected of the 20 most probable candidates, `candidates`, `log_likelihood` beside that of
        decoys, and `exchangeability`; see there.
    """
    posterior = problem.posterior(estimate)
    best = np.sort(posterior.shown)[-_BEST:]
    separation = round(float((estimate.present - problem.absent) @ problem.score), 3)
    information = round(_information(problem, posterior, estimate), 3)
    return {
        "share": round(float(posterior.pair_shown.mean()), 4),
        "separation": separation,
        "information": information,
        "blind": separation < _BLIND or information < _LITTLE,
        "best_precision": round(float(best.mean()), 4),
        "candidates": len(posterior.shown),
        "log_likelihood": round(posterior.log_likelihood, 1),
        "exchangeability": exchangeability(problem, posterior, estimate),
    }


def _information(problem: ExpectationProblem, posterior: Posterior, estimate: Estimate) -> float:
    """Return by how much likelier evidence is where something is shown than if nothing were, in nats a shown pair."""
    nothing = problem.posterior(estimate, replace(estimate.prior, shown=_NOTHING))
    return (posterior.log_likelihood - nothing.log_likelihood) / max(float(posterior.pair_shown.sum()), 1.0)


def exchangeability(problem: ExpectationProblem, posterior: Posterior, estimate: Estimate) -> dict[str, Any]:
    """Whether what is named and not shown is like the decoys: the losing senses of shown mentions beside these.

    The mean score of candidates, each weighted by the probability that another sense of its mention is shown, is
    unbiased for the losing senses': weight and evidence meet in the posterior alone.

    Returns:
        `status`: `passed`; `failed`: they lie significantly and by more than 0.1 SD higher, and probabilities are the
        lower for it; `untested`: fewer than 30 losing senses. `losing_senses`, how many; `shift` of theirs in SD of
        the decoys, with its `standard_error`; `companions_shift`, as the mixture has it for other named entities.
    """
    weight, score = posterior.sibling, problem.score[problem.bin_of]
    total = max(float(weight.sum()), 1e-9)
    effective = total**2 / max(float((weight**2).sum()), 1e-9)
    mean = float(weight @ score) / total
    error = float(np.sqrt((weight**2 * (score - mean) ** 2).sum())) / total
    base = float(problem.absent @ problem.score)
    shift = mean - base
    failed = shift > _ERRORS * error and shift > _SHIFT
    companions = float((problem.absent * np.exp(estimate.companion.log_ratio)) @ problem.score) - base
    status = "untested" if effective < _LEAST_SENSES else "failed" if failed else "passed"
    return {
        "status": status,
        "losing_senses": round(effective),
        "shift": round(shift, 3),
        "standard_error": round(error, 3),
        "companions_shift": round(companions, 3),
    }


def blindness(report: Mapping[str, Any]) -> str:
    """Return a sentence where an encoder cannot tell what is shown from what is not; else empty.

    Args:
        report: see `describe`; empty where nothing was fitted.
    """
    if not report.get("blind"):
        return ""
    if report["separation"] < _BLIND:
        reason = f"what is shown lies {report['separation']:.1f} SD above what is not"
        least = f"{_BLIND:.0f}"
    else:
        reason = f"an image speaks for what it shows by {np.exp(report['information']):.1f} to 1"
        least = f"{np.exp(_LITTLE):.1f} to 1"
    return f"This encoder can't tell these entities apart: {reason}, and labels can be trusted from {least} on."


__all__ = ["MINIMUM", "TOGETHER", "Calibration", "fit_calibration", "threshold_for_precision"]

MINIMUM = 200
ENOUGH, _WORTH = 10_000, 1_000
_CAUTION, _MOST_CAUTION = 6.0, 0.75


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration: from evidence to the probability that an image shows an entity.

    Attributes:
        centres: evidence at which the ratio is known, increasing.
        log_ratio: log R at `centres`, non-decreasing; linear between, constant outside.
        shown: v, how probably a pair shows something that it names; see `openmofi.labeling.calibrate.mixture`.
        together: t, how readily two named entities are shown together, 0.001 (hardly ever) to 1 (independently).
        pairs: how many pairs it was fitted on.
        fitted_for: fingerprint of encoder, knowledge base and template: it holds for these alone.
        reference: identifiers of the entities that evidence is relative to; see `openmofi.labeling.calibrate.evidence`.
        logit_scale: the factor on cosines that evidence was measured with; the encoder's own where that is known.
        origin: what `fitted_for` names, and with what settings of texts: names → values; empty where it was written by
            a version that did not say.
        breadth, companions: see `openmofi.labeling.calibrate.mixture.Prior`.
        log_companion: log K at `centres`; empty where companions are like decoys.
        correlation: ρ of the evidence of the senses of a name, 0 to 0.9.
        offsets: entity → what its evidence lies above others'; see `openmofi.labeling.calibrate.naming`.
        votes: the weight of neighbours' votes in evidence; see `openmofi.labeling.calibrate.neighbours`.
        naming: how probably what a text names is shown; see `openmofi.labeling.calibrate.naming`.
        humility: what is taken off all log odds; see `openmofi.labeling.calibrate.overclaim`.
        sense_weight: see `by_sense`; 1 while it is being fitted.
        report: what the fit says of itself; see `openmofi.labeling.calibrate.calibration`.
        corpus: names the pairs that it was estimated on or is used for.
        source: `fitted` on that corpus, `stored` (of another), or `blended` of both.
    """

    centres: tuple[float, ...]
    log_ratio: tuple[float, ...]
    shown: float
    together: float
    pairs: int
    fitted_for: str = ""
    reference: tuple[str, ...] = ()
    logit_scale: float = 1.0
    origin: Mapping[str, str] = field(default_factory=dict)
    breadth: float = 0.0
    companions: float = 0.0
    log_companion: tuple[float, ...] = ()
    correlation: float = 0.0
    offsets: Mapping[str, float] = field(default_factory=dict)
    votes: float = 0.0
    naming: Naming = field(default_factory=Naming)
    humility: float = 0.0
    sense_weight: float = 1.0
    report: Mapping[str, Any] = field(default_factory=dict)
    corpus: str = ""
    source: str = "fitted"

    def of(self, evidence: Evidence) -> Doubles:
        """Return (n,) P(shown) of the real candidates of `evidence`, without offsets, votes and naming."""
        return self.judge(evidence, evidence.link_score)

    def judge(self, evidence: Evidence, link_score: Floats) -> Doubles:
        """Return (n,) P(shown) of the real candidates of `evidence` with other link scores."""
        return self.probability(evidence.real, link_score, evidence.mention, evidence.pair)

    def offsets_of(self, ids: Sequence[str]) -> Doubles:
        """Return (len(ids),) what to subtract from each entity's evidence."""
        return np.array([self.offsets.get(entity, 0.0) for entity in ids], np.float64)

    def probability(self, evidence: Floats, link_score: Floats, group: Ints, pair: Ints) -> Doubles:
        """Return P(shown) of each candidate.

        Args:
            evidence: (n,) less the offsets, with the votes.
            link_score: (n,) 0..1, with the factors of `naming`.
            group, pair: (n,) mention and pair, both non-decreasing.
        """
        ratio, companion = (np.interp(evidence, self.centres, curve) for curve in self._curves())
        prior = Prior(self.shown, self.together, self.breadth, self.companions)
        mixture = Mixture(link_score.astype(np.float64), group, pair)
        shown = mixture.posterior(ratio, companion, prior, self.correlation).shown
        return by_sense(humbled(shown, self.humility), group, self.sense_weight)

    def _curves(self) -> tuple[Doubles, Doubles]:
        """Return (bins,) log R and log K."""
        return np.array(self.log_ratio), np.array(self.log_companion or np.zeros(len(self.centres)))

    def blended(self, stored: Calibration, candidates: int) -> Calibration:
        """Shrink this one, fitted on `candidates` candidates, towards that of another corpus; not from 10,000 on.

        Another corpus never makes it likelier that what is named is shown: its texts may have been better.
        """
        if candidates >= ENOUGH:
            return self
        weight = candidates / (candidates + _WORTH)
        ratio, companion = (
            _plain(weight * mine + (1 - weight) * np.interp(self.centres, stored.centres, other))
            for mine, other in zip(self._curves(), stored._curves(), strict=True)
        )
        shown = min(
            self.shown, expit(weight * logit(self.shown) + (1 - weight) * logit(np.clip(stored.shown, 1e-4, 0.9999)))
        )
        return replace(
            self,
            log_ratio=ratio,
            log_companion=companion,
            correlation=weight * self.correlation + (1 - weight) * stored.correlation,
            shown=min(float(shown), self.shown),
            companions=weight * self.companions + (1 - weight) * stored.companions,
            source="blended",
        )

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            OpenMofiError: it cannot be read.
        """
        try:
            calibration = msgspec.json.decode(read_text(path), type=cls)
            curve = calibration.centres, calibration.log_ratio
            if len(curve[0]) != len(curve[1]) or not np.isfinite(curve).all():
                raise ValueError("no finite curve")
            return calibration
        except OSError as error:
            raise OpenMofiError(
                f"The calibration {path} cannot be read: {error.strerror}.", "Check the path."
            ) from error
        except ValueError as error:
            raise OpenMofiError(
                f"{path} is not a calibration, or is damaged.",
                "Give a calibration.json that a label job wrote, or none to fit a new one.",
            ) from error


def fit_calibration(
    evidence: Evidence,
    link_score: Floats,
    *,
    fitted_for: str = "",
    reference: Sequence[str] = (),
    logit_scale: float = 1.0,
    origin: Mapping[str, str] = MappingProxyType({}),
) -> Calibration:
    """Estimate ratio and shares from real pairs and decoys; no labels.

    Args:
        evidence: of the candidates and their decoys, less offsets and with votes.
        link_score: (n,) 0..1, by which the candidates are weighed.
        fitted_for, reference, logit_scale, origin: stored beside.

    Raises:
        OpenMofiError: fewer than 200 candidates or decoys, too few to tell two distributions apart.
    """
    candidates, decoys, pair = len(evidence.real), len(evidence.decoys), evidence.pair
    if candidates < MINIMUM:
        raise _too_few(f"Only {candidates} linked candidates with a usable image: too few", "linked candidates")
    if decoys < MINIMUM:
        raise _too_few(
            f"{candidates} linked candidates, but only {decoys} decoys (other pairs' images, whose "
            "texts do not name the candidate): too few",
            "decoys",
        )
    bins = Bins.of(evidence.real, evidence.decoys)
    mixture = Mixture(link_score.astype(np.float64), evidence.mention, pair)
    correlation = _correlation(evidence, bins)
    problem = ExpectationProblem(bins.number(evidence.real), mixture, bins.absent, bins.score, correlation)
    estimate = expectation_maximisation(problem)
    report, prior = describe(problem, estimate), estimate.prior
    # A mixture is surer of the pairs that it was fitted on than it may be, the more so the fewer show something.
    caution = min(_CAUTION / np.sqrt(max(report["share"] * len(np.unique(pair)), 1.0)), _MOST_CAUTION)
    shown = float(expit(logit(prior.shown) - caution))
    return Calibration(
        _plain(bins.centres),
        _plain(estimate.log_ratio),
        shown,
        prior.together,
        len(np.unique(pair)),
        fitted_for,
        tuple(reference),
        logit_scale,
        dict(origin),
        prior.breadth,
        prior.companions,
        _plain(estimate.companion.log_ratio),
        correlation,
        report=report,
    )


def humbled(probability: Doubles, humility: float) -> Doubles:
    """Return (n,) probabilities whose log odds are lower by `humility`."""
    if not humility:
        return probability
    odds = np.exp(-humility)
    return probability * odds / (1 - probability * (1 - odds))


def _correlation(evidence: Evidence, bins: Bins) -> float:
    """Return the correlation of the scores of decoys and their rivals, 0 to .9; 0 where few have a rival."""
    both = np.isfinite(evidence.rivals)
    if both.sum() < _LEAST_SENSES:
        return 0.0
    one, other = (np.interp(values[both], bins.centres, bins.score) for values in (evidence.decoys, evidence.rivals))
    return float(np.clip(np.corrcoef(np.append(one, other), np.append(other, one))[0, 1], 0.0, _MOST_ALIKE))


def by_sense(probability: Doubles, group: Ints, weight: float) -> Doubles:
    """Divide each mention's probability anew among its candidates, in proportion to theirs to the power of `weight`.

    Args:
        probability: (n,) of the candidates.
        group: (n,) their mention, non-decreasing.
        weight: 0 for equal shares, 1 for no change.
    """
    if weight == 1.0 or not len(probability):
        return probability
    number = np.unique(group, return_inverse=True)[1]
    share = np.maximum(probability, 1e-300) ** weight
    return np.asarray(np.bincount(number, probability)[number] * share / np.bincount(number, share)[number])


def _plain(values: Doubles) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _too_few(what: str, short: str) -> OpenMofiError:
    return OpenMofiError(
        f"{what} to calibrate the encoder on (at least {MINIMUM} {short} are needed).",
        "Label more pairs at once, or give a calibration of this encoder with --calibration.",
    )


def threshold_for_precision(probability: Floats, target: float) -> float:
    """Return the lowest threshold at which accepted candidates are expected to reach `target` precision.

    The expected precision of a set is the mean of its probabilities. Returns 1.0 where no set reaches the target.
    """
    ordered = np.sort(probability)[::-1]
    if not len(ordered):
        return 1.0
    expected = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    # Equal probabilities are accepted together, so only the last of them can be a threshold.
    last_of_equals = np.append(np.diff(ordered) != 0, True)
    reached = np.flatnonzero((expected >= target) & last_of_equals)
    return float(ordered[reached[-1]]) if len(reached) else 1.0
