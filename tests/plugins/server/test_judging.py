"""Which labels to judge next, and what verdicts say of precision."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from served_world import labelled_index

from openmofi.review.precision import corrected_precision
from openmofi.search import Verdict
from openmofi.search.verdicts import precision, to_judge


def judge(index, image, entity, value, who="ann"):
    record = index.image(image)
    return index.add_verdict(Verdict(record.shard, record.key, entity, value, who=who))


def test_without_verdicts_it_says_what_is_expected_and_no_more(index):
    shown = precision(index.connection)
    assert (shown.labels, shown.judged, shown.precision, shown.lower, shown.upper) == (24, 0, None, 0.0, 1.0)
    assert shown.expected == pytest.approx(np.mean([0.995, 0.97, 0.92, 0.85]))
    assert [(each.low, each.labels) for each in shown.strata] == [(0.8, 6), (0.9, 6), (0.95, 6), (0.99, 6)]
    assert precision(index.connection, "c:red").labels == 4
    assert precision(index.connection, accepted=None).labels == 60
    assert precision(index.connection, "c:nothing").labels == 0


def test_few_verdicts_have_the_exact_interval_and_the_whole_is_weighted_by_labels(index):
    for number, entry in enumerate(to_judge(index.connection, order="sure", limit=18)):
        judge(index, entry.image.id, entry.entity.id, "n" if number % 6 == 0 else "y")
    shown = precision(index.connection)
    assert (shown.judged, shown.right) == (18, 15)
    exact = stats.binomtest(5, 6).proportion_ci(0.95, method="exact")
    assert (shown.strata[2].precision, shown.strata[0].precision) == (pytest.approx(5 / 6), None)
    assert (shown.strata[0].lower, shown.strata[0].upper) == (0, 1)
    # The stratum without a verdict is joined to its neighbour, so that each verdict there stands for two labels.
    weights, right = np.repeat([2.0, 1.0, 1.0], 6), np.tile(np.arange(6) > 0, 3)
    mean, interval = corrected_precision(shown.expected, np.full(18, 0.9), right, weights, np.repeat([0, 1, 2], 6))
    assert (shown.precision, shown.lower, shown.upper) == pytest.approx((mean, *interval))
    assert shown.precision == pytest.approx(5 / 6)
    # All six of a stratum were looked at: a census has no doubt, six of twelve have.
    assert shown.strata[2].lower == shown.strata[2].upper == pytest.approx(5 / 6)
    assert exact.low < shown.lower < shown.upper < exact.high


def test_the_last_word_counts_who_cannot_say_counts_as_nobody(index):
    entry = to_judge(index.connection, "c:red", order="doubt", accepted=True, limit=1)[0]
    first = judge(index, entry.image.id, "c:red", "y")
    second = judge(index, entry.image.id, "c:red", "n", "bob")
    assert (precision(index.connection, "c:red").judged, precision(index.connection, "c:red").right) == (1, 0)
    index.undo_verdict(second.id)
    assert precision(index.connection, "c:red").right == 1
    judge(index, entry.image.id, "c:red", "u")
    assert precision(index.connection, "c:red").judged == 0
    assert entry.image.id not in {each.image.id for each in to_judge(index.connection, "c:red")}
    index.undo_verdict(first.id)
    index.undo_verdict(3)
    assert entry.image.id in {each.image.id for each in to_judge(index.connection, "c:red")}


def test_agents_verdicts_are_told_apart_and_leave_people_their_labels(index):
    entries = to_judge(index.connection, who="ann", limit=24)
    draw = np.random.default_rng(0)
    for each in entries[:10]:
        judge(index, each.image.id, each.entity.id, "y" if draw.random() < 0.8 else "n")
    before = precision(index.connection)
    assert (before.judged, before.agents) == (10, 0)
    for each in entries[5:15]:  # also of labels that a person judged before, or will judge later
        judge(index, each.image.id, each.entity.id, "n", "agent:tester")
    assert precision(index.connection) == replace(before, agents=10)
    assert len(to_judge(index.connection, who="ann", limit=24)) == 14
    judge(index, entries[12].image.id, entries[12].entity.id, "y")
    shown = precision(index.connection)
    assert (shown.judged, shown.right, shown.agents) == (11, before.right + 1, 10)
    judge(index, entries[20].image.id, entries[20].entity.id, "y", "Agent: Smith")  # a person's name
    assert (precision(index.connection).judged, precision(index.connection).agents) == (12, 10)


def test_what_was_judged_is_not_proposed_again_until_nothing_is_left(index):
    seen = []
    while batch := to_judge(index.connection, who="ann", limit=7):
        seen += [(each.image.id, each.entity.id) for each in batch]
        for each in batch:
            judge(index, each.image.id, each.entity.id, "y")
    assert len(seen) == len(set(seen)) == 24
    assert (precision(index.connection).judged, precision(index.connection).precision) == (24, 1.0)


def test_orders(index):
    sure = [each.probability for each in to_judge(index.connection, order="sure", accepted=None, limit=100)]
    assert sure == sorted(sure, reverse=True)
    doubt = [
        abs(each.probability - 0.5) for each in to_judge(index.connection, order="doubt", accepted=None, limit=100)
    ]
    assert doubt == sorted(doubt)
    assert {each.accepted for each in to_judge(index.connection, accepted=False)} == {False}
    assert (
        to_judge(index.connection, who="ann")
        == to_judge(index.connection, who="ann")
        != to_judge(index.connection, who="bob")
    )


def test_drawn_labels_estimate_the_truth_and_the_interval_holds_it(tmp_path):
    """Of 96 labels, those of images whose number is divisible by seven are wrong; reviewers judge a third.

    What is drawn does not depend on the verdicts, so that the estimate is not too high.
    """
    index = labelled_index(tmp_path, each=20)
    truth = np.mean(
        [image % 7 != 0 for (image,) in index.connection.execute("SELECT image FROM labels WHERE accepted")]
    )
    held, estimates = 0, []
    for reviewer in range(40):
        rows = [
            (each.image.shard, each.image.key, each.entity.id, "n" if each.image.id % 7 == 0 else "y")
            for each in to_judge(index.connection, who=f"reviewer {reviewer}", limit=32)
        ]
        index.connection.execute("BEGIN")
        index.connection.executemany(
            "INSERT INTO verdicts (shard, key, entity, verdict, instead, who, made) VALUES (?, ?, ?, ?, '', '', '')",
            rows,
        )
        shown = precision(index.connection)
        index.connection.execute("ROLLBACK")
        held += shown.lower <= truth <= shown.upper
        estimates.append(shown.precision)
    assert held >= 35
    assert abs(np.mean(estimates) - truth) < 3 * np.std(estimates) / math.sqrt(40)
