"""What a dataset says of the labels that it is made of."""

import pytest

from openmofi.dataset.report.report import claim, warning
from openmofi.errors import OpenMofiError

BLIND = {"blind": True, "separation": 1.7, "information": 1.1}


def test_an_expectation_is_called_an_estimate():
    assert claim({"expected_precision": 0.952}) == (
        "The job expects 0.952 of its labels to be right: an estimate, since nobody has looked at them."
    )
    assert claim({"expected_precision": None}) == claim({}) == ""


def test_verdicts_come_before_the_expectation():
    said = {"judged": 190, "unsure": 10, "corrected_precision": 0.94, "interval": [0.9, 0.97]}
    assert "verdicts on 190 labels 0.940 of all labels of the job are right (95 %: 0.900 to 0.970)" in claim(
        {"expected_precision": 0.97, "verdicts": said}
    )
    guarantee = {"target": 0.9, "confidence": 0.95}
    assert claim({"verdicts": {**said, "guarantee": guarantee}}) == (
        "At least 0.9 of all labels of the job are right, with confidence 0.95, by people's verdicts on 200 of them."
    )


def test_labels_of_a_blind_job_are_warned_of_until_people_have_looked():
    assert "what is shown lies 1.7 SD above what is not" in warning({"calibration": BLIND})
    assert "Do not use these labels before people have looked" in warning({"calibration": BLIND})
    assert warning({"calibration": BLIND, "verdicts": {"judged": 100}}) == ""
    assert warning({"calibration": {"blind": False}}) == warning({"calibration": {}}) == warning({}) == ""


@pytest.mark.parametrize(
    "counts",
    [
        {"expected_precision": "<b>1"},
        {"verdicts": {"unsure": 3}},
        {"verdicts": {"judged": 9, "guarantee": {"target": 1}}},
        {"verdicts": [1]},
        {"calibration": {"blind": True, "separation": "high"}},
    ],
)
def test_a_manifest_that_says_something_else_is_one_sentence(counts):
    for say in (claim, warning):
        with pytest.raises(OpenMofiError, match="The manifest of the labels cannot be read"):
            say(counts)
