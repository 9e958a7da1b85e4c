"""Linking by commonness and the rest of the text, as MOFI does it (arXiv 2306.07952, section 2).

Every entity has a vector of the graph. The context of a mention m is what the other mentions of the text mean at
present, c_m = Σ_{m' ≠ m} Σ_e P(e | m') v_e, and

    P(e | m)   ∝ prior(e | m)^a · exp(β · cos(v_e, c_m))
    P(NIL | m) ∝ prior(NIL | m)^a · exp(β · nil_cosine)

is taken again and again, damped, until it stands. A mention without others keeps its prior. One name twice in a text
is one mention here: it would otherwise confirm itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase
from openmofi.linking.candidates import CandidateLookup, NameCandidates, links_of, rounded
from openmofi.linking.settings import CoherenceSettings
from openmofi.schema import Link, Mention

_LEAST = 1e-12
_SHORT = 1e-4
_BLOCK = 1 << 22
_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32)
MOST_NAMES = 32
"""Different names of a text that take part; in a longer text further ones keep their prior."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with at least two different names: its place in the batch and their candidates."""

    place: int
    names: list[NameCandidates]


def _padded(count: int) -> int:
    return next(size for size in _SIZES if size >= count)


class CoherenceLinker:
    """Commonness, weighed by how well a candidate goes with the rest of the text.

    A text's links do not depend on the batch that it comes in: texts are padded to sizes that they alone decide, and
    computed as a stack of equally sized problems.
    """

    name = "coherence"

    def __init__(self, kb: KnowledgeBase, settings: CoherenceSettings | None = None) -> None:
        self.settings = settings or CoherenceSettings()
        self._kb = kb
        self._lookup = CandidateLookup(kb, self.settings)

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
        looked_up = [[self._lookup(mention.surface) for mention in found]
                     for _, found in zip(texts, mentions, strict=True)]
        scores: list[dict[str, list[float]]] = [{} for _ in looked_up]
        for bucket in self._buckets(looked_up):
            for text, probabilities in zip(bucket, self._solve(bucket), strict=True):
                for candidates, row in zip(text.names, probabilities, strict=False):
                    scores[text.place][candidates.key] = rounded(row[:len(candidates.rows)])
        return [self._links(candidates, known) for candidates, known in zip(looked_up, scores, strict=True)]

    @staticmethod
    def _links(mentions: Sequence[NameCandidates], scores: dict[str, list[float]]) -> list[Link]:
        links = []
        for number, candidates in enumerate(mentions):
            known = scores.get(candidates.key)
            links.extend(links_of(number, candidates, rounded(candidates.prior) if known is None else known))
        return links

    def _buckets(self, looked_up: Sequence[Sequence[NameCandidates]]) -> list[list[_Text]]:
        """Texts with something to weigh, by padded size, cut into blocks that fit the cache."""
        sizes: dict[tuple[int, int], list[_Text]] = {}
        for place, mentions in enumerate(looked_up):
            names = {found.key: found for found in mentions if len(found.rows)}
            if len(names) < 2:
                continue
            kept = list(names.values())[:MOST_NAMES]
            widest = max(len(candidates.rows) for candidates in kept)
            sizes.setdefault((_padded(len(kept)), _padded(widest)), []).append(_Text(place, kept))
        blocks = []
        for (names_padded, width), texts in sizes.items():
            step = max(1, _BLOCK // (names_padded * width * self._kb.dim * 4))
            blocks += [texts[start:start + step] for start in range(0, len(texts), step)]
        return blocks

    def _solve(self, texts: Sequence[_Text]) -> NDArray[np.float64]:
        """(texts, names, candidates) probabilities; padding has 0."""
        names = _padded(max(len(text.names) for text in texts))
        width = _padded(max(len(c.rows) for text in texts for c in text.names))
        rows = np.zeros((len(texts), names, width), np.int64)
        prior = np.zeros((len(texts), names, width))
        for place, text in enumerate(texts):
            for number, candidates in enumerate(text.names):
                rows[place, number, :len(candidates.rows)] = candidates.rows
                prior[place, number, :len(candidates.rows)] = candidates.prior
        vectors = self._kb.vectors(rows.reshape(-1)).reshape(*rows.shape, -1)
        return iterate(prior, vectors, self.settings)


def iterate(
    prior: NDArray[np.float64], vectors: NDArray[np.float32], settings: CoherenceSettings,
) -> NDArray[np.float64]:
    """The fixed point for a stack of texts.

    Args:
        prior: (texts, names, candidates); 0 where padded. What is missing to 1 along candidates is NIL's.
        vectors: (texts, names, candidates, dim), L2-normalised or zero.
        settings: see there.

    Returns:
        P(e | m), the shape of `prior`; what is missing to 1 along candidates is NIL's.
    """
    held = prior > 0
    base = np.where(held, np.maximum(prior, _LEAST) ** settings.prior_weight, 0.0)
    nil = np.maximum(1.0 - prior.sum(axis=2), _LEAST) ** settings.prior_weight
    nil = nil * np.exp(settings.coherence_weight * settings.nil_cosine)
    result = prior.copy()
    active, now = np.arange(len(prior)), prior
    for _ in range(settings.iterations):
        cosine, heard = _cosines(now, vectors)
        weight = base * np.exp(settings.coherence_weight * cosine)
        fresh = weight / (weight.sum(axis=2) + nil)[:, :, None]
        # A name whose others have no vectors has no context, and keeps its prior.
        fresh = np.where((heard & held.any(axis=2))[:, :, None], fresh, prior)
        fresh = settings.damping * now + (1.0 - settings.damping) * fresh
        result[active] = fresh
        moving = np.abs(fresh - now).max(axis=(1, 2)) > settings.tolerance
        if not moving.any():
            break
        now = fresh
        if not moving.all():
            active, now, prior, base, nil, held, vectors = (
                array[moving] for array in (active, now, prior, base, nil, held, vectors))
    return result


def _cosines(
    probability: NDArray[np.float64], vectors: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cosine of every candidate with its name's context, and (texts, names) whether there is a context."""
    expected = np.matmul(probability.astype(np.float32)[:, :, None, :], vectors)[:, :, 0, :]
    context = expected.sum(axis=1, keepdims=True) - expected
    length = np.sqrt(np.square(context).sum(axis=2))
    context /= np.maximum(length, _SHORT)[:, :, None]
    cosine = np.matmul(vectors, context[:, :, :, None])[..., 0]
    return cosine.astype(np.float64), length > _SHORT
