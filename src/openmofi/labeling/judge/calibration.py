"""From raw similarities to probabilities, fitted on unlabelled pairs alone.

Raw cosines differ between encoders, so a threshold on them means nothing. What can be had without a label is the
distribution of an image's evidence for entities that it does not show: give each pair the image of another one whose
text does not name the entity (decoys, see `openmofi.labeling.judge.evidence`). The evidence of the real pairs is a
mixture of that distribution (named, but not shown) and an unknown one (named and shown). Its share and its shape are
estimated by expectation–maximisation with a monotone likelihood ratio, the two-groups model of false-discovery-rate
estimation (Efron 2008, "Microarrays, empirical Bayes and the two-groups model").

A text names several things and its image shows few of them; the candidates of one mention exclude each other
altogether. For a candidate c of mention m let a_c = o_c · R(z_c), with R = f_shown / f_not_shown, the prior odds
o_c = v·l_c / (1 − v·Σl), l the link scores and v the probability that a named entity is shown. A set of shown
candidates, at most one a mention, has weight t^(size − 1) · Π a_c beside the empty set's 1: t = 1 makes mentions
independent, t → 0 allows one shown entity an image. With A_m = Σ_{c in m} a_c the sums are closed:

    Z = 1 + (Π_m (1 + t·A_m) − 1) / t,        P(c shown) = a_c · Π_{m' ≠ m} (1 + t·A_m') / Z

v and t are estimated too, t by the likelihood.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import isotonic_regression

from openmofi.errors import OpenMofiError
from openmofi.labeling.judge.evidence import Evidence
from openmofi.storage import write_json

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

BINS = 80
ITERATIONS = 120
TOGETHER = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
MINIMUM = 200
_LOG_RATIO_LIMIT = 12.0
_IMPOSSIBLE = 0.25
_SHOWN = tuple(np.linspace(0.05, 0.95, 13))


@dataclass(frozen=True)
class Calibration:
    """The fitted decision.

    Attributes:
        centres: evidence at which the ratio is known, increasing.
        log_ratio: log R at `centres`, non-decreasing; linear between, constant outside.
        shown: v, the probability that the entity which a mention means is shown.
        together: t, how readily two named entities are shown together, 0.001 (hardly ever) to 1 (independently).
        pairs: how many pairs it was fitted on.
        fitted_for: fingerprint of encoder, knowledge base and template: it holds for these alone.
        reference: identifiers of the entities that evidence is relative to; see `openmofi.labeling.judge.evidence`.
        logit_scale: the factor on cosines that evidence was measured with; the encoder's own where that is known.
        origin: what `fitted_for` names, and with what settings of texts: names → values; empty where it was written by
            a version that did not say.
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

    def of(self, evidence: Evidence) -> NDArray[np.float64]:
        """(n,) P(shown) of each real candidate of `evidence`."""
        return self.probability(evidence.real, evidence.link_score, evidence.group, evidence.pair)

    def probability(self, evidence: Floats, link_score: Floats, group: Ints, pair: Ints) -> NDArray[np.float64]:
        """P(shown) of each candidate; arrays (n,), `group` names its mention, `pair` its pair, both non-decreasing."""
        ratio = np.exp(np.interp(evidence, self.centres, self.log_ratio))
        return Mixture(link_score.astype(np.float64), group, pair).posterior(ratio, self.shown, self.together)

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
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
            centres, log_ratio = (tuple(map(float, raw[name])) for name in ("centres", "log_ratio"))
            numbers = float(raw["shown"]), float(raw["together"])
            if len(centres) != len(log_ratio) or not np.isfinite([*centres, *log_ratio, *numbers]).all():
                raise ValueError("no finite curve")
            return cls(centres, log_ratio, *numbers, int(raw["pairs"]), str(raw["fitted_for"]), tuple(raw["reference"]),
                       float(raw.get("logit_scale", 1.0)), dict(raw.get("origin", {})))
        except OSError as error:
            raise OpenMofiError(f"The calibration {path} cannot be read: {error.strerror}.",
                                "Check the path.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise OpenMofiError(f"{path} is not a calibration, or is damaged.",
                                "Give a calibration.json that a label job wrote, or none to fit a new one.") from error


@dataclass(frozen=True)
class Mixture:
    """Candidates by mention and pair, and the sums over sets of shown ones; see the head of this module.

    Attributes:
        link: (n,) link scores.
        group: (n,) mention, non-decreasing.
        pair: (n,) pair, non-decreasing.
    """

    link: NDArray[np.float64]
    group: Ints
    pair: Ints

    def odds(self, shown: float) -> NDArray[np.float64]:
        """(n,) prior odds o of each candidate."""
        if not len(self.link):
            return np.zeros(0)
        rest = 1.0 - shown * np.minimum(np.bincount(self.group, self.link), 1.0)
        return shown * self.link / np.maximum(rest, 1e-6)[self.group]

    def posterior(self, ratio: NDArray[np.float64], shown: float, together: float) -> NDArray[np.float64]:
        """(n,) P(c shown) when the evidence has the likelihood ratios `ratio`."""
        weight = self.odds(shown) * ratio
        return self._sums(weight, together)[0]

    def log_likelihood(self, ratio: NDArray[np.float64], shown: float, together: float) -> float:
        """Of the evidence of all pairs, up to what does not depend on the parameters."""
        odds = self.odds(shown)
        return float((self._sums(odds * ratio, together)[1] - self._sums(odds, together)[1]).sum())

    def _sums(self, weight: NDArray[np.float64], together: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n,) marginals and (pairs,) log Z; in logarithms, since a long text names hundreds of things."""
        if not len(weight):
            return np.zeros(0), np.zeros(0)
        of_mention = np.log1p(together * np.bincount(self.group, weight))
        pair_of_mention = self.pair[np.unique(self.group, return_index=True)[1]]
        every = np.bincount(pair_of_mention, of_mention[np.unique(self.group)]).astype(np.float64)
        log_z = np.logaddexp(0.0, _log_expm1(every) - np.log(together))
        with np.errstate(divide="ignore"):
            marginal = np.log(weight) + every[self.pair] - of_mention[self.group] - log_z[self.pair]
        return np.exp(marginal), log_z


def _log_expm1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(exp(x) − 1) for x ≥ 0, −inf at 0."""
    with np.errstate(divide="ignore"):
        return np.where(x > 30.0, x, np.log(np.expm1(np.minimum(x, 30.0))))


