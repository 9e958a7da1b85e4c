"""Metrics of end-to-end linking, as in GERBIL (Röder, Usbeck and Ngonga Ngomo, Semantic Web 2018).

An annotation is a span with an entity. It matches a gold one of the same document with the same entity whose span is
the same (strong annotation match) or shares a character (weak). Each matches at most once. Counts are summed over all
documents before precision, recall and F1 are computed (micro).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Annotation:
    """A span of a document and its entity: `start` and `end` count characters, end exclusive."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class Matches:
    """The outcome of matching one document's annotations.

    Attributes:
        gold: for each gold annotation whether it was matched.
        predicted: number of the linker's annotations.
    """

    gold: tuple[bool, ...]
    predicted: int

    @property
    def correct(self) -> int:
        """True positives."""
        return sum(self.gold)


@dataclass(frozen=True, slots=True)
class MicroScores:
    """Precision, recall and F1 over all annotations; 0 where the denominator is 0."""

    precision: float
    recall: float
    f1: float


def match_annotations(gold: Sequence[Annotation], predicted: Sequence[Annotation], *, weak: bool = False) -> Matches:
    """Match the annotations of one document.

    Gold annotations are matched by position. One that overlaps several unmatched ones of its entity matches the one of
    the same span, or else the first.

    Args:
        gold, predicted: the annotations, in any order; two of the same span and entity count twice.
        weak: match overlapping spans.
    """
    free = sorted(predicted, key=_span)
    matched = [False] * len(gold)
    # The same spans first: a neighbour that merely overlaps must not take their match.
    for overlap in (False, True) if weak else (False,):
        for number in sorted(range(len(gold)), key=lambda number: _span(gold[number])):
            match = (
                None
                if matched[number]
                else next((annotation for annotation in free if _fits(gold[number], annotation, overlap)), None)
            )
            if match is not None:
                free.remove(match)
                matched[number] = True
    return Matches(tuple(matched), len(predicted))


def micro_scores(matches: Sequence[Matches]) -> MicroScores:
    """Micro-averaged precision, recall and F1 of matched documents."""
    correct = sum(document.correct for document in matches)
    predicted, gold = sum(document.predicted for document in matches), sum(len(document.gold) for document in matches)
    return MicroScores(_ratio(correct, predicted), _ratio(correct, gold), _ratio(2 * correct, predicted + gold))


def _span(annotation: Annotation) -> tuple[int, int]:
    return annotation.start, annotation.end


def _fits(gold: Annotation, predicted: Annotation, overlap: bool) -> bool:
    if gold.entity != predicted.entity:
        return False
    return gold.start < predicted.end and predicted.start < gold.end if overlap else _span(gold) == _span(predicted)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
