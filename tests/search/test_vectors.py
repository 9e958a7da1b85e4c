"""Vector indexes beside exact NumPy: recall, filters, what was added since, a damaged cache."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openmofi.search.rank import faiss_cache
from openmofi.search.rank.vectors import Exact, best
from openmofi.search.store.segments import Segment, write_segment


def _clustered(count, dim=32, seed=0):
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(40, dim))
    vectors = centres[draw.integers(0, 40, count)] + draw.normal(0, 0.5, (count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, derandomize=True)
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(0, 12)),
                  elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])), st.integers(1, 15))
def test_best_is_a_stable_sort(scores, count):
    values, places = best(scores, count)
    for row, value, place in zip(scores, values, places, strict=True):
        order = np.argsort(-row, kind="stable")[:count]
        assert place.tolist() == order.tolist() + [-1] * (count - len(order))
        assert value.tolist() == row[order].tolist() + [-np.inf] * (count - len(order))


def test_exact_is_numpy(tmp_path):
    vectors, queries = _clustered(500), _clustered(7, seed=1)
    exact = Exact([vectors[:100].astype(np.float16), vectors[100:]])
    allowed = np.random.default_rng(0).random(500) < 0.2
    whole = np.concatenate([vectors[:100].astype(np.float16).astype(np.float32), vectors[100:]])
    scores = queries @ whole.T
    assert np.array_equal(exact.search(queries, 10)[1], np.argsort(-scores, axis=1, kind="stable")[:, :10])
    filtered = np.where(allowed, scores, -np.inf)
    assert np.array_equal(exact.search(queries, 10, allowed)[1],
                          np.argsort(-filtered, axis=1, kind="stable")[:, :10])
    assert np.allclose(exact.rows(np.array([3, 99, 100, 499])), whole[[3, 99, 100, 499]])


@pytest.fixture
def segments(tmp_path, monkeypatch):
    """Three segments of 4,000 vectors, and FAISS from 2,000 on."""
    monkeypatch.setattr(faiss_cache, "FROM", 2_000)
    made = []
    for number in range(3):
        made.append(Segment(number + 1, *write_segment(tmp_path, _clustered(4_000, seed=number), "float16")))
    return made


def _exact(folder, segments):
    return Exact([segment.open(folder, 32) for segment in segments])


@pytest.mark.parametrize("factory", ["HNSW16,SQ8", "IVF64,RaBitQfs"])
def test_faiss_beside_exact(tmp_path, segments, monkeypatch, factory):
    pytest.importorskip("faiss")
    monkeypatch.setattr(faiss_cache, "factory_for", lambda count: factory)
    faiss_cache.refresh(tmp_path, segments[:2], _exact(tmp_path, segments[:2]))
    # Two of three segments are in the cache; the last one was added since.
    exact = _exact(tmp_path, segments)
    index = faiss_cache.vector_index(tmp_path, segments, exact)
    assert (index.name, index.covered, len(index)) == (factory, 8_000, 12_000)
    queries, draw = _clustered(50, seed=9), np.random.default_rng(0)
    for share in (None, 0.6, 0.3, 0.01):
        allowed = None if share is None else draw.random(12_000) < share
        scores, positions = index.search(queries, 10, allowed)
        expected = exact.search(queries, 10, allowed)
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(positions.tolist(), expected[1].tolist(),
                                                                   strict=True)])
        assert recall >= 0.98, share
        assert np.allclose(scores, np.einsum("qd,qkd->qk", queries, exact.rows(positions.ravel()).reshape(50, 10, 32)),
                           atol=1e-5)
        assert allowed is None or allowed[positions].all()


def test_the_cache_grows_and_a_damaged_one_is_not_used(tmp_path, segments):
    pytest.importorskip("faiss")
    for count in (1, 3):
        faiss_cache.refresh(tmp_path, segments[:count], _exact(tmp_path, segments[:count]))
    (path,) = (tmp_path / "cache").glob("faiss-*")
    index = faiss_cache.vector_index(tmp_path, segments, _exact(tmp_path, segments))
    assert index.covered == 12_000
    path.write_bytes(path.read_bytes()[:1000])
    assert faiss_cache.vector_index(tmp_path, segments, _exact(tmp_path, segments)).name == "exact"


def test_what_suits_how_many():
    assert [faiss_cache.factory_for(count) for count in (0, 49_999, 50_000, 4_000_000, 9_000_000)] == [
        "", "", "HNSW16,SQ8", "HNSW16,SQ8", "IVF12000,RaBitQfs"]
