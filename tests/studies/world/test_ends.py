"""Expected and found precision of lists that end, against answers that are known."""

import numpy as np
import pytest
from kb_tables import write_source
from sklearn.metrics import average_precision_score, precision_recall_curve

from openmofi.knowledge import KnowledgeBase, build_table
from studies.world.ends import UNTIL, Answer, Shown, largest_gap, measured


def drawn(count: int, seed: int = 0, claim: float = 1.0) -> list[Answer]:
    """Answers whose results are right with the probability that they have, to the power of `claim`."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        probability = np.sort(draw.beta(0.6, 1.2, 40))[::-1]
        right = draw.random(40) < probability**claim
        found.append(
            Answer(right, np.ones(40, bool), probability, probability + draw.normal(0, 0.2, 40), int(right.sum()) + 2)
        )
    return found


def test_what_is_calibrated_has_no_gap():
    figures = measured(drawn(600))
    for until in UNTIL:
        end = figures[str(until)]
        assert end["expected"] >= until
        assert end["gap"] == pytest.approx(0, abs=0.02)
        assert end["interval"][0] <= end["precision"] <= end["interval"][1]
        assert end["interval"][1] - end["interval"][0] < 0.05
    assert largest_gap(figures) == max(abs(figures[str(until)]["gap"]) for until in UNTIL) < 0.02


def test_what_claims_too_much_has_one():
    figures = measured(drawn(600, claim=2.0))
    assert all(figures[str(until)]["gap"] < -0.02 for until in UNTIL[:3])
    assert largest_gap(figures) > 0.1
    assert largest_gap(figures, fewest=601) is None


def test_figures_are_those_of_their_definitions():
    found = drawn(30, seed=3)
    figures = measured(found)
    shown = [
        max(count for count in range(41) if count == 0 or each.probability[:count].mean() >= 0.8) for each in found
    ]
    right = sum(each.right[:count].sum() for each, count in zip(found, shown, strict=True))
    end = figures["0.8"]
    assert (end["shown"], end["lists"]) == (sum(shown), sum(count > 0 for count in shown))
    assert end["precision"] == pytest.approx(right / sum(shown), abs=1e-4)
    assert end["recall"] == pytest.approx(right / sum(each.wanted for each in found), abs=1e-4)
    # Average precision counts what is wanted and was not found, two images of each query.
    by_cosine = np.mean(
        [average_precision_score(each.right, each.cosine) * each.right.sum() / each.wanted for each in found]
    )
    assert figures["average_precision"]["by_cosine"] == pytest.approx(by_cosine, abs=1e-4)
    all_right, all_cosine = (np.concatenate([getattr(each, name) for each in found]) for name in ("right", "cosine"))
    precision, recall, _ = precision_recall_curve(all_right, all_cosine)
    best = recall[:-1][precision[:-1] >= right / sum(shown)].max()
    assert end["flat_recall"] == pytest.approx(best * all_right.sum() / figures["wanted"], abs=1e-4)


def test_what_the_truth_does_not_know_counts_for_nothing():
    probability = np.array([0.9, 0.9, 0.8, 0.7])
    answer = Answer(
        np.array([True, False, False, True]), np.array([True, False, True, True]), probability, probability, 2
    )
    assert answer.cut(0.8) == (3, pytest.approx(2.4), 2)
    assert answer.cut(0.87) == (1, pytest.approx(0.9), 1)
    assert answer.cut(0.95) == (0, 0, 0)
    assert measured([answer])["0.95"] == {"shown": 0, "lists": 0}
    assert measured([])["queries"] == 0


def test_a_penguin_is_a_bird_and_what_may_be_one_may_be_a_bird(tmp_path):
    edges = [("penguin", "hypernym", "bird"), ("bird", "hypernym", "animal"), ("robin", "hypernym", "bird")]
    build_table(
        write_source(
            tmp_path / "tables",
            ids=("animal", "bird", "penguin", "robin"),
            names=[("bird", "bird", 1.0)],
            relations=edges,
        ),
        tmp_path / "kb",
    )
    kb = KnowledgeBase.open(tmp_path / "kb")
    shown = Shown.of(["penguin", "elsewhere"], kb, ["robin"])
    assert shown.entities == {"penguin", "elsewhere"}
    assert shown.wider == {"penguin", "elsewhere", "bird", "animal"}
    assert shown.doubt == {"robin"}
    assert Shown.of(["bird"], kb).wider == {"bird", "animal"}
    assert Shown.of([], kb, ["robin"]).doubt == {"robin", "bird", "animal"}
