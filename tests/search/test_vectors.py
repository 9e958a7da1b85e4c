"""Exact search beside plain NumPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openmofi.search.store.vectors import Exact, as_floats, best


def _unit(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, derandomize=True)
@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.integers(0, 12)), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])
    ),
    st.integers(1, 15),
)
def test_best_is_a_stable_sort(scores, count):
    values, places = best(scores, count)
    for row, value, place in zip(scores, values, places, strict=True):
        order = np.argsort(-row, kind="stable")[:count]
        assert place.tolist() == order.tolist() + [-1] * (count - len(order))
        assert value.tolist() == row[order].tolist() + [-np.inf] * (count - len(order))


def test_exact_is_numpy(tmp_path):
    vectors, queries = _unit(500), _unit(7, seed=1)
    exact = Exact([vectors[:100].astype(np.float16), vectors[100:]])
    allowed = np.random.default_rng(0).random(500) < 0.2
    whole = np.concatenate([vectors[:100].astype(np.float16).astype(np.float32), vectors[100:]])
    scores = queries @ whole.T
    assert np.array_equal(exact.search(queries, 10)[1], np.argsort(-scores, axis=1, kind="stable")[:, :10])
    filtered = np.where(allowed, scores, -np.inf)
    assert np.array_equal(exact.search(queries, 10, allowed)[1], np.argsort(-filtered, axis=1, kind="stable")[:, :10])
    assert np.allclose(exact.rows(np.array([3, 99, 100, 499])), whole[[3, 99, 100, 499]])


def test_halves_become_the_same_floats():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)]
    assert as_floats(finite).tobytes() == finite.astype(np.float32).tobytes()
    assert as_floats(np.array([0.1], np.float64)).dtype == np.float32
