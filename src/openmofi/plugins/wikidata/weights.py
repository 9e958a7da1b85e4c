"""How much a count of links weighs beside popularity, found from the counted links themselves.

Of a name n, an entity e has L(n, e) links and C(n, e) pages, redirects, labels and aliases that are called so. With the
entity's popularity w (page views or sitelinks)

    P(e | n)  ∝  L(n, e) + γ·C(n, e) + α·q(e | n),    q(e | n) ∝ (w(e) + 1)^β

α, β and γ are those under which links that are held out are likeliest: each link is predicted from all others
(leave-one-out; https://en.wikipedia.org/wiki/Cross-validation_(statistics)). So nothing but the counts is needed, and
where a name has no links, popularity counts as it does where there are some.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

ALPHAS = tuple(float(2.0**power) for power in range(-5, 8))
BETAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
GAMMAS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
LEAST_LINKS = 1000
"""Below so many links of ambiguous names the weights stay as they are by default."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Names that may mean several entities; a row a name and an entity.

    Attributes:
        name: number of the name, from 0.
        links, called: see the module.
        popularity: w.
    """

    name: NDArray[np.int64]
    links: Floats
    called: Floats
    popularity: Floats


@dataclass(frozen=True)
class Weights:
    """What evidence counts, in links.

    Attributes:
        alpha: of popularity, together for all entities of a name.
        beta: the exponent of popularity.
        gamma: of a page, redirect, label or alias.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0


@dataclass(frozen=True)
class Fit:
    """The weights, and how likely they make links that are held out.

    Attributes:
        weights: the likeliest, or the default ones where there are too few links.
        links: of ambiguous names, which they were found by.
        log_likelihood: mean of a link that is predicted from the others.
        popularity_alone: the same without counts, under `weights.beta`.
    """

    weights: Weights
    links: int
    log_likelihood: float
    popularity_alone: float


def commonness(counts: Counts, weights: Weights, *, links: bool = True) -> Floats:
    """P(e | n) of each row.

    Args:
        counts: see there.
        weights: see there.
        links: `False`: by popularity alone.
    """
    share = _shares(counts, weights.beta)
    if not links:
        return share
    mass = counts.links + weights.gamma * counts.called + weights.alpha * share
    return mass / np.bincount(counts.name, mass)[counts.name]


def fit_weights(counts: Counts) -> Fit:
    """The weights under which links are likeliest when each is predicted from the others."""
    linked = np.flatnonzero(counts.links)
    links, total = counts.links[linked], counts.links.sum()
    if total < LEAST_LINKS:
        return Fit(Weights(), int(total), float("nan"), float("nan"))
    name = counts.name
    all_links, all_called = (np.bincount(name, values)[name][linked] for values in (counts.links, counts.called))
    called = counts.called[linked]
    best, found = -np.inf, Weights()
    for beta in BETAS:
        share = _shares(counts, beta)[linked]
        for alpha, gamma in product(ALPHAS, GAMMAS):
            predicted = (links - 1 + gamma * called + alpha * share) / (all_links - 1 + gamma * all_called + alpha)
            likelihood = float(links @ np.log(predicted)) / total
            if likelihood > best:
                best, found = likelihood, Weights(alpha, beta, gamma)
    alone = float(links @ np.log(_shares(counts, found.beta)[linked])) / total
    return Fit(found, int(total), best, alone)


def _shares(counts: Counts, beta: float) -> Floats:
    weight: Floats = (counts.popularity + 1.0) ** beta
    return weight / np.bincount(counts.name, weight)[counts.name]
