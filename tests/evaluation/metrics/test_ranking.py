import numpy as np
import pytest
from clusters import signs
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.evaluation.metrics.ranking import CosineIndex, checked_embeddings, nearest_rows, own_ranks, ranks_of


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(1, 60), st.integers(1, 8))
def test_ranks_and_nearest_are_those_of_a_stable_sort(seed, size, wanted, values):
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, values, (3, size)).astype(np.float32)
    places = np.sort(draw.choice(size, min(wanted, size), replace=False)).astype(np.int64)
    order = np.argsort(-scores, axis=1, kind="stable")
    rank = np.argsort(order, axis=1) + 1
    for row in range(3):
        np.testing.assert_array_equal(ranks_of(scores[row], places), rank[row][places])
    rows = draw.integers(0, size, 3)
    np.testing.assert_array_equal(own_ranks(scores, rows), rank[np.arange(3), rows])
    found, best = nearest_rows(scores, wanted)
    np.testing.assert_array_equal(found, order[:, :wanted])
    np.testing.assert_array_equal(best, np.take_along_axis(scores, order, 1)[:, :wanted])


def test_an_index_does_not_copy_its_vectors():
    vectors = checked_embeddings(signs(500))
    index = CosineIndex.of(vectors)
    assert index.vectors is vectors
    distinct, first = np.unique(vectors, axis=0, return_index=True)
    assert len(index.repeats) == 500 - len(distinct)
    assert set(index.originals) <= set(first)
    np.testing.assert_array_equal(vectors[index.repeats], vectors[index.originals])


@pytest.mark.slow
def test_a_database_of_many_vectors_needs_little_more_than_itself():
    import tracemalloc

    base = np.random.default_rng(0).standard_normal((200_000, 64)).astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    tracemalloc.start()
    for _, scores in CosineIndex.of(checked_embeddings(base)).blocks(base[:50]):
        places, _ = nearest_rows(scores, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert places[-1, 0] == 49
    assert peak < 2 * base.nbytes
