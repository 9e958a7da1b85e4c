"""Rankings in parts against a stable sort, and both precisions against the authors' procedures, written down anew."""

import numpy as np
import pytest
from clusters import normalise, signs
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from openmofi.plugins.benchmarks.nearest import (
    Nearest,
    average_precision_at,
    tied_average_precision_at,
    without_own,
)


def landmarks(predictions, solution, depth):
    """One query of GLDv2's MeanAveragePrecision: a list of identifiers against those that are right."""
    total, right, seen = 0.0, 0, set()
    for place, image in enumerate(predictions[:depth], 1):
        if image not in seen and image in solution:
            right += 1
            total += right / place
        seen.add(image)
    return total / min(len(solution), depth)


def ilias(ids, scores, truth, depth):
    """One query of ILIAS: scikit-learn over the first, scaled by how many positives are among them."""
    order = np.argsort(-scores, kind="stable")[:depth]
    hits = np.isin(ids[order], list(truth))
    if not hits.any():
        return 0.0
    return average_precision_score(hits, scores[order]) * hits.sum() / min(depth, len(truth))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_parts_and_precisions(data):
    seed = data.draw(st.integers(0, 10_000))
    draw = np.random.default_rng(seed)
    count, depth = int(draw.integers(2, 60)), int(draw.integers(1, 25))
    # Half of the time products of signs, which are exact and tie.
    base, queries = (
        (signs(count, seed), signs(3, seed + 1))
        if draw.random() < 0.5
        else (normalise(draw.standard_normal((count, 16))), normalise(draw.standard_normal((3, 16))))
    )
    nearest = Nearest(queries, depth)
    for part in np.split(base, np.sort(draw.choice(np.arange(1, count), min(3, count - 1), replace=False))):
        nearest.add(part, block_bytes=4 * 2 * len(part))
    scores = queries.astype(np.float64) @ base.T.astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    assert nearest.count == count
    assert nearest.rows.tolist() == order.tolist()
    np.testing.assert_allclose(nearest.scores, np.take_along_axis(scores, order, 1), atol=1e-6)
    for query in range(3):
        truth = set(draw.choice(count, int(draw.integers(1, count + 1)), replace=False).tolist())
        hits = np.isin(nearest.rows[query], list(truth))
        assert average_precision_at(hits, len(truth), depth) == pytest.approx(
            landmarks(order[query].tolist(), truth, depth)
        )
        exact = np.round(nearest.scores[query].astype(np.float64), 6)
        assert tied_average_precision_at(hits, exact, len(truth), depth) == pytest.approx(
            ilias(np.arange(count), np.round(scores[query], 6), truth, depth)
        )


def test_precision_by_hand():
    # Right at 1, 3 and 4, of five that there are.
    hits, scores = [True, False, True, True], [0.9, 0.8, 0.8, 0.1]
    assert average_precision_at(hits, 5, 100) == pytest.approx((1 + 2 / 3 + 3 / 4) / 5)
    assert average_precision_at(hits, 5, 3) == pytest.approx((1 + 2 / 3) / 3)
    # The two of .8 are one group, which ends at 3.
    assert tied_average_precision_at([True, True, False, True], scores, 5, 100) == pytest.approx(
        (1 + 2 / 3 + 3 / 4) / 5
    )
    assert average_precision_at([], 2, 100) == tied_average_precision_at([], [], 2, 100) == 0


def test_the_own_row_is_taken_out_wherever_it_ranks():
    # Rows 0 to 2 are the same: row 2 ranks third for itself, and row 4 is not among the first three.
    base = normalise(np.array([[1, 0], [1, 0], [1, 0], [1, 1], [-1, 0]]))
    nearest = Nearest(base[[2, 0, 3]], 3)
    nearest.add(base)
    rows, scores = without_own(nearest, np.array([2, 4, 3]))
    assert rows.tolist() == [[0, 1], [0, 1], [0, 1]]
    assert scores[0].tolist() == [1, 1]
