"""Candidates of surface forms, looked up once for each form; the linker by their prior alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.arrays import Codes, Doubles
from openmofi.knowledge import Candidates, KnowledgeBase, normalise
from openmofi.linking.protocol import LinkSettings
from openmofi.schema import Link, Mention


class PriorLinker:
    """P(entity | mention) = commonness × link probability; the rest to 1 is NIL. The text does not matter."""

    name = "prior"

    def __init__(self, kb: KnowledgeBase, settings: LinkSettings | None = None) -> None:
        self.settings = settings or LinkSettings()
        self._lookup = CandidateLookup(kb, self.settings)

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
        return [links_of([(name, None) for name in names]) for names in self._lookup.of_texts(texts, mentions)]


_REMEMBERED = 50_000
_NO_ROWS = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class NameCandidates:
    """The entities that a surface form may mean.

    Attributes:
        key: the normalised form.
        rows: int32 entity rows, by falling commonness; empty for an unknown name.
        ids: their identifiers.
        commonness: P(entity | name) of each.
        prior: (k) float64, P(entity | name) × P(mention | name), scaled to leave at least the NIL floor.
    """

    key: str
    rows: Codes
    ids: list[str]
    commonness: list[float]
    prior: Doubles


class CandidateLookup:
    """Surface form → candidates; remembers up to 50,000 forms.

    The prior of NIL is 1 − Σ prior: the share of the name's occurrences that mean nothing (1 − link probability) and
    of candidates that were cut, but at least `nil_floor`.
    """

    def __init__(self, kb: KnowledgeBase, settings: LinkSettings) -> None:
        self._kb = kb
        self._settings = settings
        self._known: dict[str, NameCandidates] = {}

    def of_texts(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[NameCandidates]]:
        """Return the candidates of each text's mentions."""
        wanted = dict.fromkeys(
            mention.surface for _, of_text in zip(texts, mentions, strict=True) for mention in of_text
        )
        unknown = [surface for surface in wanted if surface not in self._known]
        if len(self._known) + len(unknown) > _REMEMBERED:
            self._known.clear()
            unknown = list(wanted)
        self._learn(unknown)
        return [[self._known[mention.surface] for mention in of_text] for of_text in mentions]

    def _learn(self, surfaces: Sequence[str]) -> None:
        """Look up forms; their entities' identifiers all at once, since that takes much longer one by one."""
        by_surface = [self._kb.candidates(surface, self._settings.candidates) for surface in surfaces]
        ids = self._kb.ids(np.concatenate([_NO_ROWS, *(candidates.rows for candidates in by_surface)]))
        first = 0
        for surface, candidates in zip(surfaces, by_surface, strict=True):
            self._known[surface] = self._named(surface, candidates, ids[first : first + len(candidates)])
            first += len(candidates)

    def _named(self, surface: str, candidates: Candidates, ids: list[str]) -> NameCandidates:
        prior = candidates.priors.astype(np.float64) * self._kb.link_probability(surface)
        total = float(prior.sum())
        most = 1.0 - self._settings.nil_floor
        if total > most:
            prior *= most / total
        return NameCandidates(normalise(surface), candidates.rows, ids, candidates.priors.tolist(), prior)


def links_of(mentions: Sequence[tuple[NameCandidates, Doubles | None]], digits: int = 6) -> list[Link]:
    """Return links of a text's mentions, by mention, then by falling score; equal scores by falling commonness.

    Args:
        mentions: each one's candidates and their scores; `None` takes the prior.
        digits: decimals kept of scores; the order of additions could change further ones.
    """
    links = []
    for number, (candidates, of_candidates) in enumerate(mentions):
        scores = np.round(candidates.prior if of_candidates is None else of_candidates, digits).tolist()
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        links += [Link(candidates.ids[index], number, candidates.commonness[index], scores[index]) for index in order]
    return links
