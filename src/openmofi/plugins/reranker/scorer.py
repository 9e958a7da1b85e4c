"""Relevance of candidates, and its mix with how common they are.

P(e | m) ∝ exp(relevance / T) · commonness^α over the candidates, times the share of the name's occurrences that mean
one of them; the rest is NIL's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from openmofi.arrays import Doubles
from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.examples import LinkCandidate, LinkExample
from openmofi.plugins.fusion.questions import LinkQuestion, fitted_calibration, log_priors
from openmofi.plugins.reranker.examples import HELD_OUT
from openmofi.storage import fingerprint

_MOST = 1e4  # log-odds; beyond nothing is surer


class Scorer(Protocol):
    """Says how relevant candidates are to the text of a mention."""

    @property
    def fingerprint(self) -> str:
        """What decides its answers."""

    def relevance(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """Return one number for each candidate of each question, on a scale of log-odds."""


def candidate_text(candidate: LinkCandidate) -> str:
    """Return "name: description (type)", of what the knowledge base has."""
    described = f"{candidate.title}: {candidate.description}" if candidate.description else candidate.title
    return f"{described} ({candidate.type})" if candidate.type else described


def query_text(question: LinkQuestion) -> str:
    """Return "mention: text"."""
    return f"{question.text[question.start : question.end]}: {question.text}"


@dataclass(frozen=True)
class Reranker:
    """A scorer and its mix with the prior.

    Attributes:
        scorer: see `Scorer`.
        temperature: T, which relevance is divided by.
        prior_weight: α, the weight of log commonness.
    """

    scorer: Scorer
    temperature: float = 1.0
    prior_weight: float = 1.0

    @property
    def fingerprint(self) -> str:
        """What decides its answers."""
        return fingerprint([self.scorer.fingerprint, self.temperature, self.prior_weight])

    def scores(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """Score each question's candidates and, last, NIL, which gets −∞: the prior alone says how likely it is.

        Raises:
            OpenMofiError: a relevance is no number, as of damaged weights; or see `Scorer.relevance`.
        """
        found = self.scorer.relevance(questions)
        if any(np.isnan(relevance).any() for relevance in found):
            raise OpenMofiError("The reranker gives no number for a candidate.", "Its weights are damaged: use others.")
        return [
            np.append(relevance.clip(-_MOST, _MOST), -np.inf) / self.temperature
            + self.prior_weight * log_priors(question.candidates)
            for question, relevance in zip(questions, found, strict=True)
        ]


def fitted(scorer: Scorer, examples: Sequence[LinkExample]) -> Reranker:
    """Fit temperature and prior weight on the examples that are held out."""
    held_out = [example for example in examples if example.split == HELD_OUT]
    relevance = scorer.relevance([question_of(example) for example in held_out])
    targets = [[candidate.id for candidate in example.candidates].index(example.gold) for example in held_out]
    temperature, weight = fitted_calibration(
        [np.append(of_mention, -np.inf) for of_mention in relevance],
        [log_priors(example.candidates) for example in held_out],
        targets,
        nil=False,
    )
    return Reranker(scorer, temperature, weight)


def question_of(example: LinkExample) -> LinkQuestion:
    """Return what is asked about an example."""
    return LinkQuestion(example.text, example.start, example.end, example.candidates)


def accuracy(reranker: Reranker, examples: Sequence[LinkExample]) -> float:
    """Return the share of examples whose best candidate is the right one."""
    scores = reranker.scores([question_of(example) for example in examples])
    return float(
        np.mean(
            [
                example.candidates[int(of_mention[:-1].argmax())].id == example.gold
                for example, of_mention in zip(examples, scores, strict=True)
            ]
        )
    )
