import pytest

from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.disambiguation import judge, prior_answers
from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample, with_gold
from studies.fusion import disambiguation_scores

BIRD, MACHINE = LinkCandidate("bird", "crane", prior=0.7), LinkCandidate("machine", "crane", prior=0.3)
MANY = tuple(LinkCandidate(f"e{number}", "name", prior=1 / (number + 2)) for number in range(20))


def example(gold, candidates=(BIRD, MACHINE), split="test"):
    return LinkExample("the crane", 4, 9, tuple(candidates), gold, split)


EXAMPLES = [
    example("bird"),
    example("machine"),
    example("machine"),
    example("bird"),
    example(NIL),
    example("writer", with_gold((BIRD, MACHINE), LinkCandidate("writer", "Crane"))),
    example("e3", MANY, "other"),
    example("only", [LinkCandidate("only", "x", prior=1.0)], "other"),
]
ANSWERS = ["bird", "machine", "bird", NIL, NIL, "bird", "e3", "only"]


def test_figures_as_counted_by_hand():
    found = disambiguation_scores(EXAMPLES, ANSWERS)
    assert (found["mentions"], found["nil"]) == (7, 1)
    # test: bird and machine of five InKB mentions are right, one gold is not listed, the prior is right in two.
    assert found["splits"]["test"] | {"accuracy_interval": 0, "shadowed_interval": 0} == {
        "mentions": 5,
        "accuracy": 0.4,
        "accuracy_interval": 0,
        "ceiling": 0.8,
        "prior": 0.4,
        "shadowed_mentions": 3,
        "shadowed": pytest.approx(1 / 3),
        "shadowed_interval": 0,
    }
    assert found["splits"]["other"]["accuracy"] == 1.0
    assert found["accuracy"] == pytest.approx(4 / 7)
    assert (found["macro_accuracy"], found["macro_ceiling"]) == (pytest.approx(0.7), pytest.approx(0.9))
    assert found["macro_prior"] == pytest.approx((0.4 + 0.5) / 2)
    assert {name: (of["mentions"], of["accuracy"]) for name, of in found["by_candidates"].items()} == {
        "1": (1, 1.0),
        "2-3": (5, 0.4),
        "16+": (1, 1.0),
    }
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] < high


def test_without_shadowed_mentions_there_is_no_figure_of_them():
    found = disambiguation_scores([example("bird")], ["bird"])
    assert (found["shadowed"], found["shadowed_interval"], found["shadowed_mentions"]) == (None, None, 0)
    assert found["accuracy_interval"] == (1.0, 1.0)


def test_an_empty_list_is_wrong_and_a_bucket_of_its_own():
    empty = example("bird", with_gold((), BIRD))
    found = disambiguation_scores([empty, example("bird")], [NIL, "bird"])
    assert found["by_candidates"]["0"]["accuracy"] == 0.0
    assert found["ceiling"] == found["prior"] == 0.5


def test_the_prior_answers_the_commonest_and_is_right_where_nothing_hides_the_gold():
    assert prior_answers([example("bird"), example("bird", (MACHINE, BIRD)), example(NIL, ())]) == ["bird", "bird", NIL]
    judged = judge(EXAMPLES, ANSWERS)
    assert judged.rows.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert (judged.prior == (judged.reachable & ~judged.shadowed)).all()


@pytest.mark.parametrize(
    ("examples", "answers", "told"),
    [
        (EXAMPLES, ["bird"], "1 answers to 8 examples"),
        ([example(NIL)], [NIL], "nothing to judge"),
        ([], [], "nothing to judge"),
    ],
)
def test_what_cannot_be_judged(examples, answers, told):
    with pytest.raises(OpenMofiError, match=told):
        judge(examples, answers)
