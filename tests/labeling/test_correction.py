from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from openmofi.errors import OpenMofiError, UsageError
from openmofi.labeling.calibrate.calibration import threshold_for_precision
from openmofi.labeling.correction import Correction, Recalibration, correction_by
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.review.verdicts import KIND, Plan, Step, Stratum, Verdict, Verdicts, probability_basis


def threshold_by_verdicts(probability, judged, right, target):
    return Recalibration.of(judged, right).threshold_for(probability, target)


def world(generator, shift, slope, size=20_000):
    probability = generator.beta(2, 1, size)
    return probability, generator.random(size) < expit(shift + slope * logit(probability))


@pytest.mark.parametrize(("shift", "slope"), [(0, 1), (-1, 1), (-1, 0.6), (1, 1)])
@pytest.mark.parametrize("target", [0.9, 0.95])
def test_two_hundred_verdicts_reach_the_target(shift, slope, target):
    generator = np.random.default_rng(0)
    reached, uncorrected = [], []
    for _ in range(40):
        probability, right = world(generator, shift, slope)
        rows = generator.choice(np.flatnonzero(probability > 0.5), 200, replace=False)
        threshold = threshold_by_verdicts(probability, probability[rows], right[rows], target)
        if (probability >= threshold).any():
            reached.append(right[probability >= threshold].mean())
        uncorrected.append(right[probability >= threshold_for_precision(probability, target)].mean())
    assert len(reached) >= 35
    assert np.mean(reached) == pytest.approx(target, abs=0.02)
    assert abs(np.mean(reached) - target) <= abs(np.mean(uncorrected) - target) + 0.01


def test_few_verdicts_hardly_move_the_calibration():
    probability = world(np.random.default_rng(0), 0, 1)[0]
    kept = threshold_for_precision(probability, 0.9)
    two = threshold_by_verdicts(probability, np.array([0.9, 0.8]), np.array([True, True]), 0.9)
    assert kept - 0.1 < two <= kept


def test_the_order_of_labels_stays():
    judged, right = np.repeat([0.6, 0.9], 50), np.repeat([False, True], 50)
    points = np.linspace(0, 1, 50)
    assert (np.diff(Recalibration.of(judged, right)(points)) > 0).all()
    assert (np.diff(Recalibration.of(judged, ~right)(points)) > 0).all()


def verdicts_on(parts, plan=None):
    """Verdicts of strata: (accepted, labels, probability, verdicts)."""
    said = tuple(
        Verdict("a", f"{number}-{place}", "e", word, probability, number)
        for number, (_, _, probability, words) in enumerate(parts)
        for place, word in enumerate(words)
    )
    strata = tuple(Stratum(str(number), part[0], part[1]) for number, part in enumerate(parts))
    return Verdicts(KIND, 1, "", "", "", "", (), 0, len(said), strata, said, "v.json", plan)


def correction_of(verdicts):
    return Correction(verdicts, Recalibration.of(verdicts.probability, verdicts.right))


def test_eleven_verdicts_below_do_not_decide_what_holds_above():
    """As on photographs: half of the labels right, and a few lucky verdicts that stand for 1,392 candidates."""
    parts = [(False, 1392, 0.15, "y" * 6 + "n" * 5), (True, 60, 0.85, "y" * 24 + "n" * 16)]
    verdicts = verdicts_on(parts)
    probability = np.repeat([0.15, 0.85], [1392, 60])
    correction = correction_of(verdicts)
    assert correction.threshold_for(probability, 0.8) == 1
    assert not correction.why


def test_nothing_is_accepted_where_verdicts_and_their_recalibration_disagree():
    # Right at .7 and wrong at .99: no shift and slope is like that.
    parts = [(True, 100, 0.7, "y" * 60), (True, 3000, 0.999, "n" * 20 + "y" * 20)]
    correction = correction_of(verdicts_on(parts))
    probability = np.repeat([0.7, 0.999], [100, 3000])
    assert correction.recalibration.threshold_for(probability, 0.75) < 1
    assert correction.threshold_for(probability, 0.75) == 1
    assert "Nothing is accepted: from probability" in correction.why
    assert "verdicts there show" in correction.why


def test_no_threshold_reaches_a_target_where_all_is_wrong():
    probability = np.linspace(0.5, 0.99, 500)
    assert threshold_by_verdicts(probability, probability, np.zeros(500, bool), 0.95) == 1.0
    assert threshold_by_verdicts(np.empty(0), probability, np.zeros(500, bool), 0.95) == 1.0


def planned(words, top_k=5):
    plan = Plan(0.9, 0.9, (Step(0.8, 4000),), 0.8, top_k, 0.0)
    return replace(verdicts_on([(True, 4000, 0.9, words)], plan), basis=probability_basis({}, {}))


def test_a_guarantee_chooses_the_threshold():
    selection = SelectionSettings(target_precision=0.9, confidence=0.9)
    inputs = {}
    correction = correction_by(planned("y" * 58 + "nu"), selection, {}, inputs)
    assert correction.threshold_for(np.linspace(0, 1, 50), 0.9) == 0.8
    assert inputs["/verdicts"]
    assert "58 of 60 verdicts there are yes, and unsure ones count as no" in correction.why
    nothing = correction_by(planned("y" * 50 + "n" * 10), selection, {}, {})
    assert nothing.threshold_for(np.linspace(0, 1, 50), 0.9) == 1
    assert "openmofi label audit LABELS --verdicts v.json -o LABELS-audit-2.html" in nothing.why
    named = correction_by(replace(planned("y" * 50 + "n" * 10), folder="my labels"), selection, {}, {})
    named.threshold_for(np.linspace(0, 1, 50), 0.9)
    assert "openmofi label audit 'my labels' --verdicts v.json -o 'my labels-audit-2.html'" in named.why
    other = correction_by(planned("y" * 58 + "nu"), replace(selection, target_precision=0.8), {}, {})
    other.threshold_for(np.linspace(0, 1, 50), 0.8)
    # The number of further verdicts would be that of a draw for .9.
    draw = "openmofi label audit LABELS --target-precision 0.8 --confidence 0.9 -o LABELS-audit.html"
    assert other.why.endswith(f"draw for 0.8: {draw}")
    assert "more verdicts" not in other.why


def test_verdicts_that_guarantee_nothing_are_refused():
    selection = SelectionSettings(target_precision=0.9, confidence=0.9)
    with pytest.raises(UsageError, match="were not drawn for a guarantee"):
        correction_by(replace(planned("y" * 60), plan=None), selection, {}, {})
    with pytest.raises(UsageError, match="--top-k was 3"):
        correction_by(planned("y" * 60, top_k=3), selection, {}, {})
    with pytest.raises(OpenMofiError, match="are of other labels"):
        correction_by(planned("y" * 60), selection, {"seed": 1}, {})
    with pytest.raises(UsageError, match="A confidence is that of a target precision"):
        SelectionSettings(confidence=0.9)
