"""Coherence vectors against the formula as it stands, all at once and in float64."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from openmofi.knowledge.projection import ProjectionSettings, project, random_bits


def graph(size: int, edges: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Degrees and neighbours of a random graph with hubs, and some entities without a relation."""
    draw = np.random.default_rng(seed)
    ends = np.minimum((draw.pareto(1.0, (edges, 2)) * size / 20).astype(np.int64), size - 1 - size // 10)
    dense = np.zeros((size, size), bool)
    dense[ends[:, 0], ends[:, 1]] = dense[ends[:, 1], ends[:, 0]] = True
    np.fill_diagonal(dense, False)
    return dense.sum(1).astype(np.int32), np.nonzero(dense)[1].astype(np.int32)


def formula(bits: np.ndarray, degree: np.ndarray, tails: np.ndarray, settings: ProjectionSettings) -> np.ndarray:
    """Σ w_k · U_k / |U_k| with U_k = (D⁻¹A)^k · D^β · R, of length 1."""
    size = len(degree)
    links = sparse.csr_array((np.ones(len(tails)), tails, np.concatenate([[0], np.cumsum(degree)])), (size, size))
    safe = np.maximum(degree, 1).astype(np.float64)
    current = (np.unpackbits(bits, axis=1) * 2.0 - 1) * (safe**settings.hub_exponent)[:, None]
    total = np.zeros_like(current)
    for hop, weight in enumerate(settings.weights):
        current = (links @ current) / safe[:, None] if hop else current
        total += weight * current / np.maximum(np.linalg.norm(current, axis=1, keepdims=True), 1e-12)
    total[degree == 0] = 0
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        ProjectionSettings(),
        ProjectionSettings(dim=24, seed=3),
        ProjectionSettings(dim=1024),
        ProjectionSettings(dim=8, weights=(1.0, 0.5)),
        ProjectionSettings(dim=40, hub_exponent=0.0, weights=(0.0, 1.0)),
    ],
)
def test_vectors_are_those_of_the_formula_whatever_is_done_at_a_time(tmp_path: Path, settings: ProjectionSettings):
    degree, tails = graph(400, 1500, 1)
    bits = random_bits([f"Q{number}" for number in range(400)], settings)
    narrow, wide = (np.concatenate([*project(bits, degree, tails, settings, tmp_path, width)]) for width in (8, 16))
    assert (narrow.dtype, narrow.shape) == (np.float16, (400, settings.dim))
    assert narrow.tobytes() == wide.tobytes()
    expected = formula(bits, degree, tails, settings)
    assert np.abs(narrow.astype(np.float64) - expected).max() <= 2**-11 * np.abs(expected).max() + 1e-6
    assert not narrow[degree == 0].any()
    assert (degree == 0).sum() >= 40


def test_random_bits_are_decided_by_identifier_and_seed_alone():
    settings = ProjectionSettings(dim=1024)
    bits = random_bits(["Q1", "Q2", "wn:1-n"], settings)
    assert np.array_equal(random_bits(["wn:1-n", "Q2"], settings), bits[[2, 1]])
    assert not np.array_equal(random_bits(["Q1"], ProjectionSettings(dim=1024, seed=1)), bits[:1])
    assert abs(np.unpackbits(random_bits([f"Q{number}" for number in range(300)], settings)).mean() - 0.5) < 0.01
    short = random_bits(["Q1"], ProjectionSettings())
    import hashlib

    assert short.tobytes() == hashlib.blake2b(b"0:0:Q1", digest_size=16).digest()
