"""The logit scale of an encoder whose checkpoint does not hold it: fitted to pairs of images and texts.

A softmax over scaled cosines is a posterior: of which text belongs to an image, if one of a batch does. The scale at
which it is the true one has the least cross-entropy, which is how CLIP learns its own (Radford et al., arXiv
2103.00020, section 2.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from openmofi.arrays import Array

_LEAST, _MOST = 0.1, 1000.0


@dataclass(frozen=True)
class FittedScale:
    """The outcome.

    Attributes:
        scale: s of the least cross-entropy.
        cross_entropy: there, in nats; an encoder that knows nothing has log(batch).
        accuracy: share of rows and columns whose greatest similarity is the true pair's.
        pairs, batch: how many pairs, and how many of them a softmax runs over.
    """

    scale: float
    cross_entropy: float
    accuracy: float
    pairs: int
    batch: int


def fit_scale(images: Array, texts: Array, *, batch: int = 256, seed: int = 0) -> FittedScale:
    """The scale s at which softmax(s · cosines) over a batch is nearest to which text belongs to which image.

    Args:
        images, texts: (n, dim) float32, L2-normalised; row i of both is a pair, and no two pairs have one text, since
            neither would be wrong for the other.
        batch: pairs a softmax runs over; n where there are fewer.
        seed: of the shuffle into batches; pairs that fill no batch are left out.

    Raises:
        ValueError: there are no pairs.
    """
    if not len(images):
        raise ValueError("a scale is fitted to pairs, and there are none")
    batch = min(batch, len(images))
    cosines = batched_cosines(images, texts, batch, seed)
    scale, loss = best_scale(cosines)
    truth = np.arange(batch)
    correct = [np.mean(cosines.argmax(axis) == truth) for axis in (1, 2)]
    return FittedScale(scale, loss, float(np.mean(correct)), len(images), batch)


def batched_cosines(images: Array, texts: Array, batch: int, seed: int) -> NDArray[np.float64]:
    """Cosines of pairs (n, dim) in shuffled batches, (n // batch, batch, batch); what is left over is left out."""
    order = np.random.default_rng(seed).permutation(len(images))[: len(images) // batch * batch].reshape(-1, batch)
    return np.einsum("bid,bjd->bij", images[order].astype(np.float64), texts[order].astype(np.float64))


def contrastive_cross_entropy(cosines: NDArray[np.float64], scale: float) -> float:
    """Mean of both directions' cross-entropies of softmax(scale · cosines), pairs on the diagonal, in nats."""
    logs = [np.diagonal(log_softmax(scale * cosines, axis), axis1=1, axis2=2) for axis in (1, 2)]
    return -float(np.mean(logs))


def best_scale(cosines: NDArray[np.float64]) -> tuple[float, float]:
    """The scale of the least cross-entropy and that value; convex in the scale, so that it is the only one."""
    minimum = minimize_scalar(
        lambda x: contrastive_cross_entropy(cosines, math.exp(x)),
        method="bounded",
        bounds=(math.log(_LEAST), math.log(_MOST)),
        options={"xatol": 1e-4},
    )
    return math.exp(float(minimum.x)), float(minimum.fun)
