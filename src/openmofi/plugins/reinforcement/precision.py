"""How embeddings are stored: half, bfloat16, or int8 with a scale a vector; and how that changes similarities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from scipy.special import log_softmax

from openmofi.arrays import Array
from openmofi.encoders import open_encoder
from openmofi.encoders.scale import FittedScale, fit_scale
from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.schema import PairStatus
from openmofi.storage import Shard

_LEAST_PAIRS = 16
_FORWARD = 64


def tune_scale(
    shards: Sequence[Shard],
    spec: str,
    *,
    pairs: int = 4096,
    batch: int = 256,
    seed: int = 0,
    read: ReadSettings = ReadSettings(),
    device: str = "cpu",
) -> FittedScale:
    """Find a teacher's scale on pairs that it was not trained on.

    Args:
        shards: of held-out pairs; the first `pairs` usable ones of distinct texts are taken, since of two pairs of
            one text neither is wrong for the other.
        spec: the teacher.
        pairs: how many, at most.
        batch: pairs a softmax runs over.
        seed: of the batches.
        read: how the shards are read.
        device: where the teacher works, see `openmofi.encoders.open_encoder`.

    Raises:
        OpenMofiError: too few pairs can be used, or the encoder cannot compare images with texts.
    """
    encoder = open_encoder(spec, device=device)
    encoder.require_comparison()
    image_parts, text_parts = [], []
    usable = islice(_usable(shards, read), pairs)
    while portion := list(islice(usable, _FORWARD)):
        pixels = np.stack([encoder.preprocess(image) for image, _ in portion])
        image_parts.append(encoder.project_images(encoder.image_features(pixels)))
        text_parts.append(encoder.embed_texts([text for _, text in portion]))
    count = sum(map(len, image_parts))
    if count < _LEAST_PAIRS:
        raise OpenMofiError(
            f"{count} pairs of distinct texts can be used; a scale needs {_LEAST_PAIRS}.", "Give more held-out pairs."
        )
    return fit_scale(np.concatenate(image_parts), np.concatenate(text_parts), batch=batch, seed=seed)


def _usable(shards: Sequence[Shard], read: ReadSettings) -> Iterator[tuple[Image.Image, str]]:
    """Images and texts of usable pairs of distinct texts."""
    seen: set[str] = set()
    for pair in chain.from_iterable(read_pairs(shard, read) for shard in shards):
        if pair.status == PairStatus.OK and pair.image is not None and pair.text not in seen:
            with suppress(ImageRefused):
                image = decode_image(pair.image)
                seen.add(pair.text)
                yield image, pair.text


Codes = NDArray[Any]

PRECISIONS: Mapping[str, pa.DataType] = {"fp16": pa.float16(), "bf16": pa.uint16(), "int8": pa.int8()}
"""Name → Arrow's type; Arrow has no bfloat16, which is kept as its 16 bits."""

_GREATEST = 127


def encode(vectors: Array, precision: str) -> tuple[Codes, Array]:
    """Encode (…, dim) float32 for storage.

    Returns:
        codes: (…, dim) float16, uint16 or int8. The error of components between −1 and 1 is at most 2⁻¹² of their
            size (or 2⁻²⁵) for fp16, 2⁻⁸ of it for bf16, half the vector's scale for int8.
        scales: (…) float32; 1 except for int8, where a component is code × scale.
    """
    ones: Array = np.ones(vectors.shape[:-1], np.float32)
    if precision == "fp16":
        return vectors.astype(np.float16), ones
    if precision == "bf16":
        bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
        # Round to nearest, ties to even; numpy has no bfloat16.
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16), ones
    scales: Array = (np.abs(vectors).max(-1) / np.float32(_GREATEST)).astype(np.float32)
    safe = np.where(scales > 0, scales, np.float32(1))
    codes = np.clip(np.rint(vectors / safe[..., None]), -_GREATEST, _GREATEST).astype(np.int8)
    return codes, scales


def decode(codes: Codes, scales: Array, precision: str) -> Array:
    """Decode what `encode` returned: (…, dim) float32, not normalised."""
    if precision == "fp16":
        return codes.astype(np.float32)
    if precision == "bf16":
        return (codes.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(codes.astype(np.float32) * scales[..., None])


def normalised(vectors: Array) -> Array:
    """(…, dim), each divided by its length; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, np.float32(1)), vectors.dtype)


def stored(vectors: Array, precision: str) -> Array:
    """Embeddings as a reader of the store sees them: encoded, decoded, L2-normalised."""
    return normalised(decode(*encode(vectors, precision), precision))


def affinity_fidelity(image: Array, text: Array, scale: float, precision: str) -> dict[str, float]:
    """How storage changes a teacher's affinities softmax(s · Ψ_image Ψ_textᵀ) over a batch, both ways.

    Args:
        image, text: (n, dim) float32 embeddings of the teacher.
        scale: s.
        precision: of the storage.

    Returns:
        `kl`: mean of KL(exact ‖ stored) over rows and columns, in nats; `absolute`: mean of |exact − stored|.
    """
    exact, kept = (
        scale * a.astype(np.float64) @ b.astype(np.float64).T
        for a, b in ((image, text), (stored(image, precision), stored(text, precision)))
    )
    divergence, difference = [], []
    for axis in (0, 1):
        p, q = log_softmax(exact, axis), log_softmax(kept, axis)
        divergence.append(float((np.exp(p) * (p - q)).sum(axis).mean()))
        difference.append(float(np.abs(np.exp(p) - np.exp(q)).mean()))
    return {"kl": float(np.mean(divergence)), "absolute": float(np.mean(difference))}
