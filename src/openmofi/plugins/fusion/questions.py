"""Mentions as questions: which of these candidates does it mean? The linker that asks only where there is doubt."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from openmofi.arrays import Doubles
from openmofi.knowledge import KnowledgeBase
from openmofi.linking.candidates import CandidateLookup, NameCandidates, links_of
from openmofi.plugins.fusion.examples import LinkCandidate
from openmofi.plugins.fusion.fusion_settings import FusionLinkSettings
from openmofi.schema import Link, Mention

_DIGITS = 4  # of scores; another batch could change further ones
_LEAST_PRIOR = 1e-4  # of a candidate that was never seen under the name


@dataclass(frozen=True, slots=True)
class LinkQuestion:
    """A mention and its candidates.

    Attributes:
        text: the mention's.
        start, end: of the mention in characters, end exclusive.
        candidates: at least one.
    """

    text: str
    start: int
    end: int
    candidates: tuple[LinkCandidate, ...]


def log_priors(candidates: Sequence[LinkCandidate]) -> Doubles:
    """Return the logarithms of the candidates' commonness and, last, NIL's 0."""
    return np.log([*(max(candidate.prior, _LEAST_PRIOR) for candidate in candidates), 1.0])


def probabilities(scores: Doubles) -> Doubles:
    """Return calibrated probabilities of candidates and NIL: the softmax of their scores."""
    weights: Doubles = np.exp(scores - scores.max())
    return weights / weights.sum()


_LOG_TEMPERATURE, _PRIOR_WEIGHT = (-4.0, 4.0), (0.0, 3.0)


def fitted_calibration(
    logits: Sequence[Doubles], priors: Sequence[Doubles], targets: Sequence[int], *, nil: bool
) -> tuple[float, float]:
    """Fit T and α of logits / T + α · log prior to the right answers; 1 and 0 without any example.

    With α = 0 this is temperature scaling (Guo et al., arXiv 1706.04599).

    Args:
        logits: of candidates and NIL, each.
        priors: logarithms, see `log_priors`.
        targets: the position of the right one.
        nil: whether NIL takes part; if not, its logits are left out.
    """
    used = [
        (of_mention, of_names, target) if nil else (of_mention[:-1], of_names[:-1], target)
        for of_mention, of_names, target in zip(logits, priors, targets, strict=True)
        if nil or target < len(of_mention) - 1
    ]
    if not used:
        return 1.0, 0.0
    width = max(len(of_mention) for of_mention, _, _ in used)
    first, second = np.full((len(used), width), -np.inf), np.zeros((len(used), width))
    for row, (of_mention, of_names, _) in enumerate(used):
        first[row, : len(of_mention)], second[row, : len(of_names)] = of_mention, of_names
    right = np.arange(len(used)), np.array([target for _, _, target in used])

    def loss(parameters: Doubles) -> float:
        scores = first * np.exp(-parameters[0]) + parameters[1] * second
        return float(np.mean(logsumexp(scores, axis=1) - scores[right]))

    fitted = minimize(loss, np.zeros(2), bounds=[_LOG_TEMPERATURE, _PRIOR_WEIGHT]).x
    return round(float(np.exp(fitted[0])), 4), round(float(fitted[1]), 4)


class QuestionLinker(ABC):
    """A `Linker` that reads each doubtful mention together with its candidates' descriptions.

    A name with one candidate or a decisive prior is answered by its prior. All other mentions of a call are scored in
    batches across texts, and remembered by context and span. P(entity) is the share of the name's occurrences that are
    mentions at all, times the calibrated probability among candidates and NIL.

    Attributes:
        name: of the kind of linker.
        asked: mentions that have been scored.
    """

    name: str

    def __init__(self, kb: KnowledgeBase, settings: FusionLinkSettings | None = None) -> None:
        self.settings = settings or FusionLinkSettings()
        self.asked = 0
        self._kb = kb
        self._lookup = CandidateLookup(kb, self.settings)
        self._known: dict[tuple[str, int, int], Doubles] = {}
        self._described = lru_cache(maxsize=self.settings.cache)(self._candidate)

    @abstractmethod
    def scores(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """Score each question's candidates and, last, NIL; their softmax are calibrated probabilities."""

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
        return [
            links_of([(candidates, None) for candidates in of_text], _DIGITS)
            for of_text in self.answered(texts, mentions)
        ]

    def answered(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[NameCandidates]]:
        """Return the candidates of each text's mentions, with what was answered in place of the prior."""
        keyed = [
            [
                ((text, mention.start, mention.end), candidates)
                for mention, candidates in zip(of_text, names, strict=True)
            ]
            for text, of_text, names in zip(texts, mentions, self._lookup.of_texts(texts, mentions), strict=True)
        ]
        new = {
            key: candidates
            for of_text in keyed
            for key, candidates in of_text
            if key not in self._known and not self.settled(candidates)
        }
        answers = self._known | self._answered(new) if new else self._known
        return [[self._linked(candidates, answers.get(key)) for key, candidates in of_text] for of_text in keyed]

    def settled(self, candidates: NameCandidates) -> bool:
        """Whether the prior decides."""
        common = candidates.commonness
        return len(common) < 2 or common[0] - common[1] >= self.settings.prior_margin

    def _answered(self, mentions: dict[tuple[str, int, int], NameCandidates]) -> dict[tuple[str, int, int], Doubles]:
        questions = [
            LinkQuestion(
                *key,
                tuple(
                    replace(self._described(row), prior=prior)
                    for row, prior in zip(candidates.rows.tolist(), candidates.commonness, strict=True)
                ),
            )
            for key, candidates in mentions.items()
        ]
        self.asked += len(questions)
        fresh = {
            key: probabilities(of_mention) for key, of_mention in zip(mentions, self.scores(questions), strict=True)
        }
        if len(self._known) + len(fresh) > self.settings.cache:
            self._known.clear()
        self._known.update(list(fresh.items())[: self.settings.cache])
        return fresh

    def _linked(self, candidates: NameCandidates, answer: Doubles | None) -> NameCandidates:
        """Return the candidates by an answer, or as they are where the prior decides."""
        if answer is None or self.settled(candidates):
            return candidates
        return replace(candidates, prior=candidates.prior.sum() * answer[:-1])

    def _candidate(self, row: int) -> LinkCandidate:
        entity = self._kb.entity(row)
        return LinkCandidate(entity.id, entity.name, entity.description, entity.types[0] if entity.types else "")
