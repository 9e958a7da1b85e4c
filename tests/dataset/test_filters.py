from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.dataset import DatasetSettings, filters
from openmofi.dataset.filters import LabelArrays, Outcome, keep
from openmofi.errors import UsageError


def labels_of(sets, phash=None, probability=None):
    image = np.array([number for number, found in enumerate(sets) for _ in found], np.int64)
    entity = np.array([code for found in sets for code in sorted(found)], np.int32)
    score = np.array(probability if probability is not None else [0.9] * len(image), np.float32)
    hashes = np.array(phash if phash is not None else [0] * len(sets), np.uint64)
    salt = np.zeros(len(sets), np.uint64)
    return LabelArrays.of(image, entity, score, hashes, salt, 8, np.zeros(len(image), np.int64))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 7), min_size=1, max_size=3), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(0, 6),
    st.randoms(use_true_random=False),
)
def test_minimum_and_cap_equal_the_plain_way(sets, minimum, extra, random):
    cap = minimum + extra if extra else None
    labels = labels_of(sets, probability=[random.choice([0.5, 0.7, 0.9]) for found in sets for _ in found])
    kept = keep(labels, DatasetSettings(minimum, cap, "probability", None))
    by_entity = defaultdict(list)
    for number, code, score in zip(labels.image, labels.entity, labels.probability, strict=True):
        by_entity[int(code)].append((-float(score), int(number)))
    wanted = {
        (image, code) for code, found in by_entity.items() if len(found) >= minimum for _, image in sorted(found)[:cap]
    }
    chosen = set(zip(labels.image[kept.label].tolist(), labels.entity[kept.label].tolist(), strict=True))
    assert chosen == wanted
    assert {n for n, _ in wanted} == set(np.flatnonzero(kept.outcome == Outcome.KEPT).tolist())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 7), min_size=1, max_size=3), st.sampled_from([3**30, 5**20, 7**15])),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_the_result_is_a_fixed_point_and_every_image_is_accounted_for(drawn, minimum):
    labels = labels_of([found for found, _ in drawn], phash=[value for _, value in drawn])
    kept = keep(labels, DatasetSettings(minimum, near_duplicates=0))
    counts = Counter(labels.entity[kept.label].tolist())
    assert all(count >= minimum for count in counts.values())
    assert sum((kept.outcome == outcome).sum() for outcome in Outcome) == labels.images
    assert set(labels.image[kept.label].tolist()) == set(np.flatnonzero(kept.outcome == Outcome.KEPT).tolist())


def test_an_image_comes_back_when_its_twin_was_one_only_through_an_entity_that_left():
    # Image 1 repeats image 0 as entity 0, which then has too few images; image 1 also shows entity 1.
    labels = labels_of([{0}, {0, 1}, {1}, {1}], phash=[3**30, 3**30, 5**20, 7**15])
    kept = keep(labels, DatasetSettings(2, near_duplicates=0))
    assert kept.outcome.tolist() == [Outcome.BELOW_MINIMUM, Outcome.KEPT, Outcome.KEPT, Outcome.KEPT]
    assert kept.rounds == 2


def test_the_cap_keeps_the_most_probable_and_then_the_first():
    labels = labels_of([{0}, {0}, {0}, {0}], probability=[0.6, 0.9, 0.6, 0.6])
    kept = keep(labels, DatasetSettings(1, 2, "probability", None))
    assert np.flatnonzero(kept.label).tolist() == [0, 1]
    assert kept.outcome.tolist() == [Outcome.KEPT, Outcome.KEPT, Outcome.BEYOND_CAP, Outcome.BEYOND_CAP]


def test_a_random_cap_keeps_as_many_of_each_and_looks_at_no_probability():
    labels = labels_of([{0, 1}] * 3000 + [{1}] * 40 + [{2}] * 60, probability=[0.9, 0.9] * 3000 + [0.6] * 100)
    kept = keep(labels, DatasetSettings(5, 100, near_duplicates=None))
    assert np.bincount(labels.entity[kept.label]).tolist() == [100, 100, 60]
    chosen = labels.image[kept.label & (labels.entity == 0)]
    assert abs(chosen.mean() - 1500) < 3 * 3000 / np.sqrt(12 * 100)
    assert set(chosen) != set(labels.image[kept.label & (labels.entity == 1)])
    other = keep(labels, DatasetSettings(5, 101, near_duplicates=None)).label
    assert (kept.label & ~other).sum() == 0, "a larger cap only adds"


def test_metaclips_cap_keeps_rare_entities_and_all_labels_of_an_image():
    sets = [{0}] * 4000 + [{0, 1}] * 50 + [{1}] * 50
    labels = labels_of(sets)
    kept = keep(labels, DatasetSettings(5, 100, "metaclip", None))
    counts = np.bincount(labels.entity[kept.label])
    assert counts[1] == 100
    assert abs(counts[0] - 50 - 4000 * 100 / 4050) < 4 * np.sqrt(100)
    of_image = np.bincount(labels.image[kept.label], minlength=len(sets))
    assert set(of_image[4000:4050].tolist()) == {2}


@pytest.mark.parametrize("by", ["random", "probability", "metaclip"])
def test_the_cap_does_not_depend_on_how_labels_are_cut(by, monkeypatch):
    draw = np.random.default_rng(1)
    labels = labels_of([set(draw.integers(0, 8, 2).tolist()) for _ in range(400)])
    whole = keep(labels, DatasetSettings(2, 30, by, None)).label
    monkeypatch.setattr(filters, "BLOCK", 7)
    assert (keep(labels, DatasetSettings(2, 30, by, None)).label == whole).all()


@pytest.mark.parametrize(
    "wrong", [{"min_images": 0}, {"max_images": 4}, {"near_duplicates": 13}, {"near_duplicates": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        DatasetSettings(**wrong)
