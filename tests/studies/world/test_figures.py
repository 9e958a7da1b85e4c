import re

import pytest

from studies.world.figures import figures_section, head_figures, seconds_section

LABELS = {
    "precision": 0.936,
    "recall": 0.801,
    "ambiguous_precision": 0.79,
    "ambiguous_recall": 0.61,
    "heldout_precision": 0.933,
    "heldout_recall": 0.7,
    "heldout_ambiguous_precision": None,
    "heldout_ambiguous_recall": 0.5,
    "text_only_precision": 0.394,
    "alt_text_encoder_precision": 0.648,
    "expected_precision": 0.967,
}
GOALS = {
    "labels.precision": 0.90,
    "labels.recall": 0.75,
    "labels.ambiguous_precision": 0.80,
    "labels.heldout_recall": 0.75,
    "labels.heldout_ambiguous_precision": 0.80,
}
METRICS = {"labels": LABELS, "search": {"calibrated_gap": 0.023}, "pairs": 22067, "rows_in": 22067, "rows_out": 22067}


def _cells(body: str) -> dict[str, list[str]]:
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("<tr>")]
    return {re.sub("<[^>]*>", "", row[0]): row[1:] for row in rows if row}


@pytest.mark.parametrize(
    ("name", "value", "goal", "verdict"),
    [
        ("labels.precision", "93.6%", "≥ 90%", "met"),
        ("labels.recall", "80.1%", "≥ 75%", "met"),
        ("labels.ambiguous_precision", "79.0%", "≥ 80%", "missed"),
        ("labels.heldout_recall", "70.0%", "≥ 75%", "missed"),
        ("labels.heldout_ambiguous_precision", "–", "≥ 80%", "missed"),
        ("labels.text_only_precision", "39.4%", "", ""),
        ("labels.alt_text_encoder_precision", "64.8%", "", ""),
        ("pairs", "22,067", "", ""),
        ("rows_out", "22,067", "= rows in", "met"),
        ("search.calibrated_gap", "2.3%", "≤ 5%", "met"),
    ],
)
def test_each_figure_stands_beside_its_goal(name, value, goal, verdict):
    assert _cells(figures_section(METRICS, GOALS).body)[name][1:] == [value, goal, verdict]


@pytest.mark.parametrize(
    ("gap", "value", "verdict"), [(0.05, "5.0%", "met"), (0.051, "5.1%", "missed"), (None, "–", "–")]
)
def test_a_gap_is_small_enough_or_unknown(gap, value, verdict):
    cells = _cells(figures_section({**METRICS, "search": {"calibrated_gap": gap}}, GOALS).body)
    assert cells["search.calibrated_gap"][1:] == [value, "≤ 5%", verdict]


def test_a_lost_row_is_said():
    body = figures_section({**METRICS, "rows_out": 22066}, GOALS).body
    assert _cells(body)["rows_out"][1:] == ["22,066", "= rows in", "missed"]


def test_without_goals_there_are_figures_alone():
    section = figures_section(METRICS)
    cells = _cells(section.body)
    assert section.title == "Figures"
    assert cells["labels.precision"] == ["accepted labels that are true, training pages", "93.6%"]
    assert list(cells) == list(_cells(figures_section(METRICS, GOALS).body))
    assert "goal" not in section.body


def test_the_head_has_what_the_audit_does_not_put_there():
    assert list(head_figures(LABELS).values()) == ["79.0%", "93.3%", "39.4%", "64.8%"]


def test_seconds_are_in_the_order_of_the_steps_and_names_are_escaped():
    section = seconds_section({"audit": 2.0, "<b>": 1.0, "world": 1117.8})
    assert list(_cells(section.body.replace("&lt;b&gt;", "other"))) == [
        "seconds.world",
        "seconds.audit",
        "seconds.other",
        "all",
    ]
    assert "<b>all</b>" in section.body
    assert section.body.count("<b>") == 1
    assert _cells(section.body)["all"][1] == "1,120.8"
