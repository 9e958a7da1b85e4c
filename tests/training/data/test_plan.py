"""The order of rows: a pure function of seed and step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.training.data.plan import (
    ClassPlan,
    InstancePlan,
    RepeatPlan,
    members_of_classes,
    repeat_factors,
)

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=9).filter(any)


def starts_of(sizes):
    return np.r_[0, np.cumsum(sizes)].astype(np.int64)


@settings(max_examples=150, deadline=None)
@given(SIZES, st.integers(1, 12), st.integers(1, 33), st.integers(0, 3))
def test_every_row_comes_once_an_epoch_however_steps_are_cut(sizes, window, batch, seed):
    total = sum(sizes)
    plan = InstancePlan(starts_of(sizes), batch, window, seed)
    steps = -(-3 * total // batch)
    order = np.concatenate([plan.rows(step) for step in range(steps)])[: 3 * total]
    for epoch in order.reshape(3, total):
        assert sorted(epoch.tolist()) == list(range(total))
    # Another object, asked in another order and in other pieces, says the same.
    other = InstancePlan(starts_of(sizes), 1, window, seed)
    assert [int(other.rows(place)[0]) for place in reversed(range(len(order)))] == order[::-1].tolist()


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(1, 4))
def test_no_more_shards_than_a_window_are_mixed(sizes, window):
    starts = starts_of(sizes)
    order = InstancePlan(starts, sum(sizes), window, 0).rows(0)
    shards = np.searchsorted(starts, order, side="right") - 1
    first = {s: int(np.flatnonzero(shards == s)[0]) for s in set(shards.tolist())}
    last = {s: int(np.flatnonzero(shards == s)[-1]) for s in first}
    open_at_once = max(sum(first[s] <= place <= last[s] for s in first) for place in range(len(order)))
    assert open_at_once <= window


def test_epochs_and_seeds_differ():
    starts = starts_of([30, 30, 30])
    plan, other = InstancePlan(starts, 90, 2, 0), InstancePlan(starts, 90, 2, 1)
    assert not np.array_equal(plan.rows(0), plan.rows(1))
    assert not np.array_equal(plan.rows(0), other.rows(0))


@pytest.mark.parametrize(
    ("power", "expected"), [(0.0, [0.25, 0.25, 0, 0.25, 0.25]), (0.5, np.sqrt([1, 4, 0, 9, 100]) / 16)]
)
def test_classes_are_drawn_with_their_share_and_rows_evenly(power, expected):
    counts = [1, 4, 0, 9, 100]
    classes = np.repeat(np.arange(5), counts)
    shuffled = np.random.default_rng(0).permutation(len(classes))
    offsets, members = members_of_classes(shuffled, classes[shuffled] * 0 + classes, 5)
    of_row = dict(zip(shuffled.tolist(), classes.tolist(), strict=True))
    plan = ClassPlan(offsets, members, 2000, power, seed=4)
    rows = np.concatenate([plan.rows(step) for step in range(20)])
    drawn = np.bincount([of_row[row] for row in rows.tolist()], minlength=5) / len(rows)
    np.testing.assert_allclose(drawn, expected, atol=0.01)
    within = np.bincount(
        [np.flatnonzero(members[offsets[3] : offsets[4]] == row)[0] for row in rows.tolist() if of_row[row] == 3],
        minlength=9,
    )
    np.testing.assert_allclose(within / within.sum(), 1 / 9, atol=0.02)
    assert np.array_equal(plan.rows(7), ClassPlan(offsets, members, 2000, power, seed=4).rows(7))


def test_repeat_factors_are_those_of_the_paper_and_an_image_has_the_greatest_of_its_classes():
    counts = np.array([400, 40, 4, 0])
    factors = repeat_factors(counts, 400, 0.4)
    assert factors.tolist() == [1.0, 2.0, pytest.approx(40**0.5), 1.0]
    # Rows 0 … 3 have classes {0}, {0, 1}, {0, 2}; row 2 is not trained on.
    plan = RepeatPlan.of([(np.array([0, 1, 1, 3, 3]), np.array([0, 0, 1, 2, 0]))], counts, 3, 0.4 * 3 / 400, 20_000, 5)
    expected = repeat_factors(counts, 3, 0.4 * 3 / 400)[[0, 1, 2]]
    drawn = np.bincount(plan.rows(7), minlength=4)
    assert drawn[2] == 0
    np.testing.assert_allclose(drawn[[0, 1, 3]] / 20_000, expected / expected.sum(), atol=0.02)
    assert np.array_equal(plan.rows(7), plan.rows(7))
    assert not np.array_equal(plan.rows(7), plan.rows(8))
