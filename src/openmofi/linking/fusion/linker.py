"""The fusion decoder at work: which candidate a mention means, for examples and in the label job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase
from openmofi.linking.candidates import CandidateLookup, NameCandidates, links_of
from openmofi.linking.corpora.examples import NIL, Candidate, Example
from openmofi.linking.fusion.build import Fusion
from openmofi.linking.fusion.packing import Packed, pack
from openmofi.linking.fusion.settings import FusionLinkSettings
from openmofi.linking.fusion.store import open_fusion
from openmofi.linking.fusion.titles import title_scores, title_tokens
from openmofi.schema import Link, Mention

Floats = NDArray[np.float64]
_SEQUENCES_AT_ONCE = 2048
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Question:
    """A mention with what it may mean.

    Attributes:
        text: what it stands in.
        start, end: its characters, end exclusive.
        candidates: at least one.
    """

    text: str
    start: int
    end: int
    candidates: tuple[Candidate, ...]


def packed_questions(fusion: Fusion, questions: Sequence[Question]) -> Packed:
    """The questions as the model reads them."""
    tokens = fusion.tokens
    return pack([tokens.context(asked.text, asked.start, asked.end) for asked in questions],
                [[tokens.candidate(candidate) for candidate in asked.candidates] for asked in questions],
                tokens.markers.pad)


@torch.no_grad()
def scores_of(fusion: Fusion, questions: Sequence[Question], *, at_once: int = 32) -> list[Floats]:
    """Scores of each question's candidates and, last, of NIL; questions without candidates have NIL's 0 alone.

    `select`'s scores are logits. `generate`'s are mean log-probabilities of the titles' tokens. Where the model was not
    trained with NIL, its score is −∞.

    Args:
        fusion: the model.
        questions: any number.
        at_once: most mentions of a forward pass; fewer where they have many candidates.
    """
    answerable = [number for number, asked in enumerate(questions) if asked.candidates]
    # Mentions of like sizes together: a pass then has little padding.
    answerable.sort(key=lambda number: len(questions[number].candidates))
    found: list[Floats] = [np.zeros(1)] * len(questions)
    # The titles of all candidates are scored at once there, which takes as much room again as there are candidates.
    at_once = max(1, at_once // 8) if fusion.tokens.settings.head == "generate" else at_once
    for batch in _batches(answerable, questions, at_once):
        asked = [questions[number] for number in batch]
        for number, scores in zip(batch, _scores(fusion, asked), strict=True):
            if not fusion.nil:
                scores[-1] = -np.inf
            found[number] = scores
    return found


def answers_of(fusion: Fusion, examples: Sequence[Example], *, at_once: int = 32) -> list[str]:
    """What the model says each example's mention means, among its listed candidates: an identifier, or `NIL`."""
    questions = [Question(example.text, example.start, example.end, example.listed) for example in examples]
    found = scores_of(fusion, questions, at_once=at_once)
    ids = [[*(candidate.id for candidate in asked.candidates), NIL] for asked in questions]
    return [listed[int(scores.argmax())] for listed, scores in zip(ids, found, strict=True)]


def probabilities(scores: Floats, temperature: float) -> Floats:
    """Calibrated probabilities of candidates and NIL: softmax of scores / temperature."""
    scaled = scores / temperature
    weights: Floats = np.exp(scaled - scaled.max())
    return weights / weights.sum()


def _batches(order: Sequence[int], questions: Sequence[Question], at_once: int) -> list[list[int]]:
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


def _scores(fusion: Fusion, asked: Sequence[Question]) -> list[Floats]:
    packed = packed_questions(fusion, asked).to(fusion.model.nil_key.device)
    pad = fusion.tokens.markers.pad
    if fusion.tokens.settings.head == "generate":
        titles = [title_tokens(fusion.tokens, one.candidates) for one in asked]
        return [values.double().cpu().numpy() for values in title_scores(fusion.model, packed, titles, pad)]
    with torch.no_grad():
        flat = fusion.model(packed, pad).double().cpu().numpy()
    counts = [len(one.candidates) for one in asked]
    ends = list(accumulate(counts))
    return [np.append(flat[end - count:end], flat[ends[-1] + number])
            for number, (count, end) in enumerate(zip(counts, ends, strict=True))]


class FusionLinker:
    """The fusion decoder as a `Linker`: `--linker fusion:PATH`.

    A name without a choice (one candidate, or a prior that leaves little doubt) is answered by its prior. All else is
    asked in batches across the texts of a call, and remembered by context and span. P(entity) is the share of the
    name's occurrences that are mentions at all, times the model's calibrated probability among candidates and NIL.
    """

    name = "fusion"

    def __init__(self, kb: KnowledgeBase, model: str | Path | Fusion,
                 settings: FusionLinkSettings | None = None) -> None:
        self.settings = settings or FusionLinkSettings()
        self.fusion = model if isinstance(model, Fusion) else open_fusion(model)
        self.asked = 0
        self._kb = kb
        self._lookup = CandidateLookup(kb, self.settings)
        self._known: dict[tuple[str, int, int], Floats] = {}
        self._entities: dict[int, Candidate] = {}

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
        looked_up = [[self._lookup(mention.surface) for mention in found]
                     for _, found in zip(texts, mentions, strict=True)]
        wanted: dict[tuple[str, int, int], NameCandidates] = {}
        for text, found, names in zip(texts, mentions, looked_up, strict=True):
            for mention, candidates in zip(found, names, strict=True):
                key = (text, mention.start, mention.end)
                if key not in self._known and not self.settled(candidates):
                    wanted[key] = candidates
        answers = self._known | self._answered(wanted) if wanted else self._known
        return [[link for number, (mention, candidates) in enumerate(zip(found, names, strict=True))
                 for link in self._links(number, candidates, answers.get((text, mention.start, mention.end)))]
                for text, found, names in zip(texts, mentions, looked_up, strict=True)]

    def settled(self, candidates: NameCandidates) -> bool:
        """Whether the model need not be asked."""
        common = candidates.commonness
        return len(common) < 2 or common[0] - common[1] >= self.settings.prior_margin

    def _answered(self, wanted: dict[tuple[str, int, int], NameCandidates]) -> dict[tuple[str, int, int], Floats]:
        questions = [Question(*key, self._described(candidates)) for key, candidates in wanted.items()]
        self.asked += len(questions)
        scores = scores_of(self.fusion, questions, at_once=self.settings.mentions_at_once)
        fresh = {key: probabilities(found, self.fusion.temperature) for key, found in zip(wanted, scores, strict=True)}
        if len(self._known) + len(fresh) > self.settings.cache:
            self._known.clear()
        self._known.update(list(fresh.items())[:self.settings.cache])
        return fresh

    def _links(self, number: int, candidates: NameCandidates, answer: Floats | None) -> list[Link]:
        scores = candidates.prior
        if answer is not None and not self.settled(candidates):
            scores = candidates.prior.sum() * answer[:-1]
        # What another batch could change in the last digits is cut off.
        return links_of(number, candidates, np.round(scores, _DIGITS).tolist())

    def _described(self, candidates: NameCandidates) -> tuple[Candidate, ...]:
        if len(self._entities) > self.settings.cache:
            self._entities.clear()
        for row in candidates.rows.tolist():
            if row not in self._entities:
                entity = self._kb.entity(row)
                self._entities[row] = Candidate(entity.id, entity.name, entity.description,
                                                entity.types[0] if entity.types else "")
        return tuple(self._entities[row] for row in candidates.rows.tolist())
