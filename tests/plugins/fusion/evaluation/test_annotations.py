"""GERBIL's matching against cases that were counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.plugins.fusion.linking import (
    Annotation,
    Matches,
    MicroScores,
    match_annotations,
    micro_scores,
)

# "Paris Hilton flew from Paris to New York"
GOLD = [Annotation(0, 12, "Paris Hilton"), Annotation(23, 28, "Paris"), Annotation(32, 40, "New York City")]


@pytest.mark.parametrize(
    ("found", "strong", "weak"),
    [
        (GOLD, (True, True, True), (True, True, True)),
        (GOLD[::-1], (True, True, True), (True, True, True)),
        ([], (False, False, False), (False, False, False)),
        # The right entity on a shorter span is a weak match; another entity on the right span is none.
        (
            [
                Annotation(6, 12, "Paris Hilton"),
                Annotation(23, 28, "Paris, Texas"),
                Annotation(36, 40, "New York City"),
            ],
            (False, False, False),
            (True, False, True),
        ),
        # Spans that only touch share no character.
        ([Annotation(12, 16, "Paris Hilton"), Annotation(28, 31, "Paris")], (False,) * 3, (False,) * 3),
        # One annotation answers one gold annotation, the one with its span if there is one.
        ([Annotation(0, 40, "Paris"), Annotation(23, 28, "Paris")], (False, True, False), (False, True, False)),
    ],
)
def test_matches_of_a_document(found, strong, weak):
    assert match_annotations(GOLD, found) == Matches(strong, len(found))
    assert match_annotations(GOLD, found, weak=True) == Matches(weak, len(found))


def test_a_weak_match_leaves_the_very_span_to_its_owner():
    gold = [Annotation(0, 3, "e"), Annotation(2, 8, "e")]
    assert match_annotations(gold, [Annotation(2, 8, "e")], weak=True).gold == (False, True)
    assert match_annotations(gold, [Annotation(2, 8, "e"), Annotation(1, 3, "e")], weak=True).gold == (True, True)


def test_counts_are_summed_over_documents():
    # 3 of 4 gold ones found, with 6 annotations: P = 3/6, R = 3/4, F1 = 2·3/(4 + 6).
    scores = micro_scores([Matches((True, True), 5), Matches((), 0), Matches((True, False), 1)])
    assert (scores.precision, scores.recall, scores.f1) == (0.5, 0.75, 0.6)
    assert micro_scores([Matches((), 0)]) == MicroScores(0.0, 0.0, 0.0)
    assert micro_scores([Matches((), 3)]).precision == 0.0


spans = st.lists(
    st.builds(
        lambda start, length, entity: Annotation(start, start + length, entity),
        st.integers(0, 12),
        st.integers(1, 4),
        st.sampled_from("ab"),
    ),
    max_size=8,
)


@given(spans, spans)
def test_weak_is_never_below_strong_and_sides_may_be_swapped(gold, found):
    strong, weak = match_annotations(gold, found), match_annotations(gold, found, weak=True)
    assert strong.correct <= weak.correct <= min(len(gold), len(found))
    assert strong.correct == match_annotations(found, gold).correct


@given(spans)
def test_an_annotator_that_knows_the_gold_is_perfect(gold):
    assert (
        match_annotations(gold, gold[::-1], weak=True).gold == match_annotations(gold, gold).gold == (True,) * len(gold)
    )
