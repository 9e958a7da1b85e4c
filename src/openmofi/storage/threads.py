"""Many small files at once: opening, hashing and waiting for a store are done in threads side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

_THREADS, _TOGETHER, _AHEAD = 16, 16, 64
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map`, in threads; the results are in the order of the items, of which some 1,000 are in work.

    Args:
        function: thread-safe; an exception of it is raised in its item's turn.
        items: what it is called with.
    """

    def several(some: list[Item]) -> list[Result]:
        return [function(item) for item in some]

    remaining = iter(items)
    with ThreadPoolExecutor(_THREADS) as pool:
        while ahead := [some for _ in range(_AHEAD) if (some := list(islice(remaining, _TOGETHER)))]:
            yield from chain.from_iterable(pool.map(several, ahead))
