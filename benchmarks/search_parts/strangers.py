"""A client beside strangers who are idle, stall or are slow; and kills of a server that writes.

The server may open 1,024 files. A client searches by one connection, alone and beside strangers by turns;
`p99_over_alone` is the median of the turns' ratios. Strangers are in a process of their own, hold their connections as
long as they may, and open closed ones again after two to eight seconds:

- `idle and stalled`: 1,100 connections that send nothing, and 8 uploads that stop after 100 bytes of a megabyte.
- `byte by byte`: 200 connections that send headers without end, a byte a second.

Meanwhile `/healthz` is asked over a new connection four times a second. `wrong` are answers other than 200 and broken
connections of the client, `health_failed` those of `/healthz`, `tracebacks` what the server logged.

Kills: the server is sent verdicts, one a request, while another process removes images, and is killed with SIGKILL.
`lost` are verdicts and removals that were acknowledged and are missing: in a copy that may only be read (by a user
without rights, who cannot make SQLite's files), and then in the folder itself, opened again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import shutil
import signal
import statistics
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from search_parts.served import FreeTexts, ask, serving, started

FILES, IDLE, STALLED, SLOW = 1024, 1100, 8, 200
TURNS, SECONDS, AGAIN, KILLS = 5, 8.0, (2.0, 8.0), 20
_UPLOAD = b"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(100)
_HEADERS = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: "
_NOBODY = 65534


def _limited(pipe: Connection, work: Path, folder: Path, log: Path) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    serving(pipe, work, folder, log, FreeTexts)


def _strangers(pipe: Connection, address: str) -> None:
    """Attack in each kind that is asked for until told to stop; how many connections were made and closed by then."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    while (kind := pipe.recv()) is not None:
        pipe.send(asyncio.run(_attack(pipe, kind, urlsplit(address).netloc.split(":"))))


async def _attack(pipe: Connection, kind: str, where: list[str]) -> dict[str, int]:
    made = closed = 0
    draw = np.random.default_rng(5)
    first = asyncio.Event()

    async def stranger(begins: bytes, drips: bool) -> None:
        nonlocal made, closed
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(*where)
                made += 1
                if made >= count:
                    first.set()
                try:
                    writer.write(begins)
                    while drips and not reader.at_eof():
                        writer.write(b"a")
                        await writer.drain()
                        await asyncio.sleep(1)
                    await reader.read()
                    closed += 1
                finally:
                    writer.close()
            await asyncio.sleep(float(draw.uniform(*AGAIN)))

    each = [(_HEADERS, True)] * SLOW
    if kind == "idle and stalled":
        each = [(b"", False)] * IDLE + [(_UPLOAD, False)] * STALLED
    count = len(each)
    tasks = [asyncio.create_task(stranger(*one)) for one in each]
    with suppress(TimeoutError):
        await asyncio.wait_for(first.wait(), 30)
    pipe.send("up")
    while not pipe.poll():
        await asyncio.sleep(0.1)
    pipe.recv()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"connections": made, "closed_by_server": closed}


async def _healthy(address: str, seconds: float) -> tuple[int, list[float]]:
    """How often `/healthz` failed, and how long its answers took."""
    failed, latencies, end = 0, list[float](), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(*urlsplit(address).netloc.split(":"))
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
            failed += not answer.startswith(b"HTTP/1.1 200")
            latencies.append(time.perf_counter() - begun)
        except (OSError, TimeoutError):
            failed += 1
        await asyncio.sleep(0.25)
    return failed, latencies


async def _both(address: str, numbers: Any) -> tuple[list[float], list[str], int, list[float]]:
    (latencies, wrong), (failed, health) = await asyncio.gather(
        ask(address, SECONDS, 1, lambda number, answer: None, numbers), _healthy(address, SECONDS)
    )
    return latencies, wrong, failed, health


