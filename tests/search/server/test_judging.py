"""Which labels to judge next, and what verdicts say of precision."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served_world import labelled_index

from openmofi.search import Verdict
from openmofi.search.server.judging import Stratum, allocation, precision, to_judge


def judge(index, image, entity, value, who="ann"):
    record = index.image(image)
    return index.add_verdict(Verdict(record.shard, record.key, entity, value, who=who))


def wilson(right, judged, z=1.959963984540054):
    """Wilson (1927), as written in every textbook."""
    share, square = right / judged, z * z / judged
    middle, half = share + square / 2, z * math.sqrt(share * (1 - share) / judged + square / (4 * judged))
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def test_without_verdicts_it_says_what_is_expected_and_no_more(index):
    shown = precision(index)
    assert (shown.labels, shown.judged, shown.precision, shown.lower, shown.upper) == (24, 0, None, 0.0, 1.0)
    assert shown.expected == pytest.approx(np.mean([0.995, 0.97, 0.92, 0.85]))
    assert [(each.low, each.labels) for each in shown.strata] == [(0.8, 6), (0.9, 6), (0.95, 6), (0.99, 6)]
    assert precision(index, "c:red").labels == 4
    assert precision(index, accepted=None).labels == 60
    assert precision(index, "c:nothing").labels == 0


def test_strata_have_wilson_s_intervals_and_the_whole_is_their_weighted_mean(index):
    for number, entry in enumerate(to_judge(index, order="sure", limit=18)):
        judge(index, entry.image.id, entry.entity.id, "n" if number % 6 == 0 else "y")
    shown = precision(index)
    assert (shown.judged, shown.right) == (18, 15)
    for stratum in shown.strata[1:]:
        assert (stratum.lower, stratum.upper) == pytest.approx(wilson(5, 6))
    assert shown.precision == pytest.approx(0.75 * 5 / 6 + 0.25 * 0.85)
    assert shown.lower < shown.precision < shown.upper
    low, high = wilson(5, 6)
    assert shown.lower == pytest.approx(shown.precision - math.hypot(*[(5 / 6 - low) / 4] * 3, 0.85 / 4))
    assert shown.upper == pytest.approx(min(1, shown.precision + math.hypot(*[(high - 5 / 6) / 4] * 3, 0.15 / 4)))


def test_the_last_word_counts_who_cannot_say_counts_as_nobody(index):
    entry = to_judge(index, "c:red", order="doubt", accepted=True, limit=1)[0]
    first = judge(index, entry.image.id, "c:red", "y")
    second = judge(index, entry.image.id, "c:red", "n", "bob")
    assert (precision(index, "c:red").judged, precision(index, "c:red").right) == (1, 0)
    index.undo_verdict(second.id)
    assert precision(index, "c:red").right == 1
    judge(index, entry.image.id, "c:red", "u")
    assert precision(index, "c:red").judged == 0
    assert entry.image.id not in {each.image.id for each in to_judge(index, "c:red")}
    index.undo_verdict(first.id)
    index.undo_verdict(3)
    assert entry.image.id in {each.image.id for each in to_judge(index, "c:red")}


def test_what_was_judged_is_not_proposed_again_until_nothing_is_left(index):
    seen = []
    while batch := to_judge(index, who="ann", limit=7):
        seen += [(each.image.id, each.entity.id) for each in batch]
        for each in batch:
            judge(index, each.image.id, each.entity.id, "y")
    assert len(seen) == len(set(seen)) == 24
    assert (precision(index).judged, precision(index).precision) == (24, 1.0)


def test_orders(index):
    sure = [each.probability for each in to_judge(index, order="sure", accepted=None, limit=100)]
    assert sure == sorted(sure, reverse=True)
    doubt = [abs(each.probability - 0.5) for each in to_judge(index, order="doubt", accepted=None, limit=100)]
    assert doubt == sorted(doubt)
    assert {each.accepted for each in to_judge(index, accepted=False)} == {False}
    assert to_judge(index, who="ann") == to_judge(index, who="ann") != to_judge(index, who="bob")


def _variance(strata, counts):
    total = 0.0
    for each, count in zip(strata, counts, strict=True):
        share = (each.right + 2 * each.expected) / (each.judged + 2)
        if each.labels:
            total += each.labels**2 * max(share * (1 - share), 1e-4) / (each.judged + count)
    return total


@settings(max_examples=50, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(6, 500), st.floats(0, 1), st.integers(1, 4)), min_size=1, max_size=3),
    st.integers(1, 6),
)
def test_the_allocation_has_the_least_variance_of_all(parts, count):
    """Against every other way to share out so many labels."""
    strata = [Stratum(0, 1, labels, expected, judged, 0) for labels, expected, judged in parts]
    counts = allocation(strata, count)
    rooms = [each.labels - each.judged for each in strata]
    others = [
        each
        for each in itertools.product(*(range(min(count, room) + 1) for room in rooms))
        if sum(each) == min(count, sum(rooms))
    ]
    assert _variance(strata, counts) == pytest.approx(min(_variance(strata, each) for each in others), rel=1e-9)


def test_each_stratum_is_looked_at_once_before_any_twice():
    strata = [Stratum(0, 1, 10_000, 0.5), Stratum(0, 1, 3, 0.99), Stratum(0, 1, 0, 0.0)]
    assert allocation(strata, 2) == [1, 1, 0]
    assert allocation(strata, 1_000)[1] <= 3
    assert sum(allocation(strata, 10**4)) == 10**4


def test_drawn_labels_estimate_the_truth_and_the_interval_holds_it(tmp_path):
    """Of 96 labels, those of images whose number is divisible by seven are wrong; reviewers judge a third.

    Of 400 draws like these, by the hash and by NumPy's generator alike, 93 and 95 % of the intervals hold the truth.
    """
    index = labelled_index(tmp_path, each=20)
    truth = np.mean(
        [image % 7 != 0 for (image,) in index.connection.execute("SELECT image FROM labels WHERE accepted")]
    )
    held, estimates = 0, []
    for reviewer in range(40):
        rows = [
            (each.image.shard, each.image.key, each.entity.id, "n" if each.image.id % 7 == 0 else "y")
            for each in to_judge(index, who=f"reviewer {reviewer}", limit=32)
        ]
        index.connection.execute("BEGIN")
        index.connection.executemany(
            "INSERT INTO verdicts (shard, key, entity, verdict, instead, who, made) VALUES (?, ?, ?, ?, '', '', '')",
            rows,
        )
        shown = precision(index)
        index.connection.execute("ROLLBACK")
        held += shown.lower <= truth <= shown.upper
        estimates.append(shown.precision)
    assert held >= 35
    assert abs(np.mean(estimates) - truth) < 3 * np.std(estimates) / math.sqrt(40)
