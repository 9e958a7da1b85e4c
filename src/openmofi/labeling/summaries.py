"""How much of a corpus' texts is boilerplate.

What a shard's links say on the whole: noted in the footer of their table, so that a job's driver reads no rows.

What the labels of a shard say on the whole: noted in the footer of their table, so that no row of it is counted.

A few labels of a shard, for people who watch a job.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase
from openmofi.schema import LabelStatus, Link
from openmofi.storage.tables.footers import Footer

_PIECES, _MOST_PIECES = 50, 4096


@dataclass(frozen=True)
class MarkedCounts:
    """How much of a corpus, a shard or a block is boilerplate.

    Attributes:
        mentions, marked: mentions, and those in boilerplate.
        reasons: `Boilerplate` → mentions.
        pieces: repeated piece, in lower case → texts that it stands in. Of some thousands only the commonest are kept,
            of a shard the commonest 50: where there are more, their counts are lower bounds.
    """

    mentions: int = 0
    marked: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    pieces: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: MarkedCounts) -> MarkedCounts:
        pieces = self.pieces + other.pieces
        if len(pieces) > _MOST_PIECES:
            pieces = Counter(dict(_commonest(pieces, _MOST_PIECES // 2)))
        return MarkedCounts(
            self.mentions + other.mentions, self.marked + other.marked, self.reasons + other.reasons, pieces
        )

    def as_dict(self, pieces: int = _PIECES) -> dict[str, Any]:
        """Plain values; the commonest `pieces` only."""
        return {
            "mentions": self.mentions,
            "marked": self.marked,
            "reasons": dict(sorted(self.reasons.items())),
            "pieces": [list(item) for item in _commonest(self.pieces, pieces)],
        }

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> MarkedCounts:
        """What `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(int(raw["mentions"]), int(raw["marked"]), Counter(raw["reasons"]), Counter(dict(raw["pieces"])))


def _commonest(pieces: Counter[str], count: int) -> list[tuple[str, int]]:
    return sorted(pieces.items(), key=lambda item: (-item[1], item[0]))[:count]


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


_NOTE = "openmofi.labels.2"
_BINS = 1000
_UNITS = 1e6
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LabelSummary:
    """Of the labels of a shard, or of many, in whatever order these are added.

    Attributes:
        status: `LabelStatus` → rows.
        labels: (1000,) int64, how many accepted labels have a probability of n to n + 1 thousandths.
        sums: (1000,) int64, the sum of their probabilities, of each shard rounded to millionths.
        unread: images in formats that are not read, by format.
    """

    status: Counter[str] = field(default_factory=Counter)
    labels: Ints = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    sums: Ints = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    unread: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of_table(cls, table: pa.Table) -> LabelSummary:
        """Of label rows (`openmofi.schema.LABELS`)."""
        entities = table.column("entities").combine_chunks().flatten()
        probability = entities.field("probability").filter(entities.field("accepted")).to_numpy().astype(np.float64)
        bins = np.clip((probability * _BINS).astype(np.int64), 0, _BINS - 1)
        return cls(
            Counter(table.column("status").to_pylist()),
            np.bincount(bins, minlength=_BINS).astype(np.int64),
            np.rint(np.bincount(bins, probability, _BINS) * _UNITS).astype(np.int64),
        )

    def __add__(self, other: LabelSummary) -> LabelSummary:
        return LabelSummary(
            self.status + other.status, self.labels + other.labels, self.sums + other.sums, self.unread + other.unread
        )

    @property
    def accepted(self) -> int:
        """Labels."""
        return int(self.labels.sum())

    @property
    def expected_precision(self) -> float | None:
        """The mean of the labels' probabilities; `None` without labels."""
        return float(self.sums.sum() / _UNITS / self.accepted) if self.accepted else None

    @property
    def probabilities(self) -> tuple[Doubles, Doubles]:
        """(k,) the means of the bins that hold labels, and how many each holds."""
        held = self.labels > 0
        return self.sums[held] / _UNITS / self.labels[held], self.labels[held].astype(np.float64)

    def notes(self) -> dict[str, str]:
        """For the footer of the table."""
        held = np.flatnonzero(self.labels)
        plain = {
            "status": dict(sorted(self.status.items())),
            "unread": dict(sorted(self.unread.items())),
            "bins": [[int(place), int(self.labels[place]), int(self.sums[place])] for place in held],
        }
        return {_NOTE: json.dumps(plain)}

    @classmethod
    def of(cls, footer: Footer | None) -> LabelSummary | None:
        """What `notes` wrote; `None` where it is not there or not whole."""
        if footer is None:
            return None
        try:
            raw = json.loads(footer.notes[_NOTE])
            return cls(Counter(raw["status"]), _binned(raw["bins"], 1), _binned(raw["bins"], 2), Counter(raw["unread"]))
        except (KeyError, ValueError, TypeError, IndexError):
            return None


def _binned(rows: Sequence[Sequence[Any]], column: int) -> Ints:
    values = np.zeros(_BINS, np.int64)
    for row in rows:
        values[row[0]] = row[column]
    return values


EXAMPLES = 3
_TEXT = 200


def examples_of(labels: pa.Table, kb: KnowledgeBase, most: int = EXAMPLES) -> list[dict[str, Any]]:
    """Labelled pairs, evenly spread over a table of labels: `key`, `text`, `name` and `probability` of the best label.

    Args:
        labels: `schema.LABELS`.
        kb: gives the names.
        most: so many pairs.
    """
    labelled = pc.indices_nonzero(pc.equal(labels["status"], str(LabelStatus.LABELLED))).to_numpy()
    if not len(labelled):
        return []
    rows = labelled[np.unique(np.linspace(0, len(labelled) - 1, most).astype(np.int64))]
    shown = []
    for row in labels.select(["key", "text", "entities"]).take(pa.array(rows)).to_pylist():
        best = max(
            (entity for entity in row["entities"] if entity["accepted"]),
            key=lambda entity: float(entity["probability"]),
        )
        shown.append(
            {
                "key": row["key"],
                "text": row["text"][:_TEXT],
                "name": kb[best["entity"]].name,
                "probability": float(best["probability"]),
            }
        )
    return shown
