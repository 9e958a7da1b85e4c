import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.dataset import filters
from openmofi.dataset.filters import LabelArrays, text_salt
from openmofi.plugins.evaluation_copies import informative


def near_duplicates(image, entity, phash, salt, bits):
    """Of all labels, in parts of three."""
    zeros = np.zeros(len(image), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "BLOCK", 3)
        labels = LabelArrays.of(image, entity, zeros, phash, salt, 8, zeros)
        return filters.near_duplicates(labels, np.ones(len(image), bool), bits)


def oracle(image, entity, phash, salt, bits):
    """One image after the other, against all kept ones."""
    entities = {}
    for number, code in zip(image, entity, strict=True):
        entities.setdefault(int(number), set()).add(int(code))
    kept, dropped = [], set()
    for number in sorted(entities):
        for other in kept:
            distance = int(phash[number] ^ phash[other]).bit_count()
            near = (
                distance <= bits
                if salt[number] == salt[other] == 0
                else (distance == 0 and salt[number] == salt[other])
            )
            if phash[number] and phash[other] and near and entities[number] & entities[other]:
                dropped.add(number)
                break
        else:
            kept.append(number)
    return dropped


@st.composite
def labelled_images(draw):
    count = draw(st.integers(1, 25))
    bases = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    phash, salt, image, entity = [], [], [], []
    for number in range(count):
        value = draw(st.sampled_from(bases))
        for flip in draw(st.lists(st.integers(0, 63), max_size=5)):
            value ^= 1 << flip
        phash.append(value)
        salt.append(draw(st.sampled_from([0, 0, 0, 7, 9])))
        for code in draw(st.sets(st.integers(0, 3), max_size=3)):
            image.append(number)
            entity.append(code)
    return (
        np.array(image, np.int64),
        np.array(entity, np.int64),
        np.array(phash, np.uint64),
        np.array(salt, np.uint64),
    )


@settings(max_examples=300, deadline=None)
@given(labelled_images(), st.integers(0, 6))
def test_equals_deciding_one_image_after_the_other(drawn, bits):
    found = near_duplicates(*drawn, bits)
    assert set(np.flatnonzero(found).tolist()) == oracle(*drawn, bits)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_a_hash_says_something_by_pythons_count_of_its_bits(values):
    assert informative(np.array(values, np.uint64)).tolist() == [8 <= value.bit_count() <= 56 for value in values]


@pytest.mark.parametrize("bits", range(13))
def test_every_pair_within_the_distance_is_found(bits):
    generator = np.random.default_rng(bits)
    base = int(generator.integers(1 << 62, 1 << 63)) | 0x5555
    twin = base
    for flip in generator.permutation(64)[:bits]:
        twin ^= 1 << int(flip)
    phash = np.array([base, twin], np.uint64)
    none = np.zeros(2, np.uint64)
    assert near_duplicates(np.array([0, 1]), np.array([5, 5]), phash, none, bits).tolist() == [False, True]
    assert not near_duplicates(np.array([0, 1]), np.array([5, 6]), phash, none, bits).any()


@pytest.mark.parametrize("low", [0, 20, 40])
def test_hashes_that_vary_in_one_place_alone_fall_apart_in_every_band(low):
    values = np.arange(1 << 18, dtype=np.uint64) << np.uint64(low)
    for shift, mask in filters.bands(3):
        assert np.unique((values >> shift) & mask, return_counts=True)[1].max() <= 1 << 14


@given(st.integers(0, 20), st.integers(0, 2**64 - 1))
def test_bands_hold_every_bit_once(bits, value):
    parts = [(value >> int(shift) & int(mask)) << int(shift) for shift, mask in filters.bands(bits)]
    assert len(parts) == bits + 1
    assert sum(parts) == value


@pytest.mark.parametrize("entities", [1, 1000])
def test_an_image_a_hundred_thousand_times_is_compared_with_none(monkeypatch, entities):
    """Equal images are one node an entity: what is compared does not grow with them."""
    compared, count, edges = [], 200_000, filters._edges
    monkeypatch.setattr(
        filters, "_edges", lambda entity, phash, bits: compared.append(len(phash)) or edges(entity, phash, bits)
    )
    image, entity = np.arange(count), np.arange(count) % entities
    phash, zeros = np.full(count, 0x0F0F0F0F0F0F0F0F, np.uint64), np.zeros(count, np.int64)
    labels = LabelArrays.of(image, entity, zeros, phash, zeros.astype(np.uint64), entities, zeros.copy())
    dropped = filters.near_duplicates(labels, np.ones(count, bool), 3)
    assert np.flatnonzero(~dropped).tolist() == list(range(entities))
    assert sum(compared) == entities


def test_an_empty_image_is_a_duplicate_only_with_the_same_text():
    flat = np.array([1 << 63] * 3, np.uint64)
    salt = text_salt(flat, pa.array(["a wall", "a wall", "the sky"]))
    assert (salt != 0).all()
    assert near_duplicates(np.arange(3), np.zeros(3, int), flat, salt, 3).tolist() == [False, True, False]


def test_no_hash_is_nobodys_duplicate():
    phash = np.zeros(3, np.uint64)
    salt = text_salt(phash, pa.array(["x"] * 3))
    assert not near_duplicates(np.arange(3), np.zeros(3, int), phash, salt, 3).any()
