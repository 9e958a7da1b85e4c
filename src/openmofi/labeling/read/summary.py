"""What a shard's links say on the whole: noted in the footer of their table, so that a job's driver reads no rows."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.read.marked import MarkedCounts
from openmofi.schema import Link
from openmofi.storage.tables.footers import Footer

_MARKED, _ENTITIES, _RANKS = "openmofi.marked", "openmofi.entities", "openmofi.ranks"
_NOWHERE = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class LinkSummary:
    """Of the links of a shard.

    Attributes:
        rows: pairs.
        marked: how much of the texts is boilerplate.
        entities: int32 rows in the knowledge base of those that occur, ascending.
        ranks: uint16, the best rank that each has among the candidates of a mention, 0 first.
    """

    rows: int
    marked: MarkedCounts
    entities: NDArray[np.int32]
    ranks: NDArray[np.uint16]

    def notes(self) -> dict[str, str]:
        """For the footer of the table."""
        return {
            _MARKED: json.dumps(self.marked.as_dict(), sort_keys=True),
            _ENTITIES: _packed(np.diff(self.entities, prepend=np.int32(0))),
            _RANKS: _packed(self.ranks),
        }

    @classmethod
    def of(cls, footer: Footer | None) -> LinkSummary | None:
        """What `notes` wrote; `None` where it is not there or not whole."""
        if footer is None:
            return None
        try:
            entities = np.cumsum(_unpacked(footer.notes[_ENTITIES], "<i4"), dtype=np.int32)
            return cls(
                footer.rows,
                MarkedCounts.of(json.loads(footer.notes[_MARKED])),
                entities,
                _unpacked(footer.notes[_RANKS], "<u2").astype(np.uint16),
            )
        except (KeyError, ValueError, TypeError, zlib.error):
            return None


@dataclass
class BestRanks:
    """The best rank of each entity, gathered over the texts of a shard."""

    ranks: dict[str, int] = field(default_factory=dict)

    def add(self, links: Iterable[Link]) -> None:
        """The links of one text, a mention's together and by falling score."""
        mention, rank = -1, 0
        for link in links:
            rank = rank + 1 if link.mention == mention else 0
            mention = link.mention
            self.ranks[link.entity] = min(rank, self.ranks.get(link.entity, rank))

    def summary(self, kb: KnowledgeBase, rows: int, marked: MarkedCounts) -> LinkSummary:
        """Of them and the counts of the shard."""
        entities = kb.rows(list(self.ranks))
        order = np.argsort(entities, kind="stable")[int((entities < 0).sum()) :]
        ranks = np.minimum(np.fromiter(self.ranks.values(), np.int64, len(entities)), _NOWHERE - 1)
        return LinkSummary(rows, marked, entities[order], ranks[order].astype(np.uint16))


@dataclass
class CorpusSummary:
    """Of the links of all shards; memory grows with the knowledge base, and not with the shards' entities.

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
        """Of no shard, beside a knowledge base of so many entities."""
        return cls({}, MarkedCounts(), np.full(entities, _NOWHERE, np.uint16))

    def add(self, shard: str, links: LinkSummary) -> None:
        """One more shard, by its fingerprint. What is counted of pieces depends on the order, where there are many."""
        self.rows[shard] = links.rows
        self.marked += links.marked
        self.best[links.entities] = np.minimum(self.best[links.entities], links.ranks)

    def judged(self, max_candidates: int) -> NDArray[np.int64]:
        """Rows in the knowledge base, ascending, of the entities that some image judges."""
        return np.flatnonzero((self.best < max_candidates) & (self.best < _NOWHERE))


def _packed(values: NDArray[np.int32] | NDArray[np.uint16]) -> str:
    little = values.astype(values.dtype.newbyteorder("<"))
    return base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii")


def _unpacked(text: str, kind: str) -> NDArray[np.integer[Any]]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)
