"""What the answers of a judge beyond the encoder are worth, and what they make of probabilities.

A question is about one mention: which of its k candidates is shown, or none. With p the probabilities before, S = Σ p
and 1 − S that of none, a judge has three rates, which no answer of its own can claim:

    t   says one of them where one of them is shown
    f   says one of them where none is shown
    g   tells senses apart: it names the right one with g + (1 − g)/k, where it names any

    P(says c) = t·(g·p_c + (1 − g)·S/k) + f·(1 − S)/k        P(says none) = (1 − t)·S + (1 − f)·(1 − S)

Its answers to the real questions and to decoys, where S = 0, give the posterior of the rates on a grid: few questions
leave rates near the middle, and no rate is nearer to 0 or 1 than 1/80. Two doubts keep it from believing too much:

- Decoys may be easier than the wrong ones among what is asked: with probability .9 their rate is a lower bound of f,
  with .1 it is f.
- The encoder may be timid or bold. While the rates are estimated, S may be off by a shift of its log odds, of standard
  deviation 1, the same for all; probabilities are weighed as they are.

Where it is not certain that t is above f (a judge that always says yes), both are taken to be equal, and g to be 0
likewise: then the answer changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta

from openmofi.arrays import Bools, Doubles, Ints
from openmofi.schema import JudgeAnswer

NOT_ASKED, NO_ANSWER, YES, OTHER, NONE = range(5)
"""What a judge says of a candidate: that it is shown, that another one of its mention is, or that none is."""
ANSWERS = ("", JudgeAnswer.NO_ANSWER, JudgeAnswer.YES, JudgeAnswer.OTHER, JudgeAnswer.NONE)
FEWEST = 20
"""Questions, and decoys, without which nothing is said of a judge."""
_STEPS, _SENSES_STEPS = 40, 20
_EDGE = 1e-6
_SURE, _TELLS = 0.975, 0.1
_EASIER = 0.9
_SHIFTS = (-2.0, -1.0, 0.0, 1.0, 2.0)


@dataclass(frozen=True)
class Rates:
    """A judge's rates; see the head of this module.

    Attributes:
        shown, absent, senses: t, f and g, as they are used.
        shown_interval, absent_interval, senses_interval: 95 %, of what was found.
        certain: how certain t > f is, 0..1.
    """

    shown: float
    absent: float
    senses: float
    shown_interval: tuple[float, float]
    absent_interval: tuple[float, float]
    senses_interval: tuple[float, float]
    certain: float

    @property
    def says_nothing(self) -> bool:
        """Whether no answer changes anything."""
        return self.shown == self.absent and not self.senses

    def weigh(self, probability: Doubles, group: Ints, said: Ints) -> Doubles:
        """Return (n,) probabilities that include the answers.

        Args:
            probability: (n,) without them; those of a mention sum to 1 at most.
            group: (n,) number of each one's mention, 0, 1, 2 …
            said: (n,) the answer, from `NOT_ASKED` to `NONE`; of a mention all have one or none has.
        """
        answered = said >= YES
        if self.says_nothing or not answered.any():
            return probability
        count = np.bincount(group)[group]
        right = self.senses + (1 - self.senses) / count
        likelihood = np.select(
            [said == YES, said == OTHER, said == NONE],
            [self.shown * right, self.shown * (1 - self.senses) / count, 1 - self.shown],
            1.0,
        )
        absent = np.where(said == NONE, 1 - self.absent, self.absent / count)
        some = np.bincount(group, probability)[group]
        total = np.bincount(group, probability * likelihood)[group] + np.maximum(1 - some, 0) * absent
        return np.where(answered, probability * likelihood / total, probability)


def fit_rates(probability: Doubles, group: Ints, said: Ints, decoys: tuple[int, int]) -> Rates | None:
    """Estimate a judge's rates; `None` where there are fewer than 20 answers, or than 20 to decoys.

    Args:
        probability, group, said: see `Rates.weigh`; mentions without an answer count for nothing.
        decoys: to how many it said that one of the candidates is shown, and to how many that none is.
    """
    answered = said >= YES
    probability, said = probability[answered], said[answered]
    group = np.unique(group[answered], return_inverse=True)[1]
    if len(group) == 0 or int(group[-1]) + 1 < FEWEST or sum(decoys) < FEWEST:
        return None
    some, count = np.minimum(np.bincount(group, probability), 1.0), np.bincount(group)
    picked = count * np.bincount(group, probability * (said == YES))
    named = np.bincount(group, said == NONE) == 0
    rate, senses = ((np.arange(steps) + 0.5) / steps for steps in (_STEPS, _SENSES_STEPS))
    of_decoys = beta(decoys[0] + 1, decoys[1] + 1)
    as_hard, easier = (values / values.sum() for values in (of_decoys.pdf(rate), of_decoys.cdf(rate)))
    prior = np.log((1 - _EASIER) * as_hard + _EASIER * easier + 1e-300)
    log = prior + np.full((_SENSES_STEPS, _STEPS, _STEPS), -np.inf)
    for shift in _SHIFTS:
        shifted = expit(logit(np.clip(some, _EDGE, 1 - _EDGE)) + shift)
        given = _log_likelihood(shifted, picked * shifted / np.maximum(some, _EDGE), named, rate, senses)
        log = np.logaddexp(log, prior + given - shift**2 / 2)
    posterior = np.exp(log - log.max())
    posterior /= posterior.sum()
    of_senses, of_rates = posterior.sum(axis=(1, 2)), posterior.sum(axis=0)
    of_shown, of_absent = of_rates.sum(axis=1), of_rates.sum(axis=0)
    certain = float(np.tril(of_rates, -1).sum() + np.trace(of_rates) / 2)
    shown, absent_rate = float(of_shown @ rate), float(of_absent @ rate)
    if certain < _SURE:
        shown = absent_rate = (shown + absent_rate) / 2
    tells = of_senses[senses > _TELLS].sum() >= _SURE
    return Rates(
        shown,
        absent_rate,
        float(of_senses @ senses) if tells else 0.0,
        _interval(of_shown, rate),
        _interval(of_absent, rate),
        _interval(of_senses, senses),
        certain,
    )


def _log_likelihood(some: Doubles, picked: Doubles, named: Bools, rate: Doubles, senses: Doubles) -> Doubles:
    """Return (g, t, f) the log likelihood of the answers on a grid.

    Args:
        some, picked: (questions,) S, and k times the probability of what the answer names.
        named: (questions,) whether it names anything.
        rate, senses: the grid's values of t and f, and of g.
    """
    log = np.empty((len(senses), len(rate), len(rate)))
    absent, denied = np.outer(rate, 1 - some[named]), np.outer(1 - rate, 1 - some[~named])
    for row, t in enumerate(rate):
        none = np.log((1 - t) * some[~named] + denied).sum(axis=1)
        for layer, g in enumerate(senses):
            log[layer, row] = none + np.log(t * (g * picked + (1 - g) * some)[named] + absent).sum(axis=1)
    return log


def _interval(posterior: Doubles, rate: Doubles) -> tuple[float, float]:
    """Return the interval that leaves 2.5 % out at either end; the ends of the grid's cells, so that it errs wide."""
    below, half = np.cumsum(posterior), 0.5 / len(rate)
    low, high = np.searchsorted(below, [0.025, 0.975]).clip(max=len(rate) - 1)
    return float(rate[low] - half), float(rate[high] + half)
