"""Candidates of surface forms, looked up once a form, and links made of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase, normalise
from openmofi.linking.settings import LinkSettings
from openmofi.schema import Link

_MEMORY = 50_000


@dataclass(frozen=True, slots=True)
class NameCandidates:
    """What a surface form may mean.

    Attributes:
        key: the normalised form.
        rows: int32 entity rows, by falling commonness; empty for an unknown name.
        ids: their identifiers.
        commonness: P(entity | name) of each.
        prior: (k) float64, P(entity | name) × P(mention | name), scaled to leave at least the NIL floor.
    """

    key: str
    rows: NDArray[np.int32]
    ids: list[str]
    commonness: list[float]
    prior: NDArray[np.float64]


class CandidateLookup:
    """Surface form → candidates; remembers the last 50,000 forms or so.

    The prior of NIL is 1 − Σ prior: the share of the name's occurrences that mean nothing (1 − link probability) and
    of candidates that were cut, but at least `nil_floor`.
    """

    def __init__(self, kb: KnowledgeBase, settings: LinkSettings) -> None:
        self._kb = kb
        self._settings = settings
        self._known: dict[str, NameCandidates] = {}

    def __call__(self, surface: str) -> NameCandidates:
        """Candidates of a surface form."""
        found = self._known.get(surface)
        if found is None:
            if len(self._known) >= _MEMORY:
                self._known.clear()
            found = self._known[surface] = self._look_up(surface)
        return found

    def _look_up(self, surface: str) -> NameCandidates:
        candidates = self._kb.candidates(surface, self._settings.candidates)
        prior = candidates.priors.astype(np.float64) * self._kb.link_probability(surface)
        total = float(prior.sum())
        most = 1.0 - self._settings.nil_floor
        if total > most:
            prior *= most / total
        return NameCandidates(normalise(surface), candidates.rows, self._kb.ids(candidates.rows),
                              candidates.priors.tolist(), prior)


def links_of(mention: int, candidates: NameCandidates, scores: Sequence[float]) -> list[Link]:
    """Links of one mention by falling score; equal scores stay by falling commonness."""
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    return [Link(candidates.ids[place], mention, candidates.commonness[place], scores[place]) for place in order]


def rounded(scores: NDArray[np.float64]) -> list[float]:
    """Scores to six decimals: what another order of additions could change is cut off."""
    listed: list[float] = np.round(scores, 6).tolist()
    return listed
