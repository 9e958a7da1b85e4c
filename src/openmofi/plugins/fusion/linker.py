"""The fusion decoder in use: which candidate a mention means, for examples and in the label job."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from openmofi.arrays import Doubles
from openmofi.knowledge import KnowledgeBase
from openmofi.linking.candidates import CandidateLookup, NameCandidates, links_of
from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample
from openmofi.plugins.fusion.fusion_settings import FusionLinkSettings
from openmofi.plugins.fusion.model import Packed, pack
from openmofi.plugins.fusion.store import Fusion, open_fusion
from openmofi.plugins.fusion.text import title_scores, title_tokens
from openmofi.schema import Link, Mention

_SEQUENCES_AT_ONCE = 2048
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


def packed_questions(fusion: Fusion, questions: Sequence[LinkQuestion]) -> Packed:
    """Pack questions as the model reads them."""
    tokens = fusion.tokens
    return pack(
        [tokens.context(question.text, question.start, question.end) for question in questions],
        [[tokens.candidate(candidate) for candidate in question.candidates] for question in questions],
        tokens.markers.pad,
    )


@torch.no_grad()
def scores_of(fusion: Fusion, questions: Sequence[LinkQuestion], *, at_once: int = 32) -> list[Doubles]:
    """Score each question's candidates and, last, NIL; questions without candidates have NIL's 0 alone.

    A score is logit / temperature + prior weight · log commonness; their softmax are the calibrated probabilities.
    `select` has logits, `generate` mean log-probabilities of the titles' tokens. Where the model was not trained with
    NIL, its score is −∞.

    Args:
        fusion: the model.
        questions: any number.
        at_once: most mentions of a forward pass; fewer where they have many candidates.
    """
    answerable = [number for number, question in enumerate(questions) if question.candidates]
    # Mentions of similar sizes together: a pass then has little padding.
    answerable.sort(key=lambda number: len(questions[number].candidates))
    scores: list[Doubles] = [np.zeros(1)] * len(questions)
    # `generate` scores the titles of all candidates at once: memory grows with the square of their number.
    at_once = max(1, at_once // 8) if fusion.tokens.settings.head == "generate" else at_once
    for batch in _batches(answerable, questions, at_once):
        for number, of_question in zip(batch, _scores(fusion, [questions[number] for number in batch]), strict=True):
            if not fusion.nil:
                of_question[-1] = -np.inf
            scores[number] = of_question / fusion.temperature + fusion.prior_weight * log_priors(
                questions[number].candidates
            )
    return scores


def log_priors(candidates: Sequence[LinkCandidate]) -> Doubles:
    """Return the logarithms of the candidates' commonness and, last, NIL's 0."""
    return np.log([*(max(candidate.prior, _LEAST_PRIOR) for candidate in candidates), 1.0])


def answers_of(fusion: Fusion, examples: Sequence[LinkExample], *, at_once: int = 32) -> list[str]:
    """Return the model's answer for each example: the identifier of a listed candidate, or `NIL`."""
    questions = [LinkQuestion(example.text, example.start, example.end, example.listed) for example in examples]
    ids = [[*(candidate.id for candidate in question.candidates), NIL] for question in questions]
    return [
        choices[int(scores.argmax())]
        for choices, scores in zip(ids, scores_of(fusion, questions, at_once=at_once), strict=True)
    ]


def probabilities(scores: Doubles) -> Doubles:
    """Return calibrated probabilities of candidates and NIL: the softmax of their scores."""
    weights: Doubles = np.exp(scores - scores.max())
    return weights / weights.sum()


def _batches(order: Sequence[int], questions: Sequence[LinkQuestion], at_once: int) -> list[list[int]]:
    batches: list[list[int]] = []
    sequences = 0
    for number in order:
        count = len(questions[number].candidates)
        if not batches or len(batches[-1]) >= at_once or sequences + count > _SEQUENCES_AT_ONCE:
            batches.append([])
            sequences = 0
        batches[-1].append(number)
        sequences += count
    return batches


def _scores(fusion: Fusion, questions: Sequence[LinkQuestion]) -> list[Doubles]:
    packed = packed_questions(fusion, questions).to(fusion.model.nil_key.device)
    pad = fusion.tokens.markers.pad
    if fusion.tokens.settings.head == "generate":
        titles = [title_tokens(fusion.tokens, question.candidates) for question in questions]
        return [values.double().cpu().numpy() for values in title_scores(fusion.model, packed, titles, pad)]
    flat = fusion.model(packed, pad).double().cpu().numpy()
    *of_questions, nil = np.split(flat, np.cumsum([len(question.candidates) for question in questions]))
    return [np.append(of_candidates, of_nil) for of_candidates, of_nil in zip(of_questions, nil, strict=True)]


class FusionLinker:
    """The fusion decoder as a `Linker`: `--linker fusion:PATH`.

    A name with one candidate or a decisive prior is answered by its prior. All other mentions of a call are scored in
    batches across texts, and remembered by context and span. P(entity) is the share of the name's occurrences that are
    mentions at all, times the model's calibrated probability among candidates and NIL.

    Attributes:
        asked: mentions that the model has scored.
    """

    name = "fusion"

    def __init__(
        self, kb: KnowledgeBase, model: str | Path | Fusion, settings: FusionLinkSettings | None = None
    ) -> None:
        self.settings = settings or FusionLinkSettings()
        self.fusion = model if isinstance(model, Fusion) else open_fusion(model)
        self.asked = 0
        self._kb = kb
        self._lookup = CandidateLookup(kb, self.settings)
        self._known: dict[tuple[str, int, int], Doubles] = {}
        self._described = lru_cache(maxsize=self.settings.cache)(self._candidate)

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
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
        return [
            links_of([(candidates, self._linked(candidates, answers.get(key))) for key, candidates in of_text], _DIGITS)
            for of_text in keyed
        ]

    def settled(self, candidates: NameCandidates) -> bool:
        """Whether the prior decides, without the model."""
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
        scores = scores_of(self.fusion, questions, at_once=self.settings.mentions_at_once)
        fresh = {key: probabilities(of_mention) for key, of_mention in zip(mentions, scores, strict=True)}
        if len(self._known) + len(fresh) > self.settings.cache:
            self._known.clear()
        self._known.update(list(fresh.items())[: self.settings.cache])
        return fresh

    def _linked(self, candidates: NameCandidates, answer: Doubles | None) -> Doubles | None:
        """Return the scores of a name's candidates; `None` where the prior decides."""
        return None if answer is None or self.settled(candidates) else candidates.prior.sum() * answer[:-1]

    def _candidate(self, row: int) -> LinkCandidate:
        entity = self._kb.entity(row)
        return LinkCandidate(entity.id, entity.name, entity.description, entity.types[0] if entity.types else "")
