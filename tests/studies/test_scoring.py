"""The rules of the truth made by hand, by cases."""

from __future__ import annotations

import pyarrow as pa
import pytest

from openmofi.schema import RELATIONS
from studies.label_errors import Kinship, missed_entities, wrong_labels
from studies.scoring import Candidate, ScoredRow, Truth, _scored, average_precision, label_figures

TEXT = "An apple. red, fruit, recipe"


def row(
    right: str = "",
    mentions: tuple[str, ...] = ("apple", "red", "fruit"),
    **candidates: tuple[float, bool, tuple[int, ...]],
) -> ScoredRow:
    """Entities are named by letters; `candidates`: entity → probability, accepted, mentions."""
    spans = [
        {"start": TEXT.index(name), "end": TEXT.index(name) + len(name), "surface": name, "reason": ""}
        for name in mentions
    ]
    return ScoredRow(
        Truth("00000", "k", frozenset(right), frozenset()),
        TEXT,
        spans,
        {entity: Candidate(*judged) for entity, judged in candidates.items()},
    )


def judged(entity: str, mention: int, probability: float, accepted: bool) -> dict:
    return {"entity": entity, "mention": mention, "probability": probability, "accepted": accepted}


def test_an_entity_counts_once_a_row_and_doubtful_ones_not_at_all() -> None:
    scored = _scored(
        {
            "text": TEXT,
            "mentions": [],
            "entities": [
                judged("a", 0, 0.9, True),
                judged("b", 0, 0.5, False),
                judged("a", 1, 0.95, False),
                judged("d", 1, 0.99, True),
            ],
        },
        Truth("00000", "k", frozenset("a"), frozenset("d")),
    )
    assert scored.candidates == {"a": Candidate(0.95, True, (0, 1)), "b": Candidate(0.5, False, (0,))}
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
    for name in ("precision_wilson", "precision_bootstrap", "row_recall_wilson", "average_precision_bootstrap"):
        low, high = figures[name]
        assert 0 <= low <= figures[name.rpartition("_")[0]] <= high <= 1
    assert sum(figures["calibration"]["counts"]) == 4


def test_ties_share_the_precision_at_their_end() -> None:
    one, other = row("a", a=(0.5, False, (0,))), row("", b=(0.5, False, (0,)))
    assert average_precision([one, other]) == average_precision([other, one]) == 1 / 2


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
