"""Exact search beside plain NumPy."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openmofi.errors import OpenMofiError
from openmofi.search.store.connection import Segment
from openmofi.search.store.vectors import Exact, VectorFiles, as_floats, best


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


@pytest.mark.parametrize(
    ("shape", "kind", "more"),
    [
        ((5_000_000_000, 0), "<f2", 0),  # 129 bytes
        ((0, 65_537), "<f4", 0),
        ((2, 4), "<f8", 0),
        ((2, 4), "<i2", 0),
        ((2, 4), "<f2", 1),
        ((2, 4), "<f2", -1),
    ],
)
def test_a_segment_holds_what_its_header_says_or_is_damaged(tmp_path, shape, kind, more):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    (tmp_path / "vectors").mkdir()
    size = np.dtype(kind).itemsize * shape[0] * shape[1] + more
    (tmp_path / "vectors" / "a.npy").write_bytes(header.getvalue() + bytes(size))
    with pytest.raises(OpenMofiError, match="are damaged"):
        VectorFiles(tmp_path).read(Segment(1, "a.npy", shape[0], ""), shape[1])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("rows", [0, 3])
def test_a_segment_that_was_written_is_read(tmp_path, rows, dtype):
    vectors, files = _unit(rows).astype(dtype), VectorFiles(tmp_path)
    assert np.array_equal(files.read(Segment(1, *files.write(vectors, dtype)), 32), vectors)
