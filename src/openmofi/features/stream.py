"""Batches of items in order, the next of them being prepared in threads while the caller works on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from openmofi.engine.cores import cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterable[Item], work: Callable[[Item], Result], size: int, *, threads: int = 0,
          depth: int = 2) -> Iterator[list[tuple[Item, Result]]]:
    """Apply `work` to `items` in threads; yield batches in the order of `items`.

    While the caller holds one batch, the next `depth` are being prepared. Which thread does what does not change the
    result. Decoders of Pillow and libjpeg release Python's lock, so that threads suffice.

    Args:
        items: read by the caller's thread, lazily.
        work: thread-safe. What it raises is raised here, when its batch is due.
        size: items a batch; the last may be shorter.
        threads: 0 for one a core of this process.
        depth: batches that are prepared ahead.

    Raises:
        MemoryError: no thread can be started.
    """
    stream, waiting = iter(items), deque[list[tuple[Item, Future[Result]]]]()
    with ThreadPoolExecutor(threads or cores()) as pool:
        try:
            while batch := list(islice(stream, size)):
                waiting.append([(item, _submitted(pool, work, item)) for item in batch])
                if len(waiting) > depth:
                    yield [(item, future.result()) for item, future in waiting.popleft()]
            while waiting:
                yield [(item, future.result()) for item, future in waiting.popleft()]
        finally:
            # An error or a caller that stops early must not wait for what nobody will take.
            pool.shutdown(wait=True, cancel_futures=True)


def _submitted(pool: ThreadPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(work, item)
    except RuntimeError as error:
        # Python starts its threads here, and has no error of its own for a machine that has no room for another.
        raise MemoryError(f"{error} to decode images") from error
