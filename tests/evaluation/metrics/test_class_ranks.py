import numpy as np
import pytest
from clusters import signs
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.evaluation.metrics.retrieval import class_ranks


def by_definition(vectors, labels):
    """Ranks of each query's class in a stable sort."""
    return [
        (1 + np.argsort(np.argsort(-(vectors @ query), kind="stable")))[labels == label]
        for query, label in zip(vectors, labels, strict=True)
    ]


def check(vectors, labels, block_bytes):
    seen = []
    for (query, members, ranks), expected in zip(
        class_ranks(vectors, labels, block_bytes), by_definition(vectors, labels), strict=True
    ):
        seen.append(query)
        assert members.tolist() == np.flatnonzero(labels == labels[query]).tolist()
        assert ranks.tolist() == expected.tolist()
    assert seen == list(range(len(vectors)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 24), min_size=1, max_size=20), st.integers(1, 60))
def test_with_many_ties_class_by_class(seed, sizes, rows):
    # Products of signs are exact, so that scores tie often, and the same in every order of additions.
    vectors = np.unique(signs(sum(sizes), seed), axis=0)
    vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    labels = np.repeat(np.arange(len(sizes)), sizes)[: len(vectors)]
    check(vectors, labels, 4 * len(vectors) * rows)


@pytest.mark.parametrize("change", ["shuffled", "repeated", "large"])
def test_what_symmetry_cannot_rank_goes_by_rows(change):
    vectors, labels = np.unique(signs(120, 3), axis=0), np.arange(120) // 6
    labels = labels[: len(vectors)]
    if change == "shuffled":
        labels = np.random.default_rng(0).permutation(labels)
    elif change == "repeated":
        vectors[50:80] = vectors[10]
    else:
        labels = np.minimum(labels, 3)
    check(vectors, labels, 4 * len(vectors) * 11)
