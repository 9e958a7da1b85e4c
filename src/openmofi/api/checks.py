"""`openmofi.check_pairs`: what a job would read, before one begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Unpack

from openmofi.api.given import Pairs, public, shards_of
from openmofi.config import changed
from openmofi.pairs.read_settings import ReadSettings

if TYPE_CHECKING:
    from openmofi.api.changes import CheckPairsChanges
    from openmofi.schema import PairStatus
    from openmofi.storage import Shard

EXAMPLES = 5


@dataclass(frozen=True)
class CheckedPair:
    """A pair as it was read.

    Attributes:
        shard, key, text: see `openmofi.schema.Pair`.
        row: in its shard, from 1 on.
        status: `ok`, or why it cannot be used.
        width, height: of the image in pixels; 0 where it cannot be decoded.
    """

    shard: str
    row: int
    key: str
    text: str
    status: PairStatus
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class CheckedPairs:
    """What was read.

    Attributes:
        shards: how many there are; the pairs of the first ones are read.
        status: status → pairs; `ok` can be used.
        examples: the first pairs that can be used.
        unusable: the first ones of each other status.
    """

    shards: int
    status: Mapping[PairStatus, int] = field(default_factory=dict)
    examples: tuple[CheckedPair, ...] = ()
    unusable: tuple[CheckedPair, ...] = ()


@public(ReadSettings)
def check_pairs(
    pairs: Pairs, *, limit: int = 1000, settings: ReadSettings | None = None, **changes: Unpack[CheckPairsChanges]
) -> CheckedPairs:
    """Read the first pairs, decode their images, and count what can be used.

    Args:
        limit: pairs to read, at most.

    Raises:
        UsageError: no shard matches, or no text or image column was recognised; columns are named by settings.
        OpenMofiError: a shard is damaged.
    """
    from openmofi.schema import PairStatus

    shards, read = shards_of(pairs), changed(settings or ReadSettings(), changes)
    counts: Counter[PairStatus] = Counter()
    examples: list[CheckedPair] = []
    unusable: list[CheckedPair] = []
    for pair in islice(_checked(shards, read), limit):
        kept = examples if pair.status == PairStatus.OK else unusable
        if (counts[pair.status] if kept is unusable else len(kept)) < EXAMPLES:
            kept.append(pair)
        counts[pair.status] += 1
    return CheckedPairs(len(shards), dict(counts), tuple(examples), tuple(unusable))


def _checked(shards: Sequence[Shard], read: ReadSettings) -> Iterator[CheckedPair]:
    from openmofi.pairs import ImageRefused, decode, read_pairs
    from openmofi.schema import PairStatus

    for shard in shards:
        for row, pair in enumerate(read_pairs(shard, read), 1):
            status, width, height = pair.status, 0, 0
            if status == PairStatus.OK:
                assert pair.image is not None
                try:
                    decoded = decode(pair.image)
                    width, height = decoded.width, decoded.height
                except ImageRefused as refused:
                    status = refused.status
            yield CheckedPair(shard.path, row, pair.key, pair.text, status, width, height)