def fit_calibration(evidence: Floats, link_score: Floats, group: Ints, pair: Ints, decoys: Floats, *,
                    fitted_for: str = "", reference: Sequence[str] = (), logit_scale: float = 1.0,
                    origin: Mapping[str, str] = MappingProxyType({})) -> Calibration:
    """Estimate the ratio R, the share v and the exponent t from real pairs and decoys; no labels.

    Args:
        evidence: (n,) of the candidates of real pairs.
        link_score: (n,) 0..1.
        group, pair: (n,) int, the candidate's mention and pair, 0, 1, 2 … non-decreasing.
        decoys: (m,) evidence of the same candidates for other pairs' images.
        fitted_for, reference, logit_scale, origin: stored beside.

    Raises:
        OpenMofiError: fewer than 200 candidates or decoys, too few to tell two distributions apart.
    """
    if len(evidence) < MINIMUM:
        raise _too_few(f"Only {len(evidence)} linked candidates with a usable image: too few", "linked candidates")
    if len(decoys) < MINIMUM:
        raise _too_few(f"{len(evidence)} linked candidates, but only {len(decoys)} decoys (other pairs' images, whose "
                       "texts do not name the candidate): too few", "decoys")
    pooled = np.concatenate([evidence, decoys]).astype(np.float64)
    edges = np.unique(np.quantile(pooled, np.linspace(0, 1, BINS + 1)))
    if len(edges) < 3:
        raise OpenMofiError("The encoder scores every image and entity alike: nothing can be calibrated.",
                            "Check the encoder's weights and preprocessing.")
    bins = len(edges) - 1
    bin_of = np.clip(np.searchsorted(edges, evidence, "right") - 1, 0, bins - 1)
    decoy_bin = np.clip(np.searchsorted(edges, decoys, "right") - 1, 0, bins - 1)
    absent = _density(np.bincount(decoy_bin, minlength=bins).astype(np.float64))
    mixture = Mixture(link_score.astype(np.float64), group, pair)
    log_ratio, shown, together = _expectation_maximisation(bin_of, mixture, absent)
    centres = (edges[1:] + edges[:-1]) / 2
    return Calibration(tuple(float(x) for x in centres), tuple(float(x) for x in log_ratio), shown, together,
                       len(np.unique(pair)), fitted_for, tuple(reference), logit_scale, dict(origin))


def _too_few(what: str, short: str) -> OpenMofiError:
    return OpenMofiError(f"{what} to calibrate the encoder on (at least {MINIMUM} {short} are needed).",
                         "Label more pairs at once, or give a calibration of this encoder with --calibration.")


def _expectation_maximisation(bin_of: Ints, mixture: Mixture, absent: NDArray[np.float64],
                              ) -> tuple[NDArray[np.float64], float, float]:
    """Log R a bin, v and t, from each candidate's bin and the decoys' density over the bins."""
    bins = len(absent)
    # What is shown and what is not can be told apart only if some evidence is impossible for what is shown: a share
    # of f_not_shown could else hide in f_shown. The lowest quarter of the decoys' evidence is taken to be such.
    low = np.cumsum(absent) <= max(_IMPOSSIBLE, absent[0])
    log_ratio, shown, together = np.linspace(-4.0, 4.0, bins), 0.5, 0.1
    for step in range(ITERATIONS):
        ratio = np.exp(log_ratio)[bin_of]
        if step % 20 == 10:
            shown, together = max(itertools.product(_SHOWN, TOGETHER),
                                  key=lambda vt: mixture.log_likelihood(ratio, *vt))
        posterior = mixture.posterior(ratio, shown, together)
        present = _density(np.bincount(bin_of, posterior, bins).astype(np.float64))
        raw = gaussian_filter1d(np.log(present) - np.log(absent), 1.5, mode="nearest")
        smooth = np.exp(isotonic_regression(raw, weights=absent + present).x)
        hidden = min(float(smooth[low] @ absent[low] / absent[low].sum()), 0.99)
        smooth = np.maximum(smooth - hidden, np.exp(-_LOG_RATIO_LIMIT))
        log_ratio = np.minimum(np.log(smooth / (smooth @ absent)), _LOG_RATIO_LIMIT)
        expected = mixture.posterior(np.ones(len(bin_of)), shown, together).sum()
        updated = float(np.clip(shown * posterior.sum() * (1 - hidden) / expected, 1e-4, 0.9999))
        converged = abs(updated - shown) < 1e-6 and step > 20
        shown = updated
        if converged:
            break
    return log_ratio, shown, together


def _density(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    smooth = counts + 0.5
    return smooth / smooth.sum()


def threshold_for_precision(probability: Floats, target: float) -> float:
    """The lowest threshold whose accepted candidates are expected to be right with `target` precision.

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
