"""Why labels are wrong and right ones are missed, as far as it can be told without looking."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from openmofi.knowledge import KnowledgeBase
from openmofi.schema import RELATIONS
from openmofi.storage import read_parquet
from studies.scoring import ScoredRow

WRONG_KINDS: Mapping[str, str] = {
    "sense": "another candidate of the same mention is right",
    "related": "the knowledge base relates it to a right one: hypernym, region, part, topic",
    "nothing": "nothing that the row names is right",
    "keywords": "its mention stands in the list of keywords at the end",
    "other": "none of these",
}
MISSED_KINDS: Mapping[str, str] = {
    "sense": "another candidate of its mention is more probable",
    "threshold": "first of its mention, but not probable enough",
    "boilerplate": "its mention counts as boilerplate",
    "unlisted": "it is no candidate at all",
}
_HYPERNYMS = ("hypernym", "instance_hypernym")


@dataclass(frozen=True)
class LabelError:
    """A wrong label, or a missed entity.

    Attributes:
        row: where.
        entity: which.
        kind: key of `WRONG_KINDS` or `MISSED_KINDS`.
    """

    row: ScoredRow
    entity: str
    kind: str


@dataclass(frozen=True)
class Kinship:
    """What a knowledge base's source says of pairs of entities.

    Attributes:
        above: entity → what it is a kind or an instance of.
        beside: entity → those that any other relation joins it to.
    """

    above: Mapping[str, set[str]]
    beside: Mapping[str, set[str]]

    @classmethod
    def of(cls, relations: pa.Table) -> Kinship:
        """From rows of `schema.RELATIONS`."""
        above, beside = defaultdict(set), defaultdict(set)
        for row in relations.to_pylist():
            if row["relation"] in _HYPERNYMS:
                above[row["head"]].add(row["tail"])
            else:
                beside[row["head"]].add(row["tail"])
                beside[row["tail"]].add(row["head"])
        return cls(above, beside)

    @classmethod
    def read(cls, source: Path) -> Kinship:
        """From a source's folder."""
        return cls.of(read_parquet(source / "relations.parquet", RELATIONS))

    def related(self, one: str, other: str) -> bool:
        """Whether one is a kind of the other, by any number of steps, or a relation joins them."""
        return one in self.ancestors(other) or other in self.ancestors(one) or other in self.beside.get(one, ())

    def ancestors(self, entity: str) -> set[str]:
        """All that it is a kind or an instance of, by any number of steps."""
        seen: set[str] = set()
        left = [entity]
        while left:
            new = self.above.get(left.pop(), set()) - seen
            seen |= new
            left += new
        return seen


def wrong_labels(rows: Iterable[ScoredRow], kinship: Kinship) -> list[LabelError]:
    """All wrong labels, each with the first kind of `WRONG_KINDS` that holds."""
    return [LabelError(row, entity, _wrong_kind(row, entity, kinship)) for row in rows for entity in row.wrong]


def _wrong_kind(row: ScoredRow, entity: str, kinship: Kinship) -> str:
    if _rivals(row, entity) & row.truth.right:
        return "sense"
    if any(kinship.related(entity, right) for right in row.truth.right):
        return "related"
    if not row.truth.right:
        return "nothing"
    tail = _keywords_start(row.text)
    return (
        "keywords"
        if all(row.mentions[number]["start"] >= tail for number in row.candidates[entity].mentions)
        else "other"
    )


def _keywords_start(text: str) -> int:
    """Where the last part of a text begins, if it is a list of three or more; else its end."""
    before, mark, last = text.rpartition(". ")
    return len(before) + len(mark) if last.count(",") > 1 else len(text)


def _rivals(row: ScoredRow, entity: str) -> set[str]:
    """The other candidates of its mentions."""
    mentions = set(row.candidates[entity].mentions)
    return {other for other, candidate in row.candidates.items() if mentions & set(candidate.mentions)} - {entity}


def missed_entities(rows: Iterable[ScoredRow], kb: KnowledgeBase) -> list[LabelError]:
    """All right entities that are no labels."""
    return [LabelError(row, entity, _missed_kind(row, entity, kb)) for row in rows for entity in row.missed]


def _missed_kind(row: ScoredRow, entity: str, kb: KnowledgeBase) -> str:
    candidate = row.candidates.get(entity)
    if candidate is not None:
        first = all(row.candidates[rival].probability <= candidate.probability for rival in _rivals(row, entity))
        return "threshold" if first else "sense"
    marked = (mention["surface"] for mention in row.mentions if mention["reason"])
    named = {sense for surface in marked for sense in kb.ids(kb.candidates(surface).rows)}
    return "boilerplate" if entity in named else "unlisted"


def count_kinds(errors: Sequence[LabelError], kinds: Mapping[str, str]) -> dict[str, int]:
    """Kind → errors, in the order of `kinds`."""
    counts = Counter(error.kind for error in errors)
    return {kind: counts[kind] for kind in kinds}
