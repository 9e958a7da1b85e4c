"""Fetches the images of rows, several hosts at once, into a spool; every row gets a status."""

from __future__ import annotations

import _thread
import asyncio
import hashlib
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

from openmofi.errors import first_line
from openmofi.pairs.text import printable
from openmofi.plugins.fetch import SUCCESS, FetchSettings
from openmofi.plugins.fetch.web import Failure, Web, host_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Spool:
    """Images in the order in which they came, on a disk: `places` has offset and size of each key's."""

    file: IO[bytes]
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, key: str, image: bytes) -> None:
        """Write an image."""
        self.places[key] = self.file.seek(0, 2), len(image)
        self.file.write(image)

    def read(self, key: str) -> bytes:
        """Read an image."""
        offset, size = self.places[key]
        self.file.seek(offset)
        return self.file.read(size)


class RowFetcher:
    """A client that lives from shard to shard, with its connections and what it knows of hosts.

    Args:
        settings: see there.
    """

    def __init__(self, settings: FetchSettings) -> None:
        async def opened() -> Web:
            return Web(settings)

        runner = asyncio.Runner()
        self._runner, self._web, self._per_host = runner, (web := _run(runner.run, opened())), settings.per_host
        weakref.finalize(self, _thread.start_new_thread, _closed, (runner, web))

    def fetch(self, rows: Sequence[Row], spool: Spool) -> None:
        """Fetch the images of rows into the spool, and complete the rows: what came of each.

        Raises:
            OSError, MemoryError: this machine is short of something.
        """
        try:
            _run(self._runner.run, self._fetched(rows, spool))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _fetched(self, rows: Sequence[Row], spool: Spool) -> None:
        self._web.forget()
        waiting: dict[str, deque[Row]] = defaultdict(deque)
        for row in rows:
            waiting[host_of(row["url"])].append(row)

        async def work(queue: deque[Row]) -> None:
            while queue:
                row = queue.popleft()
                row |= await self._outcome(row, spool)

        async with asyncio.TaskGroup() as workers:
            for queue in waiting.values():
                for _ in range(min(self._per_host, len(queue))):
                    workers.create_task(work(queue))

    async def _outcome(self, row: Row, spool: Spool) -> Row:
        """Fetch an image into the spool, and return the fields that say how that ended."""
        ended = dict.fromkeys(("error_message", "width", "height", "sha256", "final_url", "http_status"))
        try:
            fetched = await self._web.image(row["url"] or "")
            spool.add(row["key"], fetched.image)
            ended |= Row(status=SUCCESS, width=fetched.width, height=fetched.height, final_url=printable(fetched.url))
            ended |= Row(http_status=200, sha256=hashlib.sha256(fetched.image).hexdigest())
        except (OSError, MemoryError):  # of this machine: the web's are failures
            raise
        except Exception as error:
            failure = error if isinstance(error, Failure) else Failure(f"{type(error).__name__}: {first_line(error)}")
            ended |= Row(status=failure.status, error_message=printable(failure.why))
            ended["http_status"] = failure.http_status or None
        return ended | {"fetched_at": datetime.now(UTC).isoformat(timespec="seconds")}


def _closed(runner: asyncio.Runner, web: Web) -> None:
    """Close a client, in a thread of its own: the garbage collector may ask for it within whatever another client does,
    and a lock that this waits for may be held there.
    """
    runner.run(web.close())
    runner.close()


def _run(function: Callable[..., Any], *given: Any) -> Any:
    """Call what runs a loop; in a thread where this one has a loop of its own, as notebooks have."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function(*given)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *given).result()
