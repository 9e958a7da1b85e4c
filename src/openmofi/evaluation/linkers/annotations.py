"""End-to-end linking, judged by its annotations as GERBIL does (Röder, Usbeck and Ngonga Ngomo, Semantic Web 2018).

An annotation is a span with an entity. It matches a gold one of the same document with the same entity whose span is
the same (strong annotation match) or shares a character (weak). Each matches once at most. Counts are summed over all
documents before precision, recall and F1 are taken (micro).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Annotation:
    """A span of a document and what it means: `start` and `end` count characters, end exclusive."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of one document's annotations.

    Attributes:
        gold: for each gold annotation whether it was found.
        found: how many annotations the linker made.
    """

    gold: tuple[bool, ...]
    found: int

    @property
    def right(self) -> int:
        """True positives."""
        return sum(self.gold)


@dataclass(frozen=True, slots=True)
class MicroScores:
    """Precision, recall and F1 over all annotations; 0 where there is nothing to divide by."""

    precision: float
    recall: float
    f1: float


def match_annotations(gold: Sequence[Annotation], found: Sequence[Annotation], *, weak: bool = False) -> Matches:
    """Match the annotations of one document.

    Gold annotations are gone through by their place. One that overlaps several free ones of its entity takes the one
    with its very span, else the first.

    Args:
        gold, found: the annotations, in any order; two of one span and entity count twice.
        weak: whether it is enough that spans overlap.
    """
    free = sorted(found, key=lambda one: (one.start, one.end))
    hit = [False] * len(gold)
    # Those with the very span first: a neighbour that only overlaps must not take it from them.
    for overlap in (False, True) if weak else (False,):
        for place in sorted(range(len(gold)), key=lambda at: (gold[at].start, gold[at].end)):
            taken = None if hit[place] else next((one for one in free if _fits(gold[place], one, overlap)), None)
            if taken is not None:
                free.remove(taken)
                hit[place] = True
    return Matches(tuple(hit), len(found))


def micro_scores(matches: Sequence[Matches]) -> MicroScores:
    """Micro-averaged precision, recall and F1 of matched documents."""
    right = sum(one.right for one in matches)
    found, gold = sum(one.found for one in matches), sum(len(one.gold) for one in matches)
    return MicroScores(_share(right, found), _share(right, gold), _share(2 * right, found + gold))


def _fits(gold: Annotation, found: Annotation, overlap: bool) -> bool:
    if gold.entity != found.entity:
        return False
    if overlap:
        return gold.start < found.end and found.start < gold.end
    return (gold.start, gold.end) == (found.start, found.end)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
