import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.labeling.judge.offsets import entity_offsets


def drawn(counts, spread, seed=0):
    draw = np.random.default_rng(seed)
    entity = np.repeat(np.arange(len(counts)), counts)
    offset = spread * draw.standard_normal(len(counts))
    return draw.standard_normal(len(entity)) + offset[entity], entity, offset


def test_offsets_are_the_best_linear_prediction():
    decoys, entity, offset = drawn([5] * 4000, 1.5)
    found = entity_offsets(decoys, entity)
    # The best factor on a mean of five with variances 1 and 2.25.
    means = np.bincount(entity, decoys - decoys.mean()) / 5
    factor = found.value @ means / (means @ means)
    assert factor == pytest.approx(2.25 / (2.25 + 1 / 5), abs=0.01)
    errors = [np.mean((guess - offset) ** 2) for guess in (found.value, means, 0 * means)]
    assert errors[0] == min(errors)


def test_entities_that_do_not_differ_have_none():
    decoys, entity, _ = drawn([20] * 300, 0.0)
    assert np.abs(entity_offsets(decoys, entity).value).max() < 0.1


def test_the_fewer_decoys_the_nearer_to_all():
    decoys, entity, offset = drawn([2] * 500 + [50] * 500, 1.5)
    value = entity_offsets(decoys, entity).value
    slopes = [np.polyfit(offset[part], value[part], 1)[0] for part in (slice(500), slice(500, None))]
    assert slopes[0] < slopes[1] - 0.05


def test_a_decoy_is_as_far_from_its_entity_as_an_image_that_was_not_counted():
    decoys, entity, offset = drawn([4] * 5000, 1.5)
    found = entity_offsets(decoys, entity)
    fresh = np.random.default_rng(1).standard_normal(len(offset)) + offset - found.of(np.arange(len(offset)))
    left_out = (decoys - found.of_decoy).std()
    assert left_out >= fresh.std() - 0.02
    assert left_out == pytest.approx(fresh.std(), rel=0.05)
    # Counted in its own mean, it would be nearer.
    assert (decoys - found.of(entity)).std() < fresh.std() - 0.1


def test_an_unknown_entity_has_none():
    decoys, entity, _ = drawn([10] * 20, 1.0)
    assert entity_offsets(decoys, entity).of(np.array([-1, 20, 500])).tolist() == [0.0, 0.0, 0.0]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(-50, 50, width=32)), max_size=40))
def test_offsets_of_anything_are_finite_and_no_larger_than_means(rows):
    entity, decoys = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float32)
    found = entity_offsets(decoys, entity)
    assert np.isfinite(found.value).all()
    assert np.isfinite(found.of_decoy).all()
    for number, value in zip(found.entity, found.value, strict=True):
        mean = (decoys[entity == number].astype(float) - decoys.astype(float).mean()).mean()
        assert abs(value) <= abs(mean) + 1e-9
