"""Measures of an encoder: whether it tells things apart at all, and the logit scale that its checkpoint lacks.

At all: a few texts and a few images, which must not embed alike.

A tokenizer without its vocabulary, weights that do not belong to the model, or a training that has collapsed open
without an error, and then every label is chance. What is asked is little (a checkpoint with random weights answers it),
once in a process for each encoder and side, when that side is first used: mostly two images, or two texts. Encoders
over one backbone share what it makes of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from openmofi.arrays import Array, Doubles
from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError

if TYPE_CHECKING:
    from openmofi.encoders.encoder import Encoder


_OPENED: WeakValueDictionary[tuple[str, str, str, bool], Encoder] = WeakValueDictionary()


def in_precision(reopen: Callable[[], Encoder], precision: str) -> Encoder:
    """Open an encoder again, in a precision."""
    return reopen().with_precision(precision)


def compiled(reopen: Callable[..., Encoder], **placed: str) -> Encoder:
    """Open an encoder again, perhaps on another `device`, and compile it."""
    return reopen(**placed).compiled()


def reopened(reopen: Callable[[], Encoder], spec: str, device: str, expected: str, compiles: bool) -> Encoder:
    """The encoder of a pickle: the one that this process has opened for an earlier pickle, as long as that is used."""
    if (opened := _OPENED.get((spec, device, expected, compiles))) is not None:
        return opened
    encoder = reopen()
    if encoder.fingerprint != expected:
        raise OpenMofiError(
            f"The encoder {encoder.spec!r} is not the same in this process: its fingerprint is "
            f"{encoder.fingerprint}, not {expected}.",
            "Put the same checkpoint on every machine, and leave it unchanged while a job runs.",
        )
    _OPENED[spec, device, expected, compiles] = encoder
    return encoder


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
_features: dict[tuple[str, str, int], Array] = {}


def require_distinct(encoder: Encoder, side: Side) -> None:
    """Check that an encoder embeds different images, or texts, differently; once in a process by its fingerprint.

    Raises:
        OpenMofiError: it does not, or gives values that are not finite.
    """
    key = (encoder.fingerprint, side)
    if key in _passed:
        return
    # Before it is asked, since it asks this in its turn.
    _passed.add(key)
    try:
        if refusal := _refusal(encoder, side):
            raise OpenMofiError(f"The encoder {encoder.spec!r} {refusal}.", _HINTS[side])
    except BaseException:
        _passed.discard(key)
        raise


def _refusal(encoder: Encoder, side: Side) -> str:
    """Return what is wrong with the encoder; empty where nothing is."""
    groups: tuple[Any, ...] = _TEXTS if side == "texts" else (_drawn(0), _drawn(1))
    project = encoder.text_projection if side == "texts" else encoder.image_projection
    for number, group in enumerate(groups):
        key = (encoder.feature_fingerprint, side, number)
        if key not in _features:
            _features[key] = (
                encoder.text_features(group)
                if side == "texts"
                else encoder.image_features(encoder.batch([encoder.preprocess(image) for image in group]))
            )
        first, second = (project or normalised)(_features[key])
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            return f"gives {side} values that are not finite"
        if np.abs(first - second).max() > _ALIKE:
            return "" if side == "images" else _refusal_of_phrases(encoder, group)
    return f"embeds different {side} alike, so that nothing can be told apart by them"


def _refusal_of_phrases(encoder: Encoder, words: tuple[str, str]) -> str:
    """What is wrong with texts of two words, of words that alone embed differently."""
    key = (encoder.feature_fingerprint, "texts", len(_TEXTS))
    if key not in _features:
        _features[key] = encoder.text_features([f"{word} {word}" for word in words])
    first, second = (encoder.text_projection or normalised)(_features[key])
    return "" if np.abs(first - second).max() > _ALIKE else "embeds different texts of two words alike"


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
