"""What was computed last, kept in memory up to a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """Values by keys, those that were asked for last; threads may share it.

    Args:
        most: weight of all values, at most; the latest one is kept whatever it weighs.
        weight: of a value; each counts one where not given.
    """

    def __init__(self, most: int, weight: Callable[[V], int] = lambda value: 1) -> None:
        self._most, self._weight = most, weight
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._sum = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        """The value of a key, or `None`."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Hashable, value: V) -> V:
        """Keep a value, and return it."""
        with self._lock:
            if key in self._values:
                self._sum -= self._weight(self._values.pop(key))
            self._values[key] = value
            self._sum += self._weight(value)
            while self._sum > self._most and len(self._values) > 1:
                self._sum -= self._weight(self._values.popitem(last=False)[1])
            return value
