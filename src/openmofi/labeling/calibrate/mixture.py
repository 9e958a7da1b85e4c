"""Which of the entities that a pair names are shown: the sums over all sets of them.

A text names several things and its image shows few of them; the candidates of one mention exclude each other
altogether. A pair is in one of three states:

    elsewhere   nothing that it names is shown, and its image is like any other's
    companion   nothing that it names is shown, but the image is of the same subject
    shown       a set of its candidates is shown, at most one a mention; the others are companions

With l the link scores, and R = f_shown / f_absent and K = f_companion / f_absent at each candidate's evidence, the
states have the weights (1 − π)(1 − κ), (1 − π)·κ·Π K and π·Π K · Q / Q°, where Q sums t^(size − 1) · Π a_c over the
sets, a_c = l_c·R_c / K_c, and Q° is Q at R = K = 1. For the sum A_m of a_c over a mention it is closed:

    Q = (Π_m (1 + t·A_m) − 1) / t,        P(c shown | shown) = a_c · Π_{m' ≠ m} (1 + t·A_m') / Q

The losing senses of a shown mention are thus companions like any other. The senses of a name are alike: an image that
is near to one of them is near to the others, shown or not. Where they have the correlation ρ, n of them say as often
as n / (1 + (n − 1)·ρ) independent ones that the image is of their subject, so that K is the root of what one alone
would say. Were they taken for independent, each that lies high would speak for the mention.

t = 1 makes mentions independent, t → 0 allows one shown entity an image. The prior is the pair's: with L = 1 −
Π_m (1 − Σ l) the probability that some mention means an entity at all, π = L·(1 − (1 − v)^k), k = (Σ l / L)^breadth.
At breadth 0 a text that names ten things shows some as probably as one that names one, at 1 each mention has a chance
of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openmofi.arrays import Doubles, Ints


@dataclass(frozen=True)
class Prior:
    """The shares of a corpus; see the head of this module.

    Attributes:
        shown: v, how probably a pair shows something that it names.
        together: t, how readily two named entities are shown together, 0.001 (hardly ever) to 1 (independently).
        breadth: 0..1, by how much more probably a text that names more shows something.
        companions: κ, how probably an image that shows nothing named is of the same subject.
    """

    shown: float
    together: float
    breadth: float = 0.0
    companions: float = 0.0


@dataclass(frozen=True)
class Posterior:
    """The posterior probabilities of candidates and pairs, given evidence.

    Attributes:
        shown: (n,) P(c is shown).
        sibling: (n,) P(another candidate of c's mention is shown).
        companion: (n,) P(c's mention is not shown, and the image is of the same subject).
        pair_shown, pair_companion: (pairs,) P(state).
        log_likelihood: of the evidence of all pairs, beside that of decoys.
    """

    shown: Doubles
    sibling: Doubles
    companion: Doubles
    pair_shown: Doubles
    pair_companion: Doubles
    log_likelihood: float


@dataclass(frozen=True)
class Mixture:
    """The candidates of mentions and pairs, and sums over the sets of them that an image may show.

    Attributes:
        link: (n,) link scores.
        group: (n,) mention, non-decreasing.
        pair: (n,) pair, non-decreasing.
    """

    link: Doubles
    group: Ints
    pair: Ints

    @cached_property
    def _numbered(self) -> tuple[Ints, Ints, Ints]:
        """Return (n,) mention and pair numbered 0, 1, 2 …, and (mentions,) the pair of each."""
        _, first, group = np.unique(self.group, return_index=True, return_inverse=True)
        pair = np.unique(self.pair, return_inverse=True)[1]
        return group, pair, pair[first]

    @cached_property
    def _meant(self) -> tuple[Doubles, Doubles]:
        """Return (pairs,) L, and Σ l / L."""
        group, _, pair_of_mention = self._numbered
        mass = np.minimum(np.bincount(group, self.link), 1.0)
        some = -np.expm1(np.bincount(pair_of_mention, np.log1p(-np.minimum(mass, 1 - 1e-12))))
        return some, np.maximum(np.bincount(pair_of_mention, mass) / np.maximum(some, 1e-300), 1.0)

    def shows(self, prior: Prior) -> Doubles:
        """Return (pairs,) π, the prior probability that an image shows something named."""
        some, mentions = self._meant
        return np.asarray(some * -np.expm1(mentions**prior.breadth * np.log1p(-min(prior.shown, 1 - 1e-9))))

    def posterior(self, log_ratio: Doubles, log_companion: Doubles, prior: Prior, correlation: float) -> Posterior:
        """Return the posterior, given evidence with the (n,) log R and log K of one alone, and ρ of senses."""
        if not len(self.link):
            none = np.zeros(0)
            return Posterior(none, none, none, none, none, 0.0)
        group, pair, _ = self._numbered
        log_companion = log_companion / (1 + (np.bincount(group)[group] - 1) * correlation)
        shows = self.shows(prior)
        with np.errstate(divide="ignore"):
            log_link, log_shown, log_others = np.log(self.link), np.log(shows), np.log1p(-shows)
            log_companions = np.log([1 - prior.companions, prior.companions])
        marginal, log_sum = self._sums(log_link + log_ratio - log_companion, prior.together)
        log_sum_before = self._sums_before(prior.together)
        # A pair whose every link score is 0 cannot show anything.
        gain = np.where(np.isfinite(log_sum_before), log_sum - np.nan_to_num(log_sum_before, neginf=0.0), 0.0)
        of_companions = np.bincount(pair, log_companion)
        states = np.stack(
            [
                log_others + log_companions[0],
                log_others + log_companions[1] + of_companions,
                log_shown + of_companions + gain,
            ]
        )
        total = np.logaddexp.reduce(states, axis=0)
        companion, shown = np.exp(states[1:] - total)
        candidate = shown[pair] * marginal
        mention = np.bincount(group, candidate)[group]
        return Posterior(
            candidate,
            np.maximum(mention - candidate, 0.0),
            np.maximum(companion[pair] + shown[pair] - mention, 0.0),
            shown,
            companion,
            float(total.sum()),
        )

    def _sums_before(self, together: float) -> Doubles:
        """Return (pairs,) log Q°."""
        if together not in self._known_sums:
            with np.errstate(divide="ignore"):
                self._known_sums[together] = self._sums(np.log(self.link), together)[1]
        return self._known_sums[together]

    @cached_property
    def _known_sums(self) -> dict[float, Doubles]:
        return {}

    def _sums(self, log_weight: Doubles, together: float) -> tuple[Doubles, Doubles]:
        """Return (n,) P(c | shown) and (pairs,) log Q; in logarithms, since a long text names hundreds of things."""
        group, pair, pair_of_mention = self._numbered
        of_mention = np.log1p(together * np.bincount(group, np.exp(np.minimum(log_weight, 600.0))))
        every = np.bincount(pair_of_mention, of_mention).astype(np.float64)
        log_q = _log_expm1(every) - np.log(together)
        with np.errstate(invalid="ignore"):
            marginal = np.exp(log_weight + every[pair] - of_mention[group] - log_q[pair])
        return np.nan_to_num(marginal, nan=0.0), log_q


def _log_expm1(x: Doubles) -> Doubles:
    """Return log(exp(x) − 1) for x ≥ 0; −inf at 0."""
    with np.errstate(divide="ignore"):
        return np.where(x > 30.0, x, np.log(np.expm1(np.minimum(x, 30.0))))
