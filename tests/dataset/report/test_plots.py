from xml.etree import ElementTree

import pytest

from openmofi.dataset.report import plots

DRAWN = {
    "precision_recall": lambda: plots.precision_recall_curve(
        {"a & <b>": ([0.1, 0.5], [1.0, 0.8]), "dot $x_1$": ([0.4], [0.3])}, {"a & <b>": (0.5, 0.8)}, 0.75
    ),
    "calibration": lambda: plots.calibration([0.1, 0.9], [0.2, 0.8], [3, 5]),
    "intervals": lambda: plots.calibration([0.1, 0.9], [0.2, 0.8], [3, 5], [(0.0, 0.5), (0.4, 1.0)]),
    "long_tail": lambda: plots.long_tail([[1, 50], [2, 20], [10, 5]]),
    "one_entity": lambda: plots.long_tail([[1, 5]]),
    "entities_per_image": lambda: plots.entities_per_image({"1": 1200, "2": 30}),
    "funnel": lambda: plots.funnel({"pairs": 0, "dataset": 0}),
    "bars": lambda: plots.bars({"ours": 0.91, "text": 0.4}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_whole_svg_and_the_same_each_time(name):
    drawn = DRAWN[name]()
    root = ElementTree.fromstring(drawn)
    assert root.tag.endswith("svg")
    assert drawn == DRAWN[name]()
    assert "<metadata>" not in drawn or "date" not in drawn.lower()


def test_names_are_shown_as_they_are():
    words = "".join(ElementTree.fromstring(DRAWN["precision_recall"]()).itertext())
    assert "a & <b>" in words
    assert "dot $x_1$" in words
