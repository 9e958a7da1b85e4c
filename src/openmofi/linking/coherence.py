"""Linking by commonness and the rest of the text, as in MOFI (arXiv 2306.07952, section 2).

Every entity has a vector of the graph. The context of a mention m is the expected vector of the text's other mentions,
c_m = Σ_{m' ≠ m} Σ_e P(e | m') v_e, and

    P(e | m)   ∝ prior(e | m)^a · exp(β · cos(v_e, c_m))
    P(NIL | m) ∝ prior(NIL | m)^a · exp(β · nil_cosine)

is iterated with damping until it converges. A mention without others keeps its prior. A name that occurs twice in a
text is one mention here: it would otherwise confirm itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.arrays import Array, Bools, Doubles
from openmofi.knowledge import KnowledgeBase
from openmofi.linking.candidates import CandidateLookup, NameCandidates, links_of
from openmofi.linking.protocol import CoherenceSettings
from openmofi.schema import Link, Mention

_LEAST = 1e-12
_SHORT = 1e-4
_BLOCK = 1 << 22
_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32)
MOST_NAMES = 32
"""Most names of a text that take part; further ones keep their prior."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with at least two different names: its index in the batch and the names' candidates."""

    index: int
    names: list[NameCandidates]


def _padded(count: int) -> int:
    return next(size for size in _SIZES if size >= count)


class CoherenceLinker:
    """Commonness, weighted by how well a candidate matches the rest of the text.

    A text's links do not depend on the batch that it comes in: a text alone decides the size that it is padded to, and
    texts of one size are computed as a stack.
    """

    name = "coherence"

    def __init__(self, kb: KnowledgeBase, settings: CoherenceSettings | None = None) -> None:
        self.settings = settings or CoherenceSettings()
        self._kb = kb
        self._lookup = CandidateLookup(kb, self.settings)

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
        return self.links(self._lookup.of_texts(texts, mentions))

    def links(self, candidates: Sequence[Sequence[NameCandidates]]) -> list[list[Link]]:
        """Return the links of texts, by the candidates of each one's mentions."""
        scores: list[dict[str, Doubles]] = [{} for _ in candidates]
        for bucket in self._buckets(candidates):
            for text, probabilities in zip(bucket, self._solve(bucket), strict=True):
                for name, row in zip(text.names, probabilities, strict=False):
                    scores[text.index][name.key] = row[: len(name.rows)]
        return [
            links_of([(name, scored.get(name.key)) for name in names])
            for names, scored in zip(candidates, scores, strict=True)
        ]

    def _buckets(self, candidates: Sequence[Sequence[NameCandidates]]) -> list[list[_Text]]:
        """Return texts with at least two names, by padded size, in blocks that fit the cache."""
        sizes: dict[tuple[int, int], list[_Text]] = {}
        for index, of_text in enumerate(candidates):
            names = {name.key: name for name in of_text if len(name.rows)}
            if len(names) < 2:
                continue
            mentions = list(names.values())[:MOST_NAMES]
            widest = max(len(name.rows) for name in mentions)
            sizes.setdefault((_padded(len(mentions)), _padded(widest)), []).append(_Text(index, mentions))
        blocks = []
        for (names_padded, width), texts in sizes.items():
            step = max(1, _BLOCK // (names_padded * width * self._kb.dim * 4))
            blocks += [texts[start : start + step] for start in range(0, len(texts), step)]
        return blocks

    def _solve(self, texts: Sequence[_Text]) -> Doubles:
        """Return (texts, names, candidates) probabilities; padding has 0."""
        names = _padded(max(len(text.names) for text in texts))
        width = _padded(max(len(name.rows) for text in texts for name in text.names))
        rows = np.zeros((len(texts), names, width), np.int64)
        prior = np.zeros((len(texts), names, width))
        for index, text in enumerate(texts):
            for number, name in enumerate(text.names):
                rows[index, number, : len(name.rows)] = name.rows
                prior[index, number, : len(name.rows)] = name.prior
        vectors = self._kb.vectors(rows.reshape(-1)).reshape(*rows.shape, -1)
        return iterate(prior, vectors, self.settings)


def iterate(
    prior: Doubles,
    vectors: Array,
    settings: CoherenceSettings,
) -> Doubles:
    """Iterate to the fixed point for a stack of texts.

    Args:
        prior: (texts, names, candidates); 0 where padded. The rest to 1 along candidates is NIL's.
        vectors: (texts, names, candidates, dim), L2-normalised or zero.
        settings: see there.

    Returns:
        P(e | m), the shape of `prior`; the rest to 1 along candidates is NIL's.
    """
    held = prior > 0
    base = np.where(held, np.maximum(prior, _LEAST) ** settings.prior_weight, 0.0)
    nil = np.maximum(1.0 - prior.sum(axis=2), _LEAST) ** settings.prior_weight
    nil = nil * np.exp(settings.coherence_weight * settings.nil_cosine)
    result = prior.copy()
    active, now = np.arange(len(prior)), prior
    for _ in range(settings.iterations):
        cosine, has_context = _cosines(now, vectors)
        weight = base * np.exp(settings.coherence_weight * cosine)
        fresh = weight / (weight.sum(axis=2) + nil)[:, :, None]
        # A name whose others have no vectors has no context, and keeps its prior.
        fresh = np.where((has_context & held.any(axis=2))[:, :, None], fresh, prior)
        fresh = settings.damping * now + (1.0 - settings.damping) * fresh
        result[active] = fresh
        moving = np.abs(fresh - now).max(axis=(1, 2)) > settings.tolerance
        if not moving.any():
            break
        now = fresh
        if not moving.all():
            active, now, prior, base, nil, held, vectors = (
                array[moving] for array in (active, now, prior, base, nil, held, vectors)
            )
    return result


def _cosines(
    probability: Doubles,
    vectors: Array,
) -> tuple[Doubles, Bools]:
    """Return each candidate's cosine with its name's context, and (texts, names) whether there is a context."""
    expected = np.matmul(probability.astype(np.float32)[:, :, None, :], vectors)[:, :, 0, :]
    context = expected.sum(axis=1, keepdims=True) - expected
    length = np.sqrt(np.square(context).sum(axis=2))
    context /= np.maximum(length, _SHORT)[:, :, None]
    cosine = np.matmul(vectors, context[:, :, :, None])[..., 0]
    return cosine.astype(np.float64), length > _SHORT
