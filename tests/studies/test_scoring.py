"""The rules of the truth made by hand, by cases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score as sklearn_average_precision

from openmofi.schema import RELATIONS
from studies.label_errors import Kinship, missed_entities, wrong_labels
from studies.scoring import (
    Candidate,
    ScoredRow,
    Truth,
    _scored,
    average_precision,
    label_figures,
    read_truth,
    truth_of_shard,
)

TEXT = "An apple. red, fruit, recipe"


def row(
    right: Iterable[str] = "",
    mentions: tuple[str, ...] = ("apple", "red", "fruit"),
    **candidates: tuple,
) -> ScoredRow:
    """Entities are named by letters; `candidates`: entity → probability, accepted, mentions, maybe what texts say."""
    spans = [
        {"start": TEXT.index(name), "end": TEXT.index(name) + len(name), "surface": name, "reason": ""}
        for name in mentions
    ]
    return ScoredRow(
        Truth("00000", "k", frozenset(right), frozenset()),
        TEXT,
        spans,
        {entity: Candidate(*judged, *(0.5, 1)[len(judged) - 3 :]) for entity, judged in candidates.items()},
    )


def judged(entity: str, mention: int, probability: float, accepted: bool, link_score: float = 0.5) -> dict:
    return {
        "entity": entity,
        "mention": mention,
        "probability": probability,
        "accepted": accepted,
        "link_score": link_score,
    }


def test_an_entity_counts_once_a_row_and_doubtful_ones_not_at_all() -> None:
    scored = _scored(
        {
            "text": TEXT,
            "mentions": [],
            "entities": [
                judged("a", 0, 0.9, True),
                judged("b", 0, 0.5, False),
                judged("a", 1, 0.95, False, link_score=0.25),
                judged("c", 2, 0.1, False),
                judged("d", 1, 0.99, True),
            ],
        },
        Truth("00000", "k", frozenset("a"), frozenset("d")),
    )
    assert scored.candidates == {
        "a": Candidate(0.95, True, (0, 1), 0.5, 2),
        "b": Candidate(0.5, False, (0,), 0.5, 2),
        "c": Candidate(0.1, False, (2,), 0.5, 1),
    }
    assert (scored.accepted, scored.wrong, scored.missed) == (["a"], [], [])


def test_figures() -> None:
    rows = [
        row("ax", a=(0.9, True, (0,)), b=(0.8, True, (1,))),
        row("c", c=(0.7, False, (0,))),
        row("", d=(1.0, True, (0,))),
        row(""),
    ]
    figures = label_figures(rows)
    assert (figures["rows"], figures["accepted"]) == (4, 3)
    assert figures["precision"] == pytest.approx(1 / 3)
    assert figures["expected"] == pytest.approx(0.9)
    assert figures["row_recall"] == 1 / 2
    assert figures["recall"] == 1 / 3
    # a at rank 2 and c at rank 4 of 3 right ones; x is never reached.
    assert figures["average_precision"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    # All have the same link score, and share the precision at the end of all four.
    assert figures["text_average_precision"] == pytest.approx(2 / 4 * 2 / 3)
    for name in (
        "precision_wilson",
        "precision_bootstrap",
        "row_recall_wilson",
        "average_precision_bootstrap",
        "text_average_precision_bootstrap",
    ):
        low, high = figures[name]
        assert 0 <= low <= figures[name.rpartition("_")[0]] <= high <= 1
    assert sum(figures["calibration"]["counts"]) == 4


def test_ties_share_the_precision_at_their_end() -> None:
    one, other = row("a", a=(0.5, False, (0,))), row("", b=(0.5, False, (0,)))
    assert average_precision([one, other]) == average_precision([other, one]) == 1 / 2


def test_the_average_precision_of_the_text_ranks_by_link_score() -> None:
    rows = [row("a", a=(0.9, True, (0,), 0.2, 2), b=(0.1, False, (0,), 0.8, 2))]
    assert average_precision(rows) == 1
    assert label_figures(rows)["text_average_precision"] == 1 / 2


def test_labels_are_counted_by_how_many_senses_their_name_has() -> None:
    rows = [
        row("ab", a=(0.9, True, (0,), 0.5, 1), b=(0.8, True, (1,), 0.5, 2)),
        row("", c=(0.7, True, (0,), 0.5, 8), d=(0.6, False, (1,), 0.5, 8)),
    ]
    senses = label_figures(rows)["senses"]
    assert [(part["accepted"], part["precision"]) for part in senses.values()] == [(1, 1.0), (2, 0.5)]
    assert senses["2-8"]["expected"] == pytest.approx(0.75)


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abc")), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 4))),
        max_size=8,
    )
)
def test_average_precision_is_scikit_learns(rows: list[tuple[set[str], dict[str, int]]]) -> None:
    """Where every right entity is a candidate. Ties share a threshold there, too."""
    scored = [
        row(right & listed.keys(), **{entity: (score / 4, False, (0,)) for entity, score in listed.items()})
        for right, listed in rows
    ]
    every = [
        (candidate.probability, entity in each.truth.right)
        for each in scored
        for entity, candidate in each.candidates.items()
    ]
    if not any(right for _, right in every):
        assert average_precision(scored) is None
    else:
        oracle = sklearn_average_precision([right for _, right in every], [score for score, _ in every])
        assert average_precision(scored) == pytest.approx(oracle)


def test_what_is_left_out_counts_as_doubtful() -> None:
    left = row("ab", a=(0.9, True, (0,)), b=(0.2, False, (0,)), c=(0.8, True, (0,))).without({"a", "c"})
    assert (left.truth.right, left.truth.doubt, list(left.candidates)) == ({"b"}, {"a", "c"}, ["b"])


def test_a_truth_without_a_shard_names_rows_by_their_key(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text(
        '{"key": "k", "right": ["a"], "doubt": []}\n\n{"shard": "1", "key": "l", "right": [], "doubt": ["b"]}\n'
    )
    truth = read_truth(path)
    assert truth_of_shard(truth, "0") == {"k": Truth("0", "k", frozenset("a"), frozenset())}
    assert truth_of_shard(truth, "1").keys() == {"k", "l"}


def test_nothing_accepted_and_nothing_right_is_none() -> None:
    figures = label_figures([row("")])
    assert figures["accepted"] == 0
    for name in (
        "precision",
        "precision_wilson",
        "precision_bootstrap",
        "expected",
        "row_recall",
        "recall",
        "average_precision",
        "average_precision_bootstrap",
        "text_average_precision",
        "text_average_precision_bootstrap",
    ):
        assert figures[name] is None


@pytest.mark.parametrize(
    ("scored", "kind"),
    [
        (row("b", a=(0.9, True, (0, 1)), b=(0.1, False, (1,))), "sense"),
        (row("c", a=(0.9, True, (0,)), c=(0.1, False, (1,))), "related"),
        (row("e", a=(0.9, True, (0,)), e=(0.1, False, (1,))), "related"),
        (row("", a=(0.9, True, (1,))), "nothing"),
        (row("z", a=(0.9, True, (1, 2))), "keywords"),
        (row("z", a=(0.9, True, (0, 1))), "other"),
    ],
)
def test_kinds_of_wrong_labels(scored: ScoredRow, kind: str) -> None:
    relations = [
        ("a", "hypernym", "b"),
        ("b", "instance_hypernym", "c"),
        ("e", "part_meronym", "a"),
        ("z", "hypernym", "y"),
        ("a", "hypernym", "y"),
    ]
    kinship = Kinship.of(pa.table([list(column) for column in zip(*relations, strict=True)], schema=RELATIONS))
    assert [error.kind for error in wrong_labels([scored], kinship)] == [kind]


class OneName:
    """A knowledge base that knows the name red, which means x."""

    def candidates(self, name: str) -> OneName:
        self.rows = [0] if name == "red" else []
        return self

    def ids(self, rows: list[int]) -> list[str]:
        return ["x" for _ in rows]


@pytest.mark.parametrize(
    ("scored", "kind"),
    [
        (row("a", a=(0.4, False, (0,)), b=(0.5, False, (0,))), "sense"),
        (row("a", a=(0.4, False, (0,)), b=(0.5, False, (1,))), "threshold"),
        (row("x", mentions=("apple",)), "unlisted"),
    ],
)
def test_kinds_of_missed_entities(scored: ScoredRow, kind: str) -> None:
    assert [error.kind for error in missed_entities([scored], OneName())] == [kind]
    marked = [dict(mention, reason="repeated") for mention in row().mentions]
    behind = ScoredRow(Truth("00000", "k", frozenset("x"), frozenset()), TEXT, marked, {})
    assert [error.kind for error in missed_entities([behind], OneName())] == ["boilerplate"]
