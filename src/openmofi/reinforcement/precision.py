"""How embeddings are stored: half, bfloat16, or bytes with a scale a vector; and what that does to similarities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import log_softmax

from openmofi.encoders import Array

Codes = NDArray[Any]

PRECISIONS: Mapping[str, pa.DataType] = {"fp16": pa.float16(), "bf16": pa.uint16(), "int8": pa.int8()}
"""Names, and what Arrow keeps: bfloat16, which it does not know, as its 16 bits."""

_GREATEST = 127


def encode(vectors: Array, precision: str) -> tuple[Codes, Array]:
    """(…, dim) float32 → what is stored.

    Returns:
        codes: (…, dim) float16, uint16 or int8. Of components between −1 and 1, fp16 is off by at most 2⁻¹² of what
            it is (2⁻²⁵ at least), bf16 by 2⁻⁸ of it, int8 by half the vector's scale.
        scales: (…) float32; ones but for int8, where a component is code × scale.
    """
    ones: Array = np.ones(vectors.shape[:-1], np.float32)
    if precision == "fp16":
        return vectors.astype(np.float16), ones
    if precision == "bf16":
        bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
        # To the nearest, ties to even; numpy has no bfloat16.
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16), ones
    scales: Array = (np.abs(vectors).max(-1) / np.float32(_GREATEST)).astype(np.float32)
    safe = np.where(scales > 0, scales, np.float32(1))
    codes = np.clip(np.rint(vectors / safe[..., None]), -_GREATEST, _GREATEST).astype(np.int8)
    return codes, scales


def decode(codes: Codes, scales: Array, precision: str) -> Array:
    """What `encode` gave, (…, dim) float32; not normalised."""
    if precision == "fp16":
        return codes.astype(np.float32)
    if precision == "bf16":
        return (codes.astype(np.uint32) << 16).view(np.float32)
    found: Array = codes.astype(np.float32) * scales[..., None]
    return found


def normalised(vectors: Array) -> Array:
    """(…, dim), each of length 1; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: Array = np.asarray(vectors / np.where(norms > 0, norms, np.float32(1)), vectors.dtype)
    return found


def stored(vectors: Array, precision: str) -> Array:
    """What a reader of the store sees of embeddings: through `encode` and back, L2-normalised."""
    return normalised(decode(*encode(vectors, precision), precision))


def affinity_fidelity(image: Array, text: Array, scale: float, precision: str) -> dict[str, float]:
    """What storing does to a teacher's affinities softmax(s · Ψ_image Ψ_textᵀ) over a batch, both ways.

    Args:
        image, text: (n, dim) float32 embeddings as the teacher gave them.
        scale: s.
        precision: how they would be stored.

    Returns:
        `kl`: mean of KL(exact ‖ stored) over rows and columns, in nats; `absolute`: mean of |exact − stored|.
    """
    exact, kept = (scale * a.astype(np.float64) @ b.astype(np.float64).T for a, b in (
        (image, text), (stored(image, precision), stored(text, precision))))
    divergence, difference = [], []
    for axis in (0, 1):
        p, q = log_softmax(exact, axis), log_softmax(kept, axis)
        divergence.append(float((np.exp(p) * (p - q)).sum(axis).mean()))
        difference.append(float(np.abs(np.exp(p) - np.exp(q)).mean()))
    return {"kl": float(np.mean(divergence)), "absolute": float(np.mean(difference))}
