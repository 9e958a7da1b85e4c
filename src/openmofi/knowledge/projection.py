"""Coherence vectors: fast random projection over the graph of relations.

Chen, Sultan, Tian, Chen, Skiena: Fast and Accurate Network Embeddings via Very Sparse Random Projection, CIKM 2019.
Each entity has a random vector R; U_k = (D⁻¹A)^k · D^β · R sums those of the entities k steps away, and a vector is
Σ_k w_k · U_k / |U_k|. Here R is made from a hash of the identifier, so that an entity's neighbourhood alone decides its
vector: neither its row nor how many other entities there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_BITS_A_DIGEST = 512


@dataclass(frozen=True)
class ProjectionSettings:
    """How the vectors are made. The defaults were chosen on WordNet's glosses (which name is a gloss about?).

    Attributes:
        dim: length of a vector; a multiple of 8.
        weights: w_0, w_1, …: of the entity's own random vector and of the entities 1, 2, … steps away.
        hub_exponent: β; negative, so that a hub with thousands of neighbours weighs little.
        seed: another seed gives other, equally good vectors.
    """

    dim: int = 128
    weights: tuple[float, ...] = (0.3, 0.6, 1.0, 1.0, 1.0, 1.0)
    hub_exponent: float = -0.25
    seed: int = 0


def random_signs(ids: Sequence[str], dim: int, seed: int) -> NDArray[np.float32]:
    """(n, dim) of ±1, each row decided by its identifier and the seed alone."""
    digests = -(-dim // _BITS_A_DIGEST)
    size = _BITS_A_DIGEST // 8 if digests > 1 else dim // 8
    bits = bytearray()
    for entity_id in ids:
        row = b"".join(hashlib.blake2b(f"{seed}:{part}:{entity_id}".encode(), digest_size=size).digest()
                       for part in range(digests))
        bits += row[: dim // 8]
    signs = np.unpackbits(np.frombuffer(bits, np.uint8).reshape(len(ids), dim // 8), axis=1)
    return signs.astype(np.float32) * 2 - 1


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    vectors /= np.maximum(lengths, 1e-12)[:, None]
    return vectors


def project(
    ids: Sequence[str], heads: NDArray[np.int64], tails: NDArray[np.int64], settings: ProjectionSettings,
) -> NDArray[np.float16]:
    """(n, dim) float16, L2-normalised; zeros for an entity without relations.

    Args:
        ids: identifiers in row order.
        heads, tails: rows of related entities; direction, kind and repetition of a relation do not matter.
        settings: see there.
    """
    size = len(ids)
    ends = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    graph = sparse.csr_matrix((np.ones(len(ends[0]), np.float32), ends), shape=(size, size))
    graph.setdiag(0)
    graph.eliminate_zeros()
    graph.data[:] = 1.0
    degree = np.asarray(graph.sum(axis=1)).ravel()
    related = degree > 0
    safe = np.maximum(degree, 1.0)
    current = random_signs(ids, settings.dim, settings.seed)
    total = _unit(current.copy()) * np.float32(settings.weights[0])
    current *= (safe ** settings.hub_exponent).astype(np.float32)[:, None]
    walk = sparse.diags_array((1.0 / safe).astype(np.float32)).tocsr() @ graph
    for weight in settings.weights[1:]:
        current = walk @ current
        lengths = np.sqrt(np.einsum("ij,ij->i", current, current))
        total += current * (np.float32(weight) / np.maximum(lengths, 1e-12))[:, None]
    total[~related] = 0.0
    return _unit(total).astype(np.float16)
