"""Nearest hashes and features beside brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.dataset import matching
from openmofi.dataset.matching import nearest_features
from openmofi.plugins import evaluation_copies
from openmofi.plugins.evaluation_copies import nearest_hashes


@st.composite
def two_lists(draw):
    bases = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))

    def near():
        value = draw(st.sampled_from(bases))
        for flip in draw(st.lists(st.integers(0, 63), max_size=5)):
            value ^= 1 << flip
        return value

    return [near() for _ in range(draw(st.integers(0, 12)))], [near() for _ in range(draw(st.integers(0, 12)))]


@given(two_lists(), st.integers(0, 12), st.sampled_from([1, 7, 1 << 22]))
def test_the_nearest_hash_is_that_of_brute_force(lists, bits, at_once):
    hashes, others = lists
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_copies, "_PAIRS_AT_ONCE", at_once)
        found, distance = nearest_hashes(np.array(hashes, np.uint64), np.array(others, np.uint64), bits)
    for value, position, away in zip(hashes, found.tolist(), distance.tolist(), strict=True):
        near = [
            ((value ^ other).bit_count(), place)
            for place, other in enumerate(others)
            if 8 <= value.bit_count() <= 56 and 8 <= other.bit_count() <= 56
        ]
        near = [each for each in near if each[0] <= bits]
        assert position == (min(near)[1] if near else -1)
        assert not near or away == min(near)[0]


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_the_nearest_feature_is_that_of_brute_force(rows, columns, seed):
    draw = np.random.default_rng(seed)
    features, others = draw.normal(size=(rows, 4)).astype(np.float16), draw.normal(size=(columns, 4))
    others = (others / np.linalg.norm(others, axis=1, keepdims=True)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "_ROWS", 5)
        patch.setattr(matching, "_COLUMNS", 7)
        position, cosine = nearest_features(features, others)
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    expected = features.astype(np.float64) / lengths @ others.T.astype(np.float64)
    np.testing.assert_allclose(cosine, expected.max(axis=1, initial=-1), atol=1e-5)
    np.testing.assert_allclose(expected[np.arange(rows), position], expected.max(axis=1, initial=-1), atol=1e-5)
