"""Batches of items in order, the next of them being prepared in threads while the caller works on one.

    caller: reads items ─► `ahead`: decoding threads ─► `lane`: a device ─► `lane`: tables

Nothing waits for a table to be written, and a device for nothing but images; what each part holds is bounded.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, ParamSpec, Protocol, TypeVar

from openmofi.engine.protocol import cores

Item = TypeVar("Item")
Result = TypeVar("Result")
Given = ParamSpec("Given")


class Lane(Protocol):
    """Hands work to the thread of `lane`."""

    def __call__(self, work: Callable[Given, Result], /, *given: Given.args, **named: Given.kwargs) -> Future[Result]:
        """Do `work` after all that came before; waits where too much is waiting.

        Raises:
            Exception: what earlier work raised.
        """


def ahead(
    items: Iterable[Item], work: Callable[[Item], Result], size: int, *, threads: int = 0, depth: int = 2
) -> Generator[list[tuple[Item, Result]]]:
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


@contextmanager
def lane(depth: int = 1) -> Generator[Lane]:
    """A thread that does work in the order in which it comes; at the end of the block all is done.

    What work raises is raised in the caller, when it next brings some or at the end. Where the block raises, what has
    not begun is not done. Work may wait for the future of a lane that was entered later.

    Args:
        depth: how many pieces of work may wait beside the one that is being done.

    Raises:
        MemoryError: the thread cannot be started.
    """
    waiting = deque[Future[Any]]()
    with ThreadPoolExecutor(1) as pool:

        def bring(work: Callable[Given, Result], /, *given: Given.args, **named: Given.kwargs) -> Future[Result]:
            while waiting and (len(waiting) > depth or waiting[0].done()):
                waiting.popleft().result()
            future = _submitted(pool, work, *given, **named)
            waiting.append(future)
            return future

        try:
            yield bring
            while waiting:
                waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _submitted(
    pool: ThreadPoolExecutor, work: Callable[Given, Result], /, *given: Given.args, **named: Given.kwargs
) -> Future[Result]:
    try:
        return pool.submit(work, *given, **named)
    except RuntimeError as error:
        # Python starts its threads here, and has no error of its own for a machine that has no room for another.
        raise MemoryError(f"{error} to decode images") from error
