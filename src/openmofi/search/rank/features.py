"""What is known of a result beside its cosine: how it stands among all images, and whether another entity fits better.

A cosine alone says little: some queries are near to every image, and some images to every query. So a result of a query
q has, for the image i,

- z, its cosine in standard deviations of q's cosines with images at random;
- the margin d = s(q, i) − log Σ_e exp s(e, i), where s is the logit scale × cosine and e are reference entities that
  are not q itself: what else the image may show;
- the agreement log Σ_e P(e | q) P(e | i), where P is the softmax over the reference: whether both show the same;
- z and d of the query's best results, which say whether there is an answer at all;
- how near the image is to its own nearest ones among images at random: where images lie close together, a high cosine
  says less (Conneau et al. 2018, "Word translation without parallel data", CSLS).

Queries by image are judged by the first three alone, which carry over to what no text names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from openmofi.encoders import Array

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("z", "margin", "agreement", "best z", "best margin", "density")
OF_IMAGES = 3
SAME = 0.9
"""Cosine from which on a reference entity means what the query means."""
_BEST, _CLOSE = 3, 10
_FLOOR = -20.0


@dataclass(frozen=True)
class Surroundings:
    """What results are seen against.

    Attributes:
        background: (b, dim) vectors of images at random.
        reference: (r, dim) vectors of entities; none where the index knows none.
        scale: the factor on cosines.
    """

    background: Array
    reference: Array
    scale: float

    def without(self, entity: Array) -> Surroundings:
        """The same without the reference entities that mean what this one means, (dim,)."""
        return replace(self, reference=self.reference[self.reference @ entity < SAME])

    def features(self, query: Array, images: Array, cosines: Array) -> Doubles:
        """(n, 6) of a query's results, best first; see `NAMES`.

        Args:
            query: (dim,) L2-normalised.
            images: (n, dim) vectors of the results.
            cosines: (n,) of the two.
        """
        usual = self.background @ query if len(self.background) else np.zeros(1, np.float32)
        z = (cosines.astype(np.float64) - usual.mean()) / max(float(usual.std()), 1e-6)
        margin, agreement = self._among_entities(query, images, cosines.astype(np.float64))
        best = np.full(len(z), z[:_BEST].mean() if len(z) else 0.0)
        best_margin = np.full(len(z), margin[:_BEST].mean() if len(z) else 0.0)
        return np.stack([z, margin, agreement, best, best_margin, self._density(images)], axis=1)

    def _density(self, images: Array) -> Doubles:
        """(n,) mean cosine with the ten nearest images at random."""
        if len(self.background) <= _CLOSE:
            return np.zeros(len(images))
        near = np.partition(images @ self.background.T, -_CLOSE, axis=1)[:, -_CLOSE:]
        return near.mean(axis=1).astype(np.float64)

    def _among_entities(self, query: Array, images: Array, cosines: Doubles) -> tuple[Doubles, Doubles]:
        if not len(self.reference):
            return np.zeros(len(images)), np.zeros(len(images))
        own = self.scale * (self.reference @ query).astype(np.float64)
        theirs = self.scale * (images @ self.reference.T).astype(np.float64)
        others = own < self.scale * SAME
        margin = self.scale * cosines - (logsumexp(theirs[:, others], axis=1) if others.any() else 0.0)
        joint = logsumexp(theirs + own, axis=1) - logsumexp(theirs, axis=1) - logsumexp(own)
        return margin, np.maximum(joint, _FLOOR)
