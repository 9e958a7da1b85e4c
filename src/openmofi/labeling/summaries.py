"""Summaries of a label job's tables: footers hold them, so that no rows are read to add them up."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.engine.steps import Summary
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.tables import accepted_labels
from openmofi.schema import LabelStatus, Link

_PIECES, _MOST_PIECES = 50, 4096
_NOWHERE = np.iinfo(np.uint16).max
_UNITS = 1e6
_EXAMPLES, _EXAMPLE_CHARS = 3, 200


class TextSummary(Summary, frozen=True):
    """The texts of a shard: usable pairs, and rows of n-grams."""

    NOTE = "openmofi.texts"
    usable: int
    ngrams: int


class MarkedCounts(Summary, frozen=True):
    """How much of a corpus, a shard or a block is boilerplate.

    Attributes:
        mentions, marked: mentions, and those in boilerplate.
        reasons: `Boilerplate` → mentions.
        pieces: repeated piece, in lower case → texts that it stands in. Of some thousands only the commonest are kept,
            of a shard the commonest 50: where there are more, their counts are lower bounds.
    """

    mentions: int = 0
    marked: int = 0
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    pieces: dict[str, int] = msgspec.field(default_factory=dict)

    def __add__(self, other: Self) -> Self:
        # The order of pieces counts nowhere, and to sort thousands for every shard takes most of a millisecond.
        pieces = self.pieces | {piece: self.pieces.get(piece, 0) + texts for piece, texts in other.pieces.items()}
        mine, others = (msgspec.structs.replace(counts, pieces={}) for counts in (self, other))
        total = msgspec.structs.replace(super(MarkedCounts, mine).__add__(others), pieces=pieces)
        return total if len(total.pieces) <= _MOST_PIECES else total.commonest(_MOST_PIECES // 2)

    def commonest(self, pieces: int = _PIECES) -> Self:
        """Return the same with the commonest `pieces` alone, the commonest first."""
        best = sorted(self.pieces.items(), key=lambda item: (-item[1], item[0]))[:pieces]
        return type(self)(self.mentions, self.marked, dict(sorted(self.reasons.items())), dict(best))

    def as_dict(self, pieces: int = _PIECES) -> dict[str, Any]:
        """Return plain values; of the pieces the commonest, as rows."""
        best = self.commonest(pieces)
        return {
            "mentions": self.mentions,
            "marked": self.marked,
            "reasons": best.reasons,
            "pieces": [list(item) for item in best.pieces.items()],
        }


class LinkSummary(Summary, frozen=True):
    """The links of a shard.

    Attributes:
        rows: pairs.
        marked: how much of the texts is boilerplate.
        entities: packed int32 differences of the rows in the knowledge base of the entities that occur, ascending.
        ranks: packed uint16, the best rank that each has among the candidates of a mention, 0 first.
    """

    NOTE = "openmofi.links"
    rows: int
    marked: MarkedCounts
    entities: bytes
    ranks: bytes

    @classmethod
    def packed(
        cls, rows: int, marked: MarkedCounts, entities: NDArray[np.integer[Any]], ranks: NDArray[np.integer[Any]]
    ) -> LinkSummary:
        """Pack entities, ascending, and their ranks."""
        differences = np.diff(entities, prepend=0).astype("<i4")
        packed = (zlib.compress(values.tobytes()) for values in (differences, ranks.astype("<u2")))
        return cls(rows, marked.commonest(), *packed)

    def unpacked(self) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
        """Return the entities and their ranks."""
        differences, ranks = (zlib.decompress(packed) for packed in (self.entities, self.ranks))
        return np.cumsum(np.frombuffer(differences, "<i4"), dtype=np.int64), np.frombuffer(ranks, "<u2")


@dataclass
class BestRanks:
    """The best rank of each entity, gathered over the texts of a shard."""

    ranks: dict[str, int] = field(default_factory=dict)

    def add(self, links: Iterable[Link]) -> None:
        """Take the links of one text, a mention's together and by falling score."""
        mention, rank = -1, 0
        for link in links:
            rank = rank + 1 if link.mention == mention else 0
            mention = link.mention
            self.ranks[link.entity] = min(rank, self.ranks.get(link.entity, rank))

    def summary(self, kb: KnowledgeBase, rows: int, marked: MarkedCounts) -> LinkSummary:
        """Summarise the shard."""
        entities = kb.rows(list(self.ranks))
        order = np.argsort(entities, kind="stable")[int((entities < 0).sum()) :]
        ranks = np.minimum(np.fromiter(self.ranks.values(), np.int64, len(entities)), _NOWHERE - 1)
        return LinkSummary.packed(rows, marked, entities[order], ranks[order])


