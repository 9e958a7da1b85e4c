"""Queries that come at the same time go through the encoder together, in one thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from openmofi.encoders import Array
from openmofi.errors import OpenMofiError
from openmofi.search.index import Index
from openmofi.search.query import Query

T = TypeVar("T")
_Waiting = tuple[Query, "asyncio.Future[Array | None]"]


class EncoderQueue:
    """What waits for the encoder of an index.

    While a batch is computed the next one gathers, so that a busy encoder has large batches and an idle one no delay
    other than `wait`.

    Args:
        index: whose encoder.
        batch: most queries of a batch.
        wait: seconds that the first query of a batch waits for others.
        observe: called with the size of each batch.
    """

    def __init__(self, index: Index, batch: int, wait: float, observe: Callable[[int], object]) -> None:
        self._index, self._batch, self._wait, self._observe = index, batch, wait, observe
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def vector(self, query: Query) -> Array | None:
        """The query's vector, see `Index.vectors_of`.

        Raises:
            OpenMofiError: as `Index.vectors_of`.
        """
        future: asyncio.Future[Array | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def call(self, function: Callable[[], T]) -> T:
        """Run what needs the encoder in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        await asyncio.sleep(self._wait)
        while self._waiting:
            # Whoever has gone away meanwhile needs no vector.
            batch = [(query, future) for query, future in self._waiting if not future.cancelled()]
            batch, self._waiting = batch[: self._batch], batch[self._batch :]
            if batch:
                await self._compute(batch)

    async def _compute(self, batch: list[_Waiting]) -> None:
        self._observe(len(batch))
        try:
            vectors = await self.call(lambda: self._index.vectors_of([query for query, _ in batch]))
        except OpenMofiError as error:
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            for each in batch:  # one of them is at fault, the others are not
                await self._compute([each])
        except Exception as error:
            for _, future in batch:
                _fail(future, error)
        else:
            for (_, future), vector in zip(batch, vectors, strict=True):
                if not future.cancelled():
                    future.set_result(vector)


def _fail(future: asyncio.Future[Array | None], error: Exception) -> None:
    if not future.cancelled():
        future.set_exception(error)
