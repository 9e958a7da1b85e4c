"""The fusion decoder in use: which candidate a mention means, for examples and in the label job."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from openmofi.arrays import Doubles
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.fusion.examples import NIL, LinkExample
from openmofi.plugins.fusion.fusion_settings import FusionLinkSettings
from openmofi.plugins.fusion.model import Packed, pack
from openmofi.plugins.fusion.questions import LinkQuestion, QuestionLinker, log_priors
from openmofi.plugins.fusion.store import Fusion, open_fusion
from openmofi.plugins.fusion.text import title_scores, title_tokens

_SEQUENCES_AT_ONCE = 2048


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


def answers_of(fusion: Fusion, examples: Sequence[LinkExample], *, at_once: int = 32) -> list[str]:
    """Return the model's answer for each example: the identifier of a listed candidate, or `NIL`."""
    questions = [LinkQuestion(example.text, example.start, example.end, example.listed) for example in examples]
    ids = [[*(candidate.id for candidate in question.candidates), NIL] for question in questions]
    return [
        choices[int(scores.argmax())]
        for choices, scores in zip(ids, scores_of(fusion, questions, at_once=at_once), strict=True)
    ]


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


class FusionLinker(QuestionLinker):
    """The fusion decoder as a `Linker`: `--linker fusion:PATH`."""

    name = "fusion"

    def __init__(
        self, kb: KnowledgeBase, model: str | Path | Fusion, settings: FusionLinkSettings | None = None
    ) -> None:
        super().__init__(kb, settings)
        self.fusion = model if isinstance(model, Fusion) else open_fusion(model)

    def scores(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """See `QuestionLinker.scores`."""
        return scores_of(self.fusion, questions, at_once=self.settings.mentions_at_once)