def strangers(work: Path) -> list[dict[str, Any]]:
    """Rows of the client beside strangers, and of kills."""
    rows, numbers = list[dict[str, Any]](), itertools.count()
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        pipe, server = started(_limited, work, work / "index", log)
        address = pipe.recv()
        attack, attacker = started(_strangers, address)
        asyncio.run(ask(address, 2, 1, lambda number, answer: None, numbers))
        alone, beside = dict[str, list[float]](), dict[str, list[float]]()
        for kind in ("idle and stalled", "byte by byte"):
            ratios, counts, wrong, failed, health = list[float](), list[dict[str, int]](), list[str](), 0, list[float]()
            alone[kind], beside[kind] = [], []
            for _ in range(TURNS):
                some, some_wrong, some_failed, _ = asyncio.run(_both(address, numbers))
                attack.send(kind)
                attack.recv()
                among, among_wrong, among_failed, among_health = asyncio.run(_both(address, numbers))
                attack.send("stop")
                counts.append(attack.recv())
                wrong, failed = wrong + some_wrong + among_wrong, failed + some_failed + among_failed
                health += among_health
                ratios.append(float(np.percentile(among, 99) / np.percentile(some, 99)))
                alone[kind] += some
                beside[kind] += among
            rows.append(
                {
                    "contender": f"a client beside strangers, {kind}",
                    "queries": len(beside[kind]),
                    "wrong": len(wrong),
                    "what": "; ".join(wrong[:3]),
                    "alone_p50_ms": _ms(alone[kind], 50),
                    "alone_p99_ms": _ms(alone[kind], 99),
                    "p50_ms": _ms(beside[kind], 50),
                    "p99_ms": _ms(beside[kind], 99),
                    "health_failed": failed,
                    "health_max_ms": _ms(health, 100),
                    "p99_over_alone_by_turn": [round(each, 3) for each in ratios],
                    **{name: sum(each[name] for each in counts) for name in counts[0]},
                    "ratios": {
                        f"{kind.replace(' ', '_')}_p99_over_alone": round(statistics.median(ratios), 3),
                        f"{kind.replace(' ', '_')}_failed": len(wrong) + failed,
                    },
                }
            )
        attack.send(None)
        attacker.join(30)
        server.terminate()
        server.join(30)
        rows[0] |= {"tracebacks": log.read_text("utf-8", "replace").count("Traceback"), "server_exit": server.exitcode}
    return [*rows, _kills(work)]


def _ms(seconds: list[float], percentile: float) -> float:
    return round(1000 * float(np.percentile(seconds, percentile)), 2)


def _kills(work: Path) -> dict[str, Any]:
    """A row of kills in the midst of verdicts and commits."""
    draw, lost, kept, removed, logged = np.random.default_rng(4), list[str](), 0, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        folder, copy = Path(scratch) / "index", Path(scratch) / "copy"
        shutil.copytree(work / "index", folder)
        for number in range(KILLS):
            pipe, server = started(serving, work, folder, Path(os.devnull), FreeTexts)
            address = pipe.recv()
            removals, remover = started(_removing_images, folder, removed)
            removed = removals.recv()
            kept += asyncio.run(_judged(address, server.pid or 0, float(draw.uniform(0.3, 2))))
            os.kill(remover.pid or 0, signal.SIGKILL)
            server.join()
            remover.join()
            while removals.poll():
                try:
                    removed = removals.recv()
                except EOFError:
                    break
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            logged += (copy / "index.db-wal").exists() and (copy / "index.db-wal").stat().st_size > 0
            if number % 2:  # also where the file of shared memory was not copied
                (copy / "index.db-shm").unlink(missing_ok=True)
            for where, user in ((copy, _NOBODY), (folder, 0)):
                found = _held(where, user)
                if found["verdicts"] < kept or found["removed"] < removed:
                    lost.append(f"{where.name} {number}: {found}, not {kept} and {removed}")
            # What was committed and not acknowledged counts from now on.
            kept, removed = found["verdicts"], found["removed"]
    return {
        "contender": f"{KILLS} kills of a server that writes",
        "verdicts": kept,
        "commits": removed,
        "with_log": logged,
        "lost": len(lost),
        "what": "; ".join(lost[:3]),
        "ratios": {"kills_lost": len(lost)},
    }


async def _judged(address: str, server: int, seconds: float) -> int:
    """Verdicts that were acknowledged before the server was killed."""
    asyncio.get_running_loop().call_later(seconds, os.kill, server, signal.SIGKILL)
    reader, writer = await asyncio.open_connection(*urlsplit(address).netloc.split(":"))
    body = msgspec.json.encode([{"shard": "nowhere", "key": "0000000", "entity": "Q1", "verdict": "y"}])
    kept = 0
    with suppress(OSError, EOFError):
        while True:
            writer.write(
                b"POST /api/verdicts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
            kept += head.startswith(b"HTTP/1.1 201")
    writer.close()
    return kept


def _removing_images(pipe: Connection, folder: Path, first: int) -> None:
    from openmofi.search import remove

    for number in range(first, 10**6):
        remove(folder, [f"nowhere/{number:07}"])
        pipe.send(number + 1)
        time.sleep(0.02)  # the server writes too


def _held(folder: Path, user: int) -> dict[str, int]:
    """Verdicts of an index and images that it no longer has, read in a child by a user."""
    ours, child = started(_reading, folder, user)
    found: dict[str, int] = ours.recv()
    child.join()
    return found


def _reading(pipe: Connection, folder: Path, user: int) -> None:
    from openmofi.search import Index

    if user and not os.getuid():
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        os.setuid(user)
    assert os.access(folder, os.W_OK) != bool(user)
    index = Index.open(folder)
    ((images,),) = index.connection.execute("SELECT max(id) - count(*) FROM images")
    pipe.send({"verdicts": len(index.verdicts()), "removed": int(images)})
