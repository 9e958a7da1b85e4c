"""How often a client may ask: a token bucket each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_CLIENTS = 10_000
_SECONDS = 10.0


class Limits:
    """Token buckets, by client. Not for several threads: the event loop asks.

    Args:
        rate: tokens that a client gets a second; 0 for no limit. A bucket holds those of ten seconds.
        clock: seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, rate * _SECONDS, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> int:
        """Take tokens of a client: 0 where it has them, else the seconds after which it will."""
        if not self._rate:
            return 0
        now = self._clock()
        left, when = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + (now - when) * self._rate)
        enough = left >= min(cost, self._most)
        self._buckets[client] = (left - cost if enough else left, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if enough else math.ceil((cost - left) / self._rate)