@dataclass
class CorpusSummary:
    """The links of all shards; memory grows with the knowledge base, and not with the shards' entities.

    Attributes:
        rows: fingerprint of a shard → pairs.
        marked: how much of the texts is boilerplate.
        best: (entities of the knowledge base,) uint16, the best rank that each has anywhere.
    """

    rows: dict[str, int]
    marked: MarkedCounts
    best: NDArray[np.uint16]

    @classmethod
    def of_none(cls, entities: int) -> CorpusSummary:
        """Summarise no shard, beside a knowledge base of so many entities."""
        return cls({}, MarkedCounts(), np.full(entities, _NOWHERE, np.uint16))

    def add(self, shard: str, links: LinkSummary) -> None:
        """Add a shard, by its fingerprint. What is counted of pieces depends on the order, where there are many."""
        self.rows[shard] = links.rows
        self.marked += links.marked
        entities, ranks = links.unpacked()
        self.best[entities] = np.minimum(self.best[entities], ranks)

    def judged(self, max_candidates: int) -> NDArray[np.int64]:
        """Return the rows in the knowledge base, ascending, of the entities that some image judges."""
        return np.flatnonzero((self.best < max_candidates) & (self.best < _NOWHERE))


class LabelSummary(Summary, frozen=True):
    """The labels of a shard, or of many, in whatever order these are added.

    Attributes:
        status: `LabelStatus` → rows.
        unread: images in formats that are not read, by format.
        accepted: labels.
        millionths: the sum of their probabilities, each to the nearest millionth.
    """

    NOTE = "openmofi.labels.4"
    status: dict[str, int]
    unread: dict[str, int]
    accepted: int
    millionths: int

    @classmethod
    def of_table(cls, table: pa.Table) -> LabelSummary:
        """Summarise label rows (`openmofi.schema.LABELS`); what a text names twice is one label."""
        probability = accepted_labels(table)[1].field("probability").to_numpy().astype(np.float64)
        status = dict(sorted(Counter(table.column("status").to_pylist()).items()))
        return cls(status, {}, len(probability), int(np.rint(probability * _UNITS).sum()))

    @property
    def rows(self) -> int:
        """The number of pairs."""
        return sum(self.status.values())

    @property
    def expected_precision(self) -> float | None:
        """The mean of the labels' probabilities; `None` without labels."""
        return self.millionths / _UNITS / self.accepted if self.accepted else None


def examples_of(labels: pa.Table, kb: KnowledgeBase, most: int = _EXAMPLES) -> list[dict[str, Any]]:
    """Labelled pairs, evenly spread over a table of labels, for people who watch a job.

    Args:
        labels: `schema.LABELS`.
        kb: gives the names.
        most: so many pairs.

    Returns:
        `key`, `text`, `name` and `probability` of the best label.
    """
    labelled = pc.indices_nonzero(pc.equal(labels["status"], str(LabelStatus.LABELLED))).to_numpy()
    if not len(labelled):
        return []
    rows = labelled[np.unique(np.linspace(0, len(labelled) - 1, most).astype(np.int64))]
    examples = []
    for row in labels.select(["key", "text", "entities"]).take(pa.array(rows)).to_pylist():
        accepted = [entity for entity in row["entities"] if entity["accepted"]]
        best = max(accepted, key=lambda entity: float(entity["probability"]))
        name, probability = kb[best["entity"]].name, float(best["probability"])
        examples.append(
            {"key": row["key"], "text": row["text"][:_EXAMPLE_CHARS], "name": name, "probability": probability}
        )
    return examples
