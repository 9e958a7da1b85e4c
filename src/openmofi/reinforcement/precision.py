"""How embeddings are stored: half, bfloat16, or int8 with a scale a vector; and how that changes similarities."""

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
