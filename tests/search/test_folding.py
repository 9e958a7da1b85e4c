"""Near-duplicates beside the plain definition, which compares each image with all that are shown before it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.search.rank import folding
from openmofi.search.rank.folding import folded_into, near_pairs


def _plainly(hashes):
    shown, into = [], []
    for place, each in enumerate(hashes):
        near = [other for other in shown if (hashes[other] ^ each).bit_count() <= 6]
        into.append(near[0] if near and 8 <= each.bit_count() <= 56 else place)
        if into[-1] == place:
            shown.append(place)
    return into


@st.composite
def _hashes(draw):
    """Chains of a few changed bits, from random and from plain hashes."""
    hashes = draw(st.lists(st.sampled_from([0, 1, 255, 2**64 - 1]) | st.integers(0, 2**64 - 1), min_size=1, max_size=6))
    for _ in range(draw(st.integers(0, 40))):
        changed = draw(st.sampled_from(hashes))
        for bit in draw(st.lists(st.integers(0, 63), max_size=7)):
            changed ^= 1 << bit
        hashes.append(changed)
    return draw(st.permutations(hashes))


@pytest.mark.parametrize(("few", "pairs"), [(1024, 1 << 22), (0, 3)])
@settings(max_examples=60, derandomize=True, deadline=None)
@given(hashes=_hashes())
def test_folding_is_the_plain_definition(few, pairs, hashes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "_FEW", few)
        patch.setattr(folding, "_PAIRS", pairs)
        assert folded_into(np.array(hashes, np.uint64)).tolist() == _plainly(hashes)


def test_all_near_pairs_of_many_are_found_once():
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, 3000, dtype=np.uint64)
    hashes[1000:2000] = hashes[:1000]
    for changed in range(1000):  # 0 to 7 bits, anywhere
        for bit in draw.choice(64, changed % 8, replace=False):
            hashes[1000 + changed] ^= np.uint64(1 << int(bit))
    left, right = near_pairs(hashes)
    expected = {
        (a, b) for a, b in zip(*np.nonzero(np.bitwise_count(hashes[:, None] ^ hashes) <= 6), strict=True) if a != b
    }
    assert len(expected) == 2 * 875
    assert set(zip(left, right, strict=True)) == expected
    assert len(left) == len(expected)
    assert (np.diff(left) >= 0).all()


def test_nothing_to_fold():
    assert folded_into(np.zeros(0, np.uint64)).tolist() == []
    assert folded_into(np.zeros(4, np.uint64)).tolist() == [0, 1, 2, 3]
