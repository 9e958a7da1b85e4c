"""Measures of an encoder: whether it tells things apart at all, and the logit scale that its checkpoint lacks.

At all: a few texts and a few images, which must not embed alike.

A tokenizer without its vocabulary, weights that do not belong to the model, or a training that has collapsed open
without an error, and then every label is chance. What is asked is little (a checkpoint with random weights answers it),
once in a process for each encoder and side, when that side is first used: mostly two images, or two texts. Encoders
over one backbone share what it makes of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from openmofi.arrays import Array, Doubles
from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError

Side = Literal["images", "texts"]


# The texts of a group have one length: where no word is in the vocabulary, length alone would tell them apart. Later
# groups are for vocabularies that lack the words of the first.
_TEXTS = (("crane", "apple"), ("fruit", "brand"), ("sun", "red"), ("two", "the"), ("a", "b"), ("1", "2"), ("月", "火"))
_ALIKE = 1e-6
"""Greatest difference in a coordinate of L2-normalised rows that are the same up to rounding."""
_HINTS = {
    "images": "Check its weights; an encoder whose training collapsed has to be trained again.",
    "texts": "Check that its tokenizer files are there and whole, and its weights; an encoder whose training collapsed "
    "has to be trained again.",
}
_passed: set[tuple[str, Side]] = set()
_features: dict[tuple[str, Side, int], Array] = {}


@dataclass(frozen=True)
class Probed:
    """One side of an encoder, as it is asked.

    Attributes:
        side: of images, or of texts.
        spec, fingerprint, feature_fingerprint: see `openmofi.encoders.Encoder`.
        features: PIL images, or texts → (n, feature_dim).
        project: features → joint space, L2-normalised; `None` where there is none.
    """

    side: Side
    spec: str
    fingerprint: str
    feature_fingerprint: str
    features: Callable[[Sequence[Any]], Array]
    project: Callable[[Array], Array] | None

    def embed(self, group: Sequence[Any], number: int) -> Array:
        """Return the embeddings of a group of that number; its features are kept for encoders over the same ones."""
        key = (self.feature_fingerprint, self.side, number)
        if key not in _features:
            _features[key] = self.features(group)
        return (self.project or normalised)(_features[key])


def require_distinct(asked: Probed) -> None:
    """Check that an encoder embeds different images, or texts, differently; once in a process by its fingerprint.

    Raises:
        OpenMofiError: it does not, or gives values that are not finite.
    """
    key = (asked.fingerprint, asked.side)
    if key in _passed:
        return
    # Before it is asked, since it asks this in its turn.
    _passed.add(key)
    try:
        if refusal := _refusal(asked):
            raise OpenMofiError(f"The encoder {asked.spec!r} {refusal}.", _HINTS[asked.side])
    except BaseException:
        _passed.discard(key)
        raise


def _refusal(asked: Probed) -> str:
    """Return what is wrong with the encoder; empty where nothing is."""
    groups: tuple[Any, ...] = _TEXTS if asked.side == "texts" else (_drawn(0), _drawn(1))
    for number, group in enumerate(groups):
        first, second = asked.embed(group, number)
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            return f"gives {asked.side} values that are not finite"
        if _differ(first, second):
            break
    else:
        return f"embeds different {asked.side} alike, so that nothing can be told apart by them"
    # Words that alone embed differently may not in texts of two words.
    if asked.side == "texts" and not _differ(*asked.embed([f"{word} {word}" for word in group], len(_TEXTS))):
        return "embeds different texts of two words alike"
    return ""


def _differ(first: Array, second: Array) -> bool:
    return bool(np.abs(first - second).max() > _ALIKE)


def _drawn(group: int, size: int = 64) -> list[Image.Image]:
    """Two images: halves of two colours beside a dark slope; bright noise beside dark noise."""
    if group == 0:
        halves = np.full((size, size, 3), (230, 40, 20))
        halves[:, size // 2 :] = (20, 200, 90)
        slope = np.linspace(0, 120, size)[:, None, None] * np.array([0.2, 0.6, 1.0]) * np.ones((1, size, 1))
        return [_image(halves), _image(slope)]
    noise = np.random.default_rng(0).integers(0, 128, (2, size, size, 3))
    return [_image(noise[0] + 128), _image(noise[1])]


def _image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


# A softmax over scaled cosines is a posterior: of which text belongs to an image, if one of a batch does. The scale at
# which it is the true one has the least cross-entropy, which is how CLIP learns its own (Radford et al., arXiv
# 2103.00020, section 2.5).

_LEAST, _MOST = 0.1, 1000.0


@dataclass(frozen=True)
class FittedScale:
    """The outcome of `fit_scale`.

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


def batched_cosines(images: Array, texts: Array, batch: int, seed: int) -> Doubles:
    """Cosines of pairs (n, dim) in shuffled batches, (n // batch, batch, batch); what is left over is left out."""
    order = np.random.default_rng(seed).permutation(len(images))[: len(images) // batch * batch].reshape(-1, batch)
    return np.einsum("bid,bjd->bij", images[order].astype(np.float64), texts[order].astype(np.float64))


def contrastive_cross_entropy(cosines: Doubles, scale: float) -> float:
    """Mean of both directions' cross-entropies of softmax(scale · cosines), pairs on the diagonal, in nats."""
    from scipy.special import log_softmax

    logs = [np.diagonal(log_softmax(scale * cosines, axis), axis1=1, axis2=2) for axis in (1, 2)]
    return -float(np.mean(logs))


def best_scale(cosines: Doubles) -> tuple[float, float]:
    """The scale of the least cross-entropy and that value; convex in the scale, so that it is the only one."""
    from scipy.optimize import minimize_scalar

    minimum = minimize_scalar(
        lambda x: contrastive_cross_entropy(cosines, math.exp(x)),
        method="bounded",
        bounds=(math.log(_LEAST), math.log(_MOST)),
        options={"xatol": 1e-4},
    )
    return math.exp(float(minimum.x)), float(minimum.fun)
