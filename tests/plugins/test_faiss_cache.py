"""FAISS beside exact NumPy: recall, filters, what was added since, a damaged cache."""

import numpy as np
import pytest

from openmofi.plugins import faiss_cache
from openmofi.plugins.faiss_cache import QuerySet, least_effort, nearest
from openmofi.search.store.connection import Effort, Segment
from openmofi.search.store.vectors import Exact, VectorFiles

NO_TEXTS = np.zeros((0, 32), np.float32)


def _clustered(count, dim=32, seed=0):
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(40, dim))
    vectors = centres[draw.integers(0, 40, count)] + draw.normal(0, 0.5, (count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def segments(tmp_path, monkeypatch):
    """Three segments of 2,000 vectors, FAISS from 1,000 on, and fewer queries that measure it."""
    for name, value in {"FROM": 1_000, "QUERIES": 200, "_FILTERED_QUERIES": 40, "_LEAST": 20}.items():
        monkeypatch.setattr(faiss_cache, name, value)
    made = []
    for number in range(3):
        made.append(Segment(number + 1, *VectorFiles(tmp_path).write(_clustered(2_000, seed=number), "float16")))
    return made


def _exact(folder, segments):
    return Exact([VectorFiles(folder).read(segment, 32) for segment in segments])


@pytest.mark.parametrize("factory", ["IVF64,SQ8", "IVF64,PQ16x4fs", "IVF64,RaBitQfs"])
def test_faiss_beside_exact(tmp_path, segments, monkeypatch, factory):
    pytest.importorskip("faiss")
    monkeypatch.setattr(faiss_cache, "factory_for", lambda count, dim: factory)
    faiss_cache.refresh(tmp_path, segments[:2], _exact(tmp_path, segments[:2]), NO_TEXTS)
    # Two of three segments are in the cache; the last one was added since.
    exact = _exact(tmp_path, segments)
    index = faiss_cache.vector_index(tmp_path, segments, exact)
    assert (index.name, index.covered, len(index)) == (factory, 4_000, 6_000)
    queries, draw = _clustered(50, seed=9), np.random.default_rng(0)
    side = exact.rows(np.arange(6_000)) @ draw.normal(size=32).astype(np.float32)  # half of the queries lie elsewhere
    filters = {share: draw.random(6_000) < share for share in (0.6, 0.3, 0.01)}
    for share, allowed in {
        "all": None,
        **filters,
        "half": side > np.median(side),
        "end": side > np.quantile(side, 0.9),
    }.items():
        scores, positions = index.search(queries, 10, allowed)
        expected = exact.search(queries, 10, allowed)
        recall = np.mean(
            [len(set(a) & set(b)) / 10 for a, b in zip(positions.tolist(), expected[1].tolist(), strict=True)]
        )
        assert recall >= 0.97, share  # the effort is for .98; of 50 queries .006 is a standard error
        assert np.allclose(
            scores, np.einsum("qd,qkd->qk", queries, exact.rows(positions.ravel()).reshape(50, 10, 32)), atol=1e-5
        )
        assert allowed is None or allowed[positions].all()


def test_the_cache_grows_and_a_damaged_one_is_not_used(tmp_path, segments):
    pytest.importorskip("faiss")
    for count in (1, 3):
        faiss_cache.refresh(tmp_path, segments[:count], _exact(tmp_path, segments[:count]), NO_TEXTS)
    (path,) = (tmp_path / "cache").glob("faiss-*.index")
    index = faiss_cache.vector_index(tmp_path, segments, _exact(tmp_path, segments))
    assert index.covered == 6_000
    path.write_bytes(path.read_bytes()[:1000])
    assert faiss_cache.vector_index(tmp_path, segments, _exact(tmp_path, segments)).name == "exact"


def test_the_effort_is_the_least_that_reaches_the_goal():
    vectors = Exact([_clustered(300)])
    whole, own = vectors.rows(np.arange(300)), np.arange(60, 180)
    texts, allowed = _clustered(80, seed=9), np.arange(300) >= 50
    asked = []

    def search(given, count, value):  # finds itself and as many of the others as it looks at; a text one less
        assert count == 11
        asked.append(value)
        near = np.argsort(-np.where(allowed, given @ whole.T, -np.inf), axis=1)[:, :11]
        return np.where(np.arange(11) < (value - 1 if len(given) == 80 else value + 1), near, -1)

    kinds = {
        "images": QuerySet(whole[own], own),
        "texts": QuerySet(texts, np.full(80, -1)),
        "none": QuerySet(texts[:0], own[:0]),
    }
    assert least_effort(search, vectors, allowed, kinds, (8, 10, 11, 12)) == Effort(11, 1.0, 200, 300)
    assert asked == [8, 8, 10, 10, 11, 11]
    assert least_effort(search, vectors, allowed, kinds, (8, 9)) == Effort(9, 0.8, 200, 300)
    one = {"images": kinds["images"]}
    assert least_effort(search, vectors, allowed, one, (8, 9, 10, 11)) == Effort(10, 1.0, 120, 300)


def test_what_is_nearest_but_oneself():
    vectors, draw = _clustered(40_000, dim=4), np.random.default_rng(0)  # more than a block
    own, allowed = draw.permutation(40_000)[:20], draw.random(40_000) < 0.5
    scores = np.where(allowed, vectors[own] @ vectors.T, -np.inf)
    scores[np.arange(20), own] = -np.inf
    found = nearest(Exact([vectors]), QuerySet(vectors[own], own), allowed)
    assert np.allclose(np.take_along_axis(scores, found, axis=1), -np.sort(-scores, axis=1)[:, :10], atol=1e-6)
    assert nearest(Exact([vectors[:5]]), QuerySet(vectors[:2], np.arange(2)), np.ones(5, bool)).shape == (2, 4)


def test_what_queries_find_is_measured_on_others(tmp_path, segments):
    pytest.importorskip("faiss")
    far = np.random.default_rng(3).normal(size=(300, 32)).astype(np.float32)  # as texts: not where the images lie
    far /= np.linalg.norm(far, axis=1, keepdims=True)
    faiss_cache.refresh(tmp_path, segments[:2], _exact(tmp_path, segments[:2]), far[:200])
    held = faiss_cache.vector_index(tmp_path, segments[:2], _exact(tmp_path, segments[:2]))
    assert (held.effort.queries, held.effort.vectors) == (200 + 200, 4_000)
    assert [each.queries for each in held.filtered] == [40 + 40] * 3
    faiss_cache.refresh(tmp_path, segments, _exact(tmp_path, segments), far[:200])
    index = faiss_cache.vector_index(tmp_path, segments, _exact(tmp_path, segments))
    assert index.effort.vectors == 6_000  # made again, since it has grown by half
    whole = index.exact.rows(np.arange(6_000))
    recalls = []
    for queries in (_clustered(300, seed=9), far[200:]):
        truth = np.argsort(-(queries @ whole.T), axis=1)[:, :10]
        recalls.append((truth[:, :, None] == index.search(queries, 10)[1][:, None]).any(axis=2).mean())
    assert min(recalls) >= 0.98 - 0.015
    assert min(recalls) == pytest.approx(index.effort.recall, abs=0.02)


def test_what_suits_how_many():
    assert [faiss_cache.factory_for(count, 256) for count in (0, 49_999, 50_000, 1_000_000, 9_000_000)] == [
        "",
        "",
        "IVF200,PQ128x4fs",
        "IVF4000,PQ128x4fs",
        "IVF12000,PQ128x4fs",
    ]
    assert {faiss_cache.factory_for(1_000_000, dim) for dim in (128, 201)} == {"IVF4000,SQ8"}
