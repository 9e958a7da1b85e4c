"""How much of a corpus' texts is boilerplate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
