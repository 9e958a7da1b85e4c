import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.labeling.calibrate.naming import entity_offsets


def drawn(counts, spread, seed=0):
    draw = np.random.default_rng(seed)
    entity = np.repeat(np.arange(len(counts)), counts)
    offset = spread * draw.standard_normal(len(counts))
    return draw.standard_normal(len(entity)) + offset[entity], entity, offset


def test_offsets_are_the_best_linear_prediction():
    evidence, entity, offset = drawn([5] * 4000, 1.5)
    found = entity_offsets(evidence, entity)
    # The best factor on a mean of five with variances 1 and 2.25.
    means = np.bincount(entity, evidence - evidence.mean()) / 5
    factor = found.value @ means / (means @ means)
    assert factor == pytest.approx(2.25 / (2.25 + 1 / 5), abs=0.01)
    errors = [np.mean((guess - offset) ** 2) for guess in (found.value, means, 0 * means)]
    assert errors[0] == min(errors)


def test_entities_that_do_not_differ_have_none():
    evidence, entity, _ = drawn([20] * 300, 0.0)
    assert np.abs(entity_offsets(evidence, entity).value).max() < 0.1


def test_the_fewer_images_the_nearer_to_all():
    evidence, entity, offset = drawn([2] * 500 + [50] * 500, 1.5)
    value = entity_offsets(evidence, entity).value
    slopes = [np.polyfit(offset[part], value[part], 1)[0] for part in (slice(500), slice(500, None))]
    assert slopes[0] < slopes[1] - 0.05


def test_an_unknown_entity_has_none():
    evidence, entity, _ = drawn([10] * 20, 1.0)
    assert entity_offsets(evidence, entity).of(np.array([-1, 20, 500])).tolist() == [0.0, 0.0, 0.0]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(-50, 50, width=32)), max_size=40))
def test_offsets_of_anything_are_finite_and_no_larger_than_means(rows):
    entity, evidence = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float32)
    found = entity_offsets(evidence, entity)
    assert np.isfinite(found.value).all()
    for number, value in zip(found.entity, found.value, strict=True):
        mean = (evidence[entity == number].astype(float) - evidence.astype(float).mean()).mean()
        assert abs(value) <= abs(mean) + 1e-9
