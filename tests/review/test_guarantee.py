"""What verdicts guarantee, against known truths; SciPy's own tests are the oracles of single P values."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from openmofi.errors import OpenMofiError, UsageError
from openmofi.labeling.correction import Recalibration
from openmofi.review.guarantee import (
    GRID,
    first_count,
    fisher,
    grades,
    guaranteed,
    level_of,
    next_plan,
    p_value,
    plan_steps,
    tallies,
)
from openmofi.review.verdicts import KIND, Plan, Step, Stratum, Tally, Verdict, Verdicts

TARGET = CONFIDENCE = 0.9


def file_of(plan, probability, said, sample=None):
    verdicts = tuple(
        Verdict("a", str(number), "e", word, float(value), 0)
        for number, (value, word) in enumerate(zip(probability, said, strict=True))
    )
    strata = (Stratum("all", True, 10**6),)
    drawn = len(verdicts) if sample is None else sample
    return Verdicts(KIND, 1, "", "", "", "", ("probability",), 0, drawn, strata, verdicts, "v.json", plan)


def plan_of(*steps, least=None):
    chosen = tuple(steps)
    return Plan(TARGET, CONFIDENCE, chosen, chosen[-1].threshold if least is None else least, 5, 0.0)


def world(shift, slope, beta, size, generator):
    """Probabilities, and a truth that differs from them by a shift and a slope of log odds."""
    probability = generator.beta(*beta, size).astype(np.float32).astype(np.float64)
    odds = logit(np.clip(probability, 1e-6, 1 - 1e-6))
    return probability, generator.random(size) < expit(shift + slope * odds)


def looked_at(probability, right, count, looks, generator):
    """The guarantee after so many looks, each drawn as `label audit` draws."""
    steps = plan_steps(*grades(probability), TARGET, CONFIDENCE, count)
    plan, left = plan_of(*steps), np.ones(len(probability), bool)
    for look in range(looks):
        rows = np.flatnonzero(left & (probability >= plan.least))
        rows = generator.permutation(rows)[:count]
        said = file_of(plan, probability[rows], np.where(right[rows], "y", "n"))
        answer = guaranteed(said, TARGET, CONFIDENCE)
        left[rows] = False
        if look == looks - 1 or not len(rows):
            break
        claim = Recalibration.of(said.probability, said.right)(probability)
        try:
            plan, _ = next_plan(replace(plan, steps=tallies(said)), answer, *grades(probability, claim), count)
        except OpenMofiError:
            break
    return answer


WORLDS = {
    "calibrated": (0, 1, (0.4, 0.3), 8000),
    "claims far too much": (-1.5, 1, (0.4, 0.3), 8000),
    "claims far too much, everywhere": (-3, 1, (4, 1), 4000),
    "claims too little": (2, 1, (2, 2), 4000),
    "too sure": (-0.5, 0.4, (4, 1), 4000),
    "knows nothing, at the target": (float(logit(0.897)), 0, (4, 1), 4000),
    "upside down": (2.5, -1, (4, 1), 4000),
    "few": (-0.3, 1, (3, 1), 150),
}


@pytest.mark.parametrize("looks", [1, 3])
@pytest.mark.parametrize("name", WORLDS)
def test_the_target_is_met_as_often_as_promised(name, looks):
    draws, generator = 200 // looks, np.random.default_rng(0)
    probability, right = world(*WORLDS[name], generator)
    met = []
    for _ in range(draws):
        accepted = probability >= looked_at(probability, right, 60, looks, generator).threshold
        met.append(not accepted.any() or right[accepted].mean() >= TARGET)
    assert sum(met) >= stats.binom.ppf(0.001, draws, CONFIDENCE)


def test_a_hundred_verdicts_find_most_of_what_an_oracle_finds():
    generator = np.random.default_rng(0)
    probability, right = world(0, 1, (0.4, 0.3), 20_000, generator)
    order = np.argsort(-probability)
    reached = np.flatnonzero(np.cumsum(right[order]) >= TARGET * np.arange(1, len(order) + 1))
    oracle = right[order][: reached[-1] + 1].sum()
    recalls = [
        right[probability >= looked_at(probability, right, 100, 1, generator).threshold].sum() / oracle
        for _ in range(50)
    ]
    assert np.mean(recalls) > 0.65


@pytest.mark.parametrize(("judged", "right"), [(1, 1), (22, 22), (60, 57), (100, 95), (100, 94)])
def test_a_p_value_is_the_binomial_tests_where_labels_are_many(judged, right):
    exact = stats.binomtest(right, judged, TARGET, alternative="greater").pvalue
    assert p_value(10**7, 9 * 10**6, judged, right) == pytest.approx(exact, rel=1e-3)


@settings(max_examples=40, derandomize=True)
@given(st.integers(1, 12), st.data())
def test_a_p_value_is_what_counting_all_draws_gives(labels, data):
    wanted = data.draw(st.integers(1, labels))
    judged = data.draw(st.integers(1, labels))
    right = data.draw(st.integers(0, judged))
    # The worst truth that misses: one right label too few.
    table = [[right, judged - right], [wanted - 1 - right, labels - judged - (wanted - 1 - right)]]
    value = float(p_value(labels, wanted, judged, right))
    if min(min(row) for row in table) < 0:
        assert value in (pytest.approx(0), pytest.approx(1))
    else:
        assert value == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)


def test_looks_are_combined_as_fisher_did():
    values = np.array([[0.2, 0.5, np.nan], [0.03, 0.9, 0.4], [0.4, np.nan, np.nan]])
    expected = [
        stats.combine_pvalues([0.2, 0.03, 0.4]).pvalue,
        stats.combine_pvalues([0.5, 0.9]).pvalue,
        0.4,
    ]
    assert fisher(values) == pytest.approx(expected)
    assert fisher([[np.nan]]) == [1]
    assert sum(level_of(look, CONFIDENCE) for look in range(60)) == pytest.approx(1 - CONFIDENCE)


def test_a_sequence_ends_at_the_first_threshold_that_fails():
    plan = plan_of(Step(0.9, 3000), Step(0.8, 4000), Step(0.7, 5000))
    probability = np.repeat([0.95, 0.85, 0.75], [40, 20, 60])
    said = np.repeat(["y", "n", "y"], [40, 20, 60])
    answer = guaranteed(file_of(plan, probability, said), TARGET, CONFIDENCE)
    assert answer.threshold == 0.9
    assert [step.passed for step in answer.steps] == [True, False, False]
    assert [(step.judged, step.right) for step in answer.steps] == [(40, 40), (60, 40), (120, 100)]
    assert answer.more is None
    first, second = answer.sentences()
    assert first.startswith("At least 0.9 right with confidence 0.9 from probability 0.900 on: 40 of 40 verdicts")
    assert second.endswith("more verdicts, all yes, would decide between 0.800 and 0.900.")


def test_unsure_counts_as_wrong():
    plan = plan_of(Step(0.8, 4000))
    sure = file_of(plan, np.full(60, 0.9), np.repeat(["y", "n"], [59, 1]))
    unsure = file_of(plan, np.full(60, 0.9), np.repeat(["y", "u"], [50, 10]))
    assert guaranteed(sure, TARGET, CONFIDENCE).threshold == 0.8
    answer = guaranteed(unsure, TARGET, CONFIDENCE)
    assert answer.threshold == 1
    assert "Nothing is accepted: 50 of 60 verdicts" in answer.sentences()[0]


def test_five_verdicts_say_how_many_more_it_takes():
    plan = plan_of(Step(0.8, 4000))
    five = file_of(plan, np.full(5, 0.9), ["y"] * 5)
    answer = guaranteed(five, TARGET, CONFIDENCE)
    assert answer.threshold == 1
    assert answer.more == answer.all_right
    # And so many, all right, do decide it.
    after = plan_of(*tallies(five))
    enough = file_of(after, np.full(answer.more, 0.9), ["y"] * answer.more)
    assert guaranteed(enough, TARGET, CONFIDENCE).threshold == 0.8
    fewer = file_of(after, np.full(answer.more - 1, 0.9), ["y"] * (answer.more - 1))
    assert guaranteed(fewer, TARGET, CONFIDENCE).threshold == 1


@pytest.mark.parametrize(("right", "threshold"), [(45, 0.8), (44, 1.0)])
def test_a_census_is_exact(right, threshold):
    said = np.repeat(["y", "n"], [right, 50 - right])
    answer = guaranteed(file_of(plan_of(Step(0.8, 50)), np.full(50, 0.9), said), TARGET, CONFIDENCE)
    assert answer.threshold == threshold
    if threshold == 1:
        assert answer.all_right is None
        assert "would not decide" in answer.sentences()[1]


def test_what_passed_once_stays_so():
    passed = Step(0.9, 3000, (Tally(40, 40),))
    failed = Step(0.8, 4000, (Tally(60, 53),))
    later = file_of(plan_of(passed, failed), np.repeat([0.95, 0.85], [10, 30]), np.repeat(["n", "y"], [10, 30]))
    assert guaranteed(later, TARGET, CONFIDENCE).threshold == 0.9


def test_the_plan_goes_down_and_its_lowest_step_is_drawn_from():
    generator = np.random.default_rng(0)
    probability, _ = world(0, 1, (0.4, 0.3), 8000, generator)
    steps = plan_steps(*grades(probability), TARGET, CONFIDENCE, 100)
    thresholds = [step.threshold for step in steps]
    assert thresholds == sorted(thresholds, reverse=True)
    assert set(thresholds) <= set(GRID.tolist())
    for step in steps:
        assert step.labels == (probability >= step.threshold).sum()
    assert 50 <= first_count(TARGET, CONFIDENCE) <= 250 < first_count(0.97, 0.95)


def test_a_draw_for_something_else_or_half_of_one_is_refused():
    plan = plan_of(Step(0.8, 4000))
    with pytest.raises(UsageError, match=r"v\.json were not drawn for a guarantee"):
        guaranteed(file_of(None, [0.9], ["y"]), TARGET, CONFIDENCE)
    with pytest.raises(OpenMofiError, match="has 3 verdicts of the 60 labels that were drawn"):
        guaranteed(file_of(plan, [0.9] * 3, ["y"] * 3, sample=60), TARGET, CONFIDENCE)
    with pytest.raises(OpenMofiError, match="no candidate"):
        plan_steps(*grades(np.array([0.05])), TARGET, CONFIDENCE, 100)


def test_a_further_look_goes_on_where_the_last_one_ended():
    probability = np.linspace(0.3, 0.999, 4000)
    counted = grades(probability)

    def after(words, count=None):
        plan = plan_of(Step(0.9, 572), Step(0.8, 1144))
        said = file_of(plan, np.repeat([0.95, 0.85], [40, 60]), words)
        answer, plan = guaranteed(said, TARGET, CONFIDENCE), replace(plan, steps=tallies(said))
        return answer, plan.steps, *next_plan(plan, answer, *counted, count)

    # Undecided: the same steps again, and the labels of the one that failed.
    answer, before, plan, count = after(np.repeat(["y", "n"], [92, 8]))
    assert (answer.threshold, plan.least, len(plan.steps)) == (0.9, 0.8, 2)
    assert count == answer.more > 0
    # All passed: lower ones.
    answer, before, plan, count = after(["y"] * 100)
    assert answer.threshold == 0.8
    assert plan.steps[:2] == before
    assert plan.least == plan.steps[-1].threshold < 0.8
    assert plan.steps[2].earlier == (Tally(),)
    # None passed, and as many right would not do: a new sequence.
    answer, before, plan, count = after(np.repeat(["n", "y"], [30, 70]), 50)
    assert answer.threshold == 1
    assert count == 50
    assert all(step.earlier == (Tally(),) for step in plan.steps)
