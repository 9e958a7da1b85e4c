"""A small reranker over frozen MiniLM: logistic regression over what a context and a candidate have in common.

The context u is the text with the mention taken out, the candidate v its name, description and type, both embedded by
all-MiniLM-L6-v2 without training it. Relevance is w₀ cos(u, v) + Σ wᵢ uᵢ vᵢ + Σ w′ᵢ vᵢ: which meanings go with which
contexts, and which are meant in such texts at all. The weights have one best value, so that nothing depends on a seed.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from openmofi.arrays import Array, Doubles, Ints
from openmofi.engine import Progress, Quiet
from openmofi.plugins.encoders.backbones import MiniLM
from openmofi.plugins.fusion.examples import LinkExample
from openmofi.plugins.fusion.questions import LinkQuestion, log_priors
from openmofi.plugins.reranker.examples import HELD_OUT, TRAIN
from openmofi.plugins.reranker.scorer import Reranker, candidate_text, fitted, question_of
from openmofi.storage import fingerprint

WEIGHTS = 1 + 2 * MiniLM.dim
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Strengths of the L2 penalty that are tried; the loss on held-out entities chooses."""
_MASK = "[MASK]"
_REMEMBERED = 100_000
_BLOCK = 512


class MiniLMScorer:
    """See the module.

    Args:
        weights: (WEIGHTS,) of the features; see `Embedded.features`.

    Raises:
        ValueError: they are of another number, or not finite.
        MissingExtraError: MiniLM is not installed.
    """

    def __init__(self, weights: Doubles) -> None:
        if weights.shape != (WEIGHTS,) or not np.isfinite(weights).all():
            raise ValueError(f"a reranker has {WEIGHTS} finite weights")
        self._weights = weights
        self._embedded = Embedded()
        self.fingerprint = fingerprint([self._embedded.fingerprint, weights.tolist()])

    def relevance(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """See `Scorer.relevance`."""
        features, first = self._embedded.features(questions)
        return np.split(features @ self._weights, first[1:])


class Embedded:
    """Features of mentions and candidates; the embeddings of candidates are remembered."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._minilm = MiniLM()
        self._progress = progress or Quiet()
        self.fingerprint = self._minilm.fingerprint
        self._known: dict[str, Array] = {}

    def features(self, questions: Sequence[LinkQuestion]) -> tuple[Array, Ints]:
        """Return (N, WEIGHTS) float32 features of all candidates, and the first of each question among them.

        Embeddings are multiplied by √384, so that their values are about 1.
        """
        described = [[candidate_text(candidate) for candidate in question.candidates] for question in questions]
        self._learn({text for texts in described for text in texts})
        contexts = [f"{one.text[: one.start]}{_MASK}{one.text[one.end :]}" for one in questions]
        sizes = np.array([len(texts) for texts in described])
        scale = np.float32(MiniLM.dim**0.5)
        context = np.repeat(self._vectors(contexts), sizes, axis=0)
        candidate = np.stack([self._known[text] for texts in described for text in texts])
        product = context * candidate
        features = np.hstack([product.sum(1, keepdims=True) * scale, product * scale**2, candidate * scale])
        return features, np.cumsum(sizes) - sizes

    def _learn(self, texts: set[str]) -> None:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        new = sorted(texts - self._known.keys())
        self._known.update(zip(new, self._vectors(new), strict=True))

    def _vectors(self, texts: Sequence[str]) -> Array:
        if len(texts) <= _BLOCK:
            return self._minilm.features(texts)
        starts = range(0, len(texts), _BLOCK)
        self._progress.begin("embed texts", len(starts))
        vectors = []
        for start in starts:
            vectors.append(self._minilm.features(texts[start : start + _BLOCK]))
            self._progress.advance({})
        return np.concatenate(vectors)


def train(examples: Sequence[LinkExample], progress: Progress | None = None) -> tuple[Reranker, Doubles]:
    """Fit the weights to the split `train`; penalty, temperature and prior weight to `validation`.

    Args:
        examples: of both splits.
        progress: receives the texts that are embedded.

    Returns:
        The reranker, and its (WEIGHTS,) weights.
    """
    embedded = Embedded(progress)
    data, held_out = (_Listed(embedded, [one for one in examples if one.split == split]) for split in (TRAIN, HELD_OUT))
    solutions = [data.fitted(penalty) for penalty in PENALTIES]
    best = min(solutions, key=lambda solution: held_out.loss(solution, 0.0)[0])
    return fitted(MiniLMScorer(best[:-1]), examples), best[:-1]


class _Listed:
    """Examples as the rows of one matrix: features of all candidates, and log commonness as the last column."""

    def __init__(self, embedded: Embedded, examples: Sequence[LinkExample]) -> None:
        features, self._first = embedded.features([question_of(example) for example in examples])
        priors = np.concatenate([log_priors(example.candidates)[:-1] for example in examples])
        self._rows = np.hstack([features, priors[:, None].astype(np.float32)])
        right = [[candidate.id for candidate in example.candidates].index(example.gold) for example in examples]
        self._right = self._first + np.array(right)

    def fitted(self, penalty: float) -> Doubles:
        """Return the (WEIGHTS + 1,) weights of least loss, that of the prior last."""
        start = np.append(np.zeros(WEIGHTS), 1.0)
        found: Doubles = minimize(self.loss, start, (penalty,), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
        return found

    def loss(self, weights: Doubles, penalty: float) -> tuple[float, Doubles]:
        """Return the mean cross-entropy with an L2 penalty on all weights but the cosine's and the prior's, and its
        gradient.
        """
        scores = (self._rows @ weights.astype(np.float32)).astype(np.float64)
        sizes = np.diff(np.append(self._first, len(scores)))
        exponentials = np.exp(scores - np.repeat(np.maximum.reduceat(scores, self._first), sizes))
        share = exponentials / np.repeat(np.add.reduceat(exponentials, self._first), sizes)
        loss = -np.log(np.maximum(share[self._right], 1e-30)).mean()
        share[self._right] -= 1
        penalised = penalty * weights
        penalised[[0, -1]] = 0
        gradient = (share.astype(np.float32) @ self._rows) / len(self._right) + penalised
        return float(loss + 0.5 * penalised @ weights), gradient.astype(np.float64)
