"""Expectation–maximisation for a calibration: the shares, and densities over bins of evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import log_ndtr, ndtri

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.errors import OpenMofiError
from openmofi.labeling.calibrate.mixture import Mixture, Posterior, Prior

_CANDIDATES_A_BIN, _FEWEST_BINS, _MOST_BINS = 60, 20, 400
_FINER = 0.5 ** np.arange(1, 4)
_TAIL = 0.02
_PSEUDO = 20.0


@dataclass(frozen=True)
class Bins:
    """Bins of about equally many candidates and decoys, the more of them the more candidates there are.

    Attributes:
        edges: (bins + 1,) increasing.
        centres: (bins,) mean evidence in each.
        absent: (bins,) share of the decoys.
        score: (bins,) the centres in SD of the decoys: their normal scores, and beyond the outer hundredths linear.
    """

    edges: Doubles
    centres: Doubles
    absent: Doubles
    score: Doubles

    @classmethod
    def of(cls, evidence: Floats, decoys: Floats) -> Bins:
        """Make bins for the evidence of (n,) candidates and (m,) decoys.

        Raises:
            OpenMofiError: all is equal.
        """
        pooled = np.sort(np.concatenate([evidence, decoys]).astype(np.float64))
        bins = int(np.clip(len(evidence) / _CANDIDATES_A_BIN, _FEWEST_BINS, _MOST_BINS))
        levels = np.concatenate([np.linspace(0, 1, bins + 1), 1 - _FINER / bins])
        edges = np.unique(np.quantile(pooled, np.sort(levels)))
        if len(edges) < 3:
            raise OpenMofiError(
                "The encoder scores every image and entity alike: nothing can be calibrated.",
                "Check the encoder's weights and preprocessing.",
            )
        number = np.clip(np.searchsorted(edges, pooled, "right") - 1, 0, len(edges) - 2)
        count = np.bincount(number, minlength=len(edges) - 1)
        centres = np.bincount(number, pooled, len(edges) - 1) / np.maximum(count, 1)
        centres = np.where(count > 0, centres, (edges[1:] + edges[:-1]) / 2)
        decoy = np.clip(np.searchsorted(edges, decoys, "right") - 1, 0, len(edges) - 2)
        ordered = np.sort(decoys).astype(np.float64)
        absent = _tail_shrunken(np.bincount(decoy, minlength=len(centres)), _normal_scores(edges[1:-1], ordered))
        return cls(edges, centres, absent, _normal_scores(centres, ordered))

    def number(self, evidence: Floats) -> Ints:
        """Return (n,) the bin of each value."""
        return np.clip(np.searchsorted(self.edges, evidence, "right") - 1, 0, len(self.edges) - 2).astype(np.int64)


def _tail_shrunken(counts: Ints, inner: Doubles) -> Doubles:
    """(bins,) shares whose hazards (a bin's share of all from it on) are shrunk to those of a normal distribution.

    Where hundreds of decoys lie above they hardly change; where few do, the far tail falls as a normal one's does.

    Args:
        counts: (bins,) decoys.
        inner: (bins − 1,) scores of the edges between them.
    """
    left = np.cumsum(counts[::-1])[::-1]
    log_above = log_ndtr(-np.concatenate([[-np.inf], inner]))
    normal = -np.expm1(np.append(np.diff(log_above), -np.inf))
    hazard = (counts + _PSEUDO * normal) / (left + _PSEUDO)
    staying = np.concatenate([[1.0], np.cumprod(1 - hazard[:-1])])
    return np.maximum(staying * hazard, 1e-12)


def _normal_scores(centres: Doubles, decoys: Doubles) -> Doubles:
    below = (np.searchsorted(decoys, centres, "left") + np.searchsorted(decoys, centres, "right")) / (2 * len(decoys))
    low, middle, high = np.quantile(decoys, [_TAIL, 0.5, 1 - _TAIL])
    reach = float(ndtri(1 - _TAIL))
    linear = (
        np.where(
            centres > middle,
            (centres - middle) / max(high - middle, 1e-12),
            (centres - middle) / max(middle - low, 1e-12),
        )
        * reach
    )
    inside = (below > _TAIL) & (below < 1 - _TAIL)
    return np.asarray(np.where(inside, ndtri(np.clip(below, _TAIL, 1 - _TAIL)), linear))


TOGETHER = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
BREADTH = (0.0, 0.5, 1.0)
_STARTS = ((0.5, 0.001, 0.2, 0.5), (0.3, 0.001, 0.95, 2.0), (0.5, 1.0, 0.2, 0.1))
_TRIAL, _STEPS, _CHOICES = 45, 150, (10, 30, 60, 100)
_WORTHWHILE = 2.0
_LOG_RATIO_LIMIT, _LEAST_RATIO = 12.0, 0.003
_IMPOSSIBLE = 0.05
_MOST_TILT, _MOST_SHIFT, _FARTHEST = 4.0, 2.5, 4.5
_SHARES = (1e-4, 0.9999)


@dataclass(frozen=True)
class Tilted:
    """A density beside that of decoys: part of it lies higher.

    f / f_absent = (1 − part) + part · exp(tilt · score) / norm; for normal decoys a shift of part of them by `tilt` SD.
    Scores count up to 4.5: beyond, where no decoy lies, a tilt could explain all that is shown.

    Attributes:
        tilt, part: see above.
        log_shifted: (bins,) log of exp(tilt · score) / norm.
    """

    tilt: float
    part: float
    log_shifted: Doubles

    @classmethod
    def of_tilt(cls, tilt: float, part: float, absent: Doubles, score: Doubles) -> Tilted:
        """Make the density of a tilt, normalised over (bins,) decoys and scores."""
        reach = np.minimum(score, _FARTHEST)
        return cls(tilt, part, tilt * reach - np.log(absent @ np.exp(tilt * reach)))

    @property
    def log_ratio(self) -> Doubles:
        """Return (bins,) log f / f_absent."""
        return np.logaddexp(np.log1p(-self.part), np.log(self.part) + self.log_shifted)

    @property
    def shift(self) -> float:
        """Return how far it lies above decoys on average, in their SD."""
        return self.tilt * self.part

    def updated(self, counts: Doubles, absent: Doubles, score: Doubles) -> Tilted:
        """Return the density after one step of EM with (bins,) counts."""
        score = np.minimum(score, _FARTHEST)
        inside = counts * np.exp(np.log(self.part) + self.log_shifted - self.log_ratio)
        part = float(np.clip(inside.sum() / max(float(counts.sum()), 1e-9), 1e-3, 1 - 1e-3))
        # What lies further above decoys is what is shown: without a bound, either could explain it.
        mean = min(float(inside @ score / max(float(inside.sum()), 1e-9)), float(absent @ score) + _MOST_SHIFT)
        tilt = self.tilt
        for _ in range(4):  # Newton's, of the tilt that has this mean
            weight = absent * np.exp(tilt * (score - score.max()))
            weight /= weight.sum()
            now = float(weight @ score)
            step = (mean - now) / max(float(weight @ (score - now) ** 2), 0.1)
            tilt = float(np.clip(tilt + step, 0.0, _MOST_TILT))
        return Tilted.of_tilt(tilt, part, absent, score)


@dataclass(frozen=True)
class Estimate:
    """The estimate of one iteration, or of the end.

    Attributes:
        log_ratio: (bins,) log R.
        present: (bins,) f_shown.
        companion: f_companion.
        prior: the shares.
        log_likelihood: of the real pairs beside decoys.
    """

    log_ratio: Doubles
    present: Doubles
    companion: Tilted
    prior: Prior
    log_likelihood: float = -np.inf


@dataclass(frozen=True)
class ExpectationProblem:
    """The data of an estimate.

    Attributes:
        bin_of: (n,) bin of each candidate's evidence.
        mixture: the candidates.
        absent: (bins,) share of the decoys.
        score: (bins,) evidence in SD of the decoys, increasing.
        correlation: ρ of the senses of a name, see `openmofi.labeling.calibrate.mixture`.
    """

    bin_of: Ints
    mixture: Mixture
    absent: Doubles
    score: Doubles
    correlation: float = 0.0

    def posterior(self, state: Estimate, prior: Prior | None = None) -> Posterior:
        """Return the posterior of the candidates, with another prior if given."""
        return self.mixture.posterior(
            state.log_ratio[self.bin_of],
            state.companion.log_ratio[self.bin_of],
            prior or state.prior,
            self.correlation,
        )

    def counts(self, weight: Doubles) -> Doubles:
        """Return (bins,) sums of (n,) weights."""
        return np.bincount(self.bin_of, weight, len(self.absent)).astype(np.float64)


def expectation_maximisation(problem: ExpectationProblem) -> Estimate:
    """The likeliest of what three starts lead to: companions like decoys, all of them far above these, and
    many entities shown together.
    """
    trials = [_run(problem, _start(problem, *start), range(_TRIAL)) for start in _STARTS]
    likeliest = max(trials, key=lambda state: state.log_likelihood)
    return _with_lower_tail(_run(problem, likeliest, range(_TRIAL, _STEPS)), problem)


def _start(problem: ExpectationProblem, shown: float, together: float, companions: float, tilt: float) -> Estimate:
    beside = Tilted.of_tilt(tilt, 0.5, problem.absent, problem.score)
    log_ratio = np.linspace(-4.0, 4.0, len(problem.absent)) + np.maximum(beside.log_ratio, 0.0)
    return Estimate(log_ratio, problem.absent, beside, Prior(shown, together, 0.0, companions))


def _run(problem: ExpectationProblem, state: Estimate, steps: range) -> Estimate:
    for step in steps:
        if step in _CHOICES:
            together = TOGETHER if step > _TRIAL else (state.prior.together,)
            state = replace(state, prior=_likeliest(problem, state, together))
        updated = _step(problem, state)
        moved = abs(updated.prior.shown - state.prior.shown) + abs(updated.prior.companions - state.prior.companions)
        state = updated
        if moved < 1e-5 and step > _CHOICES[-1]:
            break
    return state


def _step(problem: ExpectationProblem, state: Estimate) -> Estimate:
    absent, score, posterior = problem.absent, problem.score, problem.posterior(state)
    present = _present(problem.counts(posterior.shown), absent, score)
    # What is shown can lie among what is not by any share, unless some evidence is impossible for it.
    beside = absent * np.exp(state.companion.log_ratio)
    ratio, hidden = _monotone(present, beside / beside.sum())
    ratio, hidden_absent = _monotone(ratio * beside / (ratio @ beside), absent)
    log_ratio = np.minimum(np.log(ratio / (ratio @ absent)), _LOG_RATIO_LIMIT)
    siblings, companions = problem.counts(posterior.sibling), problem.counts(posterior.companion)
    companion = state.companion.updated(companions + _few(siblings), absent, score)
    prior = _updated(state.prior, posterior, problem.mixture, 1 - (1 - hidden) * (1 - hidden_absent))
    return Estimate(log_ratio, present, companion, prior, posterior.log_likelihood)


def _few(counts: Doubles) -> Doubles:
    """Scale counts of the better known kind down to a few, which support a kind with hardly any."""
    return counts * min(1.0, _PSEUDO / max(float(counts.sum()), 1e-9))


def _monotone(present: Doubles, absent: Doubles) -> tuple[Doubles, float]:
    """Return the likeliest monotone ratio of two densities less its floor, where nothing shown lies, and the floor.

    Unlike smoothing its logarithm, monotone regression keeps the mass of `present`. Nothing shown is taken to lie in
    the lowest part of `absent`.
    """
    ratio = isotonic_regression(present / absent, weights=absent).x
    low = np.cumsum(absent) <= max(_IMPOSSIBLE, absent[0])
    hidden = min(float(ratio[low][-1]), 0.99)
    return np.maximum(ratio - hidden, _LEAST_RATIO), hidden


def _with_lower_tail(state: Estimate, problem: ExpectationProblem) -> Estimate:
    """Give f_shown below its mean what it would have there were it normal as it is from there on.

    Monotone regression leaves nothing of what little is hidden there below what is not shown; while the shares are
    estimated this is what tells the two apart, but a sense that lies there is not impossible.
    """
    absent, score = problem.absent, problem.score
    weight = absent * np.exp(state.log_ratio)
    weight /= weight.sum()
    mean = float(weight @ score)
    above = score >= mean
    variance = float(np.clip(weight[above] @ (score[above] - mean) ** 2 / weight[above].sum(), 0.3, 2.0))
    tail = (score**2 - (score - mean) ** 2 / variance - np.log(variance)) / 2
    limit = state.log_ratio[above][0] if above.any() else state.log_ratio[-1]
    lower = np.maximum.accumulate(np.maximum(state.log_ratio, np.minimum(tail, limit)))
    return replace(state, log_ratio=np.where(above, state.log_ratio, lower))


def _updated(prior: Prior, posterior: Posterior, mixture: Mixture, hidden: float) -> Prior:
    shown = prior.shown * float(posterior.pair_shown.sum()) * (1 - hidden) / float(mixture.shows(prior).sum())
    companions = float(posterior.pair_companion.sum()) / max(float((1 - posterior.pair_shown).sum()), 1e-9)
    return replace(prior, shown=float(np.clip(shown, *_SHARES)), companions=float(np.clip(companions, *_SHARES)))


def _likeliest(problem: ExpectationProblem, state: Estimate, together: tuple[float, ...]) -> Prior:
    """The likeliest t and breadth; the lowest that are as good."""
    best, least = state.prior, -np.inf
    for choice in (replace(state.prior, together=value, breadth=breadth) for value in together for breadth in BREADTH):
        likelihood = problem.posterior(state, choice).log_likelihood
        if likelihood > least + _WORTHWHILE:
            best, least = choice, likelihood
    return best


def _present(counts: Doubles, absent: Doubles, score: Doubles) -> Doubles:
    """Estimate f_shown from counts, and a few of the normal distribution of the same mean and variance."""
    weight = counts + 1e-9
    mean = float(weight @ score / weight.sum())
    variance = float(np.clip(weight @ (score - mean) ** 2 / weight.sum(), 0.3, 4.0))
    log_shape = np.log(absent) + score**2 / 2 - (score - mean) ** 2 / (2 * variance)
    shape = np.exp(log_shape - log_shape.max())
    smooth = counts + _PSEUDO * shape / shape.sum() + 1e-3
    return np.asarray(smooth / smooth.sum())
