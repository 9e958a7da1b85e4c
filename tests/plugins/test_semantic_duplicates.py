"""Which images are semantic duplicates, against deciding one after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.dataset import filters
from openmofi.dataset.filters import LabelArrays
from openmofi.plugins import semantic_duplicates
from openmofi.plugins.semantic_duplicates import repeating

COSINE = 0.9


def labels_of(sets, probability=None):
    image = np.array([number for number, found in enumerate(sets) for _ in found], np.int64)
    entity = np.array([code for found in sets for code in sorted(found)], np.int32)
    score = np.array(probability if probability is not None else [0.9] * len(image), np.float32)
    hashes = np.zeros(len(sets), np.uint64)
    return LabelArrays.of(image, entity, score, hashes, hashes, 8, np.zeros(len(image), np.int64))


def on_circle(*degrees):
    """Unit vectors: two are alike up to 25.8 degrees apart."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float16)


def oracle(labels, named, vectors):
    """One image after the other, by its greatest probability, against all kept ones."""
    entities, best = {}, {}
    for row in np.flatnonzero(named).tolist():
        number = int(labels.image[row])
        entities.setdefault(number, set()).add(int(labels.entity[row]))
        best[number] = max(best.get(number, 0.0), float(labels.probability[row]))
    kept, dropped = [], set()
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    for number in sorted(entities, key=lambda each: (-best[each], each)):
        if any(entities[number] & entities[other] and unit[number] @ unit[other] >= COSINE for other in kept):
            dropped.add(number)
        else:
            kept.append(number)
    return dropped


@settings(max_examples=400, deadline=None)
@given(
    # 11 degrees are no multiple of the 25.8 that decide, so that rounding decides nothing.
    st.lists(
        st.tuples(st.sets(st.integers(0, 3), min_size=1, max_size=3), st.integers(0, 12)), min_size=1, max_size=40
    ),
    st.randoms(use_true_random=False),
    st.integers(1, 9),
)
def test_equals_deciding_one_image_after_the_other(drawn, random, rows):
    sets = [found for found, _ in drawn]
    labels = labels_of(sets, [random.choice([0.5, 0.7, 0.9]) for found in sets for _ in found])
    named = np.array([random.random() < 0.9 for _ in labels.image])
    vectors = on_circle(*[11 * place for _, place in drawn])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic_duplicates, "_ROWS", rows)
        patch.setattr(filters, "BLOCK", 3)
        found = repeating(labels, named, cosine=COSINE, features=vectors)
    assert set(np.flatnonzero(found).tolist()) == oracle(labels, named, vectors)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_whose_features_are_not_finite_is_like_none(monkeypatch, value):
    vectors = on_circle(*[0] * 20, *[90] * 20)
    vectors[[0, 30]] = value
    labels = labels_of([{1}] * 40)
    for whole in (semantic_duplicates.WHOLE, 10):  # all compared; in cells
        monkeypatch.setattr(semantic_duplicates, "WHOLE", whole)
        found = repeating(labels, np.ones(40, bool), cosine=COSINE, features=vectors)
        assert np.flatnonzero(~found).tolist() == [0, 1, 20, 30]


def test_the_more_probable_image_stays_and_of_equal_ones_the_first():
    vectors = on_circle(0, 5, 90, 95, 180)
    found = repeating(
        labels_of([{0}] * 5, [0.6, 0.9, 0.8, 0.8, 0.5]), np.ones(5, bool), cosine=COSINE, features=vectors
    )
    assert found.tolist() == [True, False, False, True, False]


def test_only_images_of_one_entity_are_alike():
    found = repeating(labels_of([{0}, {1}, {1}]), np.ones(3, bool), cosine=COSINE, features=on_circle(0, 0, 0))
    assert found.tolist() == [False, False, True]


def test_an_image_comes_back_when_another_entity_drops_its_twin():
    # As entity 0 image 1 keeps 2 out; as entity 1, decided later, image 0 keeps 1 out.
    labels = labels_of([{1}, {0, 1}, {0}], [0.9, 0.8, 0.8, 0.7])
    found = repeating(labels, np.ones(4, bool), cosine=COSINE, features=on_circle(0, 20, 40))
    assert found.tolist() == [False, True, False]


def test_an_entity_of_many_images_is_cut_into_cells(monkeypatch):
    monkeypatch.setattr(semantic_duplicates, "WHOLE", 100)
    monkeypatch.setattr(semantic_duplicates, "CELL", 50)
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(8, 32))
    own = centres[draw.integers(0, 8, 300)] + 0.5 * draw.normal(size=(300, 32))
    vectors = np.concatenate([own, own + 0.01 * draw.normal(size=own.shape)]).astype(np.float16)
    labels = labels_of([{0}] * 600)
    found = repeating(labels, np.ones(600, bool), cosine=0.99, features=vectors)
    assert not found[:300].any()
    assert found[300:].mean() > 0.95, "a copy lies in the cell of its original, or near its border"
    assert (found == repeating(labels, np.ones(600, bool), cosine=0.99, features=vectors)).all()


def test_equal_images_of_one_entity_leave_one(monkeypatch):
    monkeypatch.setattr(semantic_duplicates, "WHOLE", 100)
    monkeypatch.setattr(semantic_duplicates, "CELL", 50)
    vectors = np.repeat(on_circle(30), 500, axis=0)
    found = repeating(labels_of([{0}] * 500), np.ones(500, bool), cosine=COSINE, features=vectors)
    assert np.flatnonzero(~found).tolist() == [0]


def test_features_of_zeros_are_like_nothing():
    vectors = np.zeros((3, 4), np.float16)
    assert not repeating(labels_of([{0}] * 3), np.ones(3, bool), cosine=COSINE, features=vectors).any()
