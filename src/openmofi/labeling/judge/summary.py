"""What the labels of a shard say on the whole: noted in the footer of their table, so that no row of it is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.storage.tables.footers import Footer

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
