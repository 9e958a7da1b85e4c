"""How much of a corpus' texts is boilerplate; one file beside each shard's links."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage import write_json
from openmofi.storage.addresses import read_text

_PIECES, _MOST_PIECES = 50, 4096


@dataclass(frozen=True)
class MarkedCounts:
    """How much of a corpus, a shard or a block is boilerplate.

    Attributes:
        mentions, marked: mentions, and those in boilerplate.
        reasons: `Boilerplate` → mentions.
        pieces: repeated piece, in lower case → texts that it stands in. Of some thousands only the commonest are kept,
            of a shard in a file the commonest 50: where there are more, their counts are lower bounds.
    """

    mentions: int = 0
    marked: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    pieces: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: MarkedCounts) -> MarkedCounts:
        pieces = self.pieces + other.pieces
        if len(pieces) > _MOST_PIECES:
            pieces = Counter(dict(_commonest(pieces, _MOST_PIECES // 2)))
        return MarkedCounts(self.mentions + other.mentions, self.marked + other.marked, self.reasons + other.reasons,
                            pieces)

    def as_dict(self, pieces: int) -> dict[str, Any]:
        """Plain values; the commonest `pieces` only."""
        return {"mentions": self.mentions, "marked": self.marked, "reasons": dict(sorted(self.reasons.items())),
                "pieces": [list(item) for item in _commonest(self.pieces, pieces)]}

    def write(self, path: str) -> None:
        """Keep the counts of a shard."""
        write_json(path, self.as_dict(_PIECES))

    @classmethod
    def read(cls, path: str) -> MarkedCounts:
        """The counts that `write` kept.

        Raises:
            OpenMofiError: they are missing or damaged.
        """
        try:
            raw = json.loads(read_text(path))
            return cls(int(raw["mentions"]), int(raw["marked"]), Counter(raw["reasons"]), Counter(dict(raw["pieces"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OpenMofiError(f"{path} cannot be read: {error}.", "Remove it and start the command again.") from error

    @classmethod
    def is_kept(cls, path: str) -> bool:
        """Whether `write` kept counts at `path`, and they are not damaged."""
        try:
            cls.read(path)
        except OpenMofiError:
            return False
        return True


def _commonest(pieces: Counter[str], count: int) -> list[tuple[str, int]]:
    return sorted(pieces.items(), key=lambda item: (-item[1], item[0]))[:count]
