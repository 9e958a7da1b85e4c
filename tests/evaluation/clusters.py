"""Embeddings with known classes, and the definitions written down naively."""

import numpy as np


def normalise(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def clusters(sizes: list[int], dim: int = 24, spread: float = 1.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, dim) normalised float32 and (n,) labels in a shuffled order."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    draw.shuffle(labels)
    centres = draw.standard_normal((len(sizes), dim))
    return normalise(centres[labels] + spread * draw.standard_normal((len(labels), dim))), labels


def signs(count: int, seed: int = 0) -> np.ndarray:
    """(count, 16) rows of ±1/4: norms and products are exact in float32, in whatever order, and tie all the time."""
    return np.random.default_rng(seed).choice([-0.25, 0.25], (count, 16)).astype(np.float32)


def naive_precisions(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP of each query with the query in the index (GPR1200's official formula) and without it; one argsort each."""
    incl, excl = [], []
    for query in range(len(labels)):
        scores = embeddings.astype(np.float64) @ embeddings[query].astype(np.float64)
        order = np.argsort(-scores, kind="stable")
        with_it = np.flatnonzero(labels[order] == labels[query]) + 1
        without = np.flatnonzero(labels[order[order != query]] == labels[query]) + 1
        incl.append(sum(i / rank for i, rank in enumerate(with_it, 1)) / len(with_it))
        excl.append(sum(i / rank for i, rank in enumerate(without, 1)) / len(without) if len(without) else np.nan)
    return np.array(incl), np.array(excl)
