"""A teacher's own scale, where its checkpoint does not tell: the one at which its softmax says what is true."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from openmofi.encoders import Array, open_encoder
from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.reinforcement.teachers import device_for
from openmofi.schema import PairStatus
from openmofi.storage import Shard

_LEAST, _MOST = 0.1, 1000.0
_LEAST_PAIRS = 16
_FORWARD = 64


@dataclass(frozen=True)
class TunedScale:
    """The outcome.

    Attributes:
        spec: the teacher.
        scale: s of the least cross-entropy.
        cross_entropy: there, in nats; a teacher that knows nothing has log(batch).
        accuracy: share of rows and columns whose greatest similarity is the true pair's.
        pairs, batch: held-out pairs, and how many of them a softmax runs over.
    """

    spec: str
    scale: float
    cross_entropy: float
    accuracy: float
    pairs: int
    batch: int


def tune_scale(shards: Sequence[Shard], spec: str, *, pairs: int = 4096, batch: int = 256, seed: int = 0,
               read: ReadSettings = ReadSettings(), device: str = "cpu") -> TunedScale:
    """Find a teacher's scale on pairs that it was not trained on.

    Args:
        shards: of held-out pairs; the first `pairs` usable ones of distinct texts are taken, since of two pairs of
            one text neither is wrong for the other.
        spec: the teacher.
        pairs: how many, at most.
        batch: pairs a softmax runs over.
        seed: of the batches.
        read: how the shards are read.
        device: where the teacher works, see `device_for`.

    Raises:
        OpenMofiError: too few pairs can be used, or the encoder has no joint space.
    """
    encoder = open_encoder(spec, device=device_for(spec, device))
    image, text = [], []
    for pictures, texts in _portions(shards, pairs, read):
        pixels = np.stack([encoder.preprocess(picture) for picture in pictures])
        image.append(encoder.project_images(encoder.image_features(pixels)))
        text.append(encoder.embed_texts(texts))
    found = sum(map(len, image))
    if found < _LEAST_PAIRS:
        raise OpenMofiError(f"{found} pairs of distinct texts can be used; a scale needs {_LEAST_PAIRS}.",
                            "Give more held-out pairs.")
    return _tuned(spec, np.concatenate(image), np.concatenate(text), min(batch, found), seed)


def _tuned(spec: str, image: Array, text: Array, batch: int, seed: int) -> TunedScale:
    cosines = batched_cosines(image, text, batch, seed)
    scale, loss = best_scale(cosines)
    truth = np.arange(batch)
    right = [np.mean(cosines.argmax(axis) == truth) for axis in (1, 2)]
    return TunedScale(spec, scale, loss, float(np.mean(right)), len(image), batch)


def batched_cosines(image: Array, text: Array, batch: int, seed: int) -> NDArray[np.float64]:
    """Cosines of pairs (n, dim) in shuffled batches, (n // batch, batch, batch); what is left over is left out."""
    order = np.random.default_rng(seed).permutation(len(image))[:len(image) // batch * batch].reshape(-1, batch)
    return np.einsum("bid,bjd->bij", image[order].astype(np.float64), text[order].astype(np.float64))


def contrastive_cross_entropy(cosines: NDArray[np.float64], scale: float) -> float:
    """Mean of both directions' cross-entropies of softmax(scale · cosines), pairs on the diagonal, in nats."""
    right = [np.diagonal(log_softmax(scale * cosines, axis), axis1=1, axis2=2) for axis in (1, 2)]
    return -float(np.mean(right))


def best_scale(cosines: NDArray[np.float64]) -> tuple[float, float]:
    """The scale of the least cross-entropy and that value; convex in the scale, so that there is one."""
    found = minimize_scalar(lambda x: contrastive_cross_entropy(cosines, math.exp(x)), method="bounded",
                            bounds=(math.log(_LEAST), math.log(_MOST)), options={"xatol": 1e-4})
    return math.exp(float(found.x)), float(found.fun)


def _portions(shards: Sequence[Shard], limit: int, read: ReadSettings) -> Iterator[tuple[list[Image.Image], list[str]]]:
    """Images and texts of usable pairs, some at a time."""
    pictures: list[Image.Image] = []
    texts: list[str] = []
    seen: set[str] = set()
    for pair in chain.from_iterable(read_pairs(shard, read) for shard in shards):
        if len(seen) == limit:
            break
        if pair.status != PairStatus.OK or pair.image is None or pair.text in seen:
            continue
        try:
            pictures.append(decode_image(pair.image))
        except ImageRefused:
            continue
        seen.add(pair.text)
        texts.append(pair.text)
        if len(texts) == _FORWARD:
            yield pictures, texts
            pictures, texts = [], []
    if texts:
        yield pictures, texts
