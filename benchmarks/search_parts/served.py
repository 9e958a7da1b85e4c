"""A server over the index, asked by 50 clients at once beside its encoder alone; and a soak.

Two encoders in turn: the text tower of a ViT-B/32 (random weights, two threads), as most indexes have one like it, and
the sample's, MiniLM (one thread), a fast one, so that what the server adds weighs much. It embeds each text, all of
which differ, and then answers with the vector of the query whose number the text ends with, so that what comes back can
be checked. `http_over_encoder` is requests a second over texts a second of the encoder alone, 32 at once;
`http_over_calls` is over what embeds 32 texts and then searches for each by calls of `Index`, in one thread. Server,
clients and both of these take turns on all cores, so that the clients' own work is part of what is measured; they are
lean: asyncio's streams, which take a fraction of the two milliseconds that HTTP libraries take a query
(`client_cpu_ms`). `encoder_share_of_cpu` is free of that: the processor's time of the encoder alone for a text, over
the server's for a query.

The soak goes on while another process removes an image every five seconds, which is a commit each time, and a verdict
is kept, read back and undone every second. Lost is an answer other than 200, one without the ten nearest (at least
nine, on average over the queries asked), or a verdict that is not there.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import re
import shutil
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from search_parts.world import ENCODER, Floats

CLIENTS, TURNS, SECONDS, AT_ONCE = 50, 3, 15.0, 32
_WORDS = "a red kite over the sea near the old harbour in the evening light"


class NumberedTexts:
    """Embeds texts with MiniLM, and answers with the vectors that they number."""

    fingerprint, name, suffix = ENCODER, "MiniLM", "_minilm"

    def __init__(self, queries: Floats) -> None:
        from openmofi.encoders import BACKBONE, open_encoder

        self._begin(1)
        self._queries, self._embed = queries, open_encoder(BACKBONE).text_features

    def _begin(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)

    def embed_images(self, images: list[Any]) -> Floats:
        """Not asked for."""
        return self._queries[: len(images)]

    def embed_texts(self, texts: list[str]) -> Floats:
        """(n, 256)."""
        self._embed(texts)
        return self._queries[[int(text.split()[-1]) if text[-1].isdigit() else 0 for text in texts]]


class LargeTexts(NumberedTexts):
    """The same with the text tower of a ViT-B/32, on two cores."""

    name, suffix = "ViT-B/32", ""

    def __init__(self, queries: Floats) -> None:
        from openmofi.encoders import open_encoder

        self._begin(2)
        self._queries, self._embed = queries, open_encoder("open_clip:ViT-B-32/none?seed=0").embed_texts


def _bare(pipe: Connection, work: Path, texts: type[NumberedTexts]) -> None:
    """Texts a second without HTTP, 32 at once, and CPU seconds of a text: of the encoder alone or with the search."""
    from openmofi.encoders import as_encoder
    from openmofi.search import Index, Query

    encoder, turn = texts(np.load(work / "queries.npy")), itertools.count()
    index = Index.open(work / "index", as_encoder(encoder))

    def embed(queries: list[str]) -> None:
        encoder.embed_texts(queries)

    def search(queries: list[str]) -> None:
        asked = [Query(text=text) for text in queries]
        for query, vector in zip(asked, index.vectors_of(asked), strict=True):
            index.search(query, vector)

    ways = {"encoder": embed, "calls": search}
    while (asked := pipe.recv()) is not None:
        way, seconds = asked
        begun, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - begun < seconds:
            ways[way]([f"{next(turn)} {_WORDS} {number}" for number in range(AT_ONCE)])
            count += AT_ONCE
        pipe.send((count / (time.perf_counter() - begun), (time.process_time() - cpu) / count))


class FreeTexts(NumberedTexts):
    """Numbers texts without the work of embedding them: what is left is the server and the search."""

    def __init__(self, queries: Floats) -> None:
        self._queries = queries

    def embed_texts(self, texts: list[str]) -> Floats:
        """(n, 256)."""
        return self._queries[[int(text.split()[-1]) if text[-1].isdigit() else 0 for text in texts]]


def serving(
    pipe: Connection, work: Path, folder: Path, log: Path = Path(os.devnull), texts: type[NumberedTexts] = NumberedTexts
) -> None:
    """Serve an index in this process; its address goes through the pipe."""
    from openmofi.encoders import as_encoder
    from openmofi.plugins.server import ServeSettings, serve
    from openmofi.search import Index

    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)  # a line for each request
    index = Index.open(folder, as_encoder(texts(np.load(work / "queries.npy"))))
    serve(index, ServeSettings(port=0, rate=0, no_token=True), on_start=pipe.send)


def _removing(folder: Path, seconds: float) -> None:
    from openmofi.search import remove

    for number in range(int(seconds / 5)):
        time.sleep(5)
        remove(folder, [f"nowhere/{number:07}"])


def started(target: Callable[..., None], *arguments: Any) -> tuple[Connection, multiprocessing.process.BaseProcess]:
    """A process that begins with one end of a pipe; the other end and the process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _used(process: int) -> tuple[float, float]:
    """CPU seconds of a process so far, and its resident MiB."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return ((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


async def ask(
    address: str,
    seconds: float,
    clients: int,
    check: Callable[[int, dict[str, Any]], None],
    numbers: itertools.count[int],
) -> tuple[list[float], list[str]]:
    """Latencies of all answers, and what was wrong with others."""
    latencies, wrong = list[float](), list[str]()
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection(*urlsplit(address).netloc.split(":"))
        while time.perf_counter() < end:
            number, begun = next(numbers), time.perf_counter()
            status, body = await asyncio.wait_for(_posted(reader, writer, f"{number} {_WORDS} {number % 1000}"), 120)
            if status == 200:
                latencies.append(time.perf_counter() - begun)
                check(number % 1000, msgspec.json.decode(body))
            else:
                wrong.append(f"{status}: {body[:200]!r}")
        writer.close()

    for ended in await asyncio.gather(*(client() for _ in range(clients)), return_exceptions=True):
        if isinstance(ended, OSError | EOFError):
            wrong.append(repr(ended))
        elif ended:
            raise ended
    return latencies, wrong


async def _posted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> tuple[int, bytes]:
    """Status and body of what a search by text is answered with, over a connection that stays."""
    body = msgspec.json.encode({"text": text})
    writer.write(
        b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(head[9:12]), await reader.readexactly(int(length[1]) if length else 0)


class _Checked:
    """Recall of the ten nearest over HTTP."""

    def __init__(self, work: Path) -> None:
        self._truth, self.found, self.wanted = np.load(work / "truth.npy")[:, :10], 0, 0

    def __call__(self, number: int, answer: dict[str, Any]) -> None:
        shown = {each - 1 for hit in answer["hits"] for each in (hit["image"]["id"], *hit["duplicates"])}
        self.found += len(shown & set(self._truth[number].tolist()))
        self.wanted += 10

    @property
    def recall(self) -> float:
        return self.found / max(self.wanted, 1)


def served(work: Path, soak: float | None, throughput: bool) -> dict[str, list[dict[str, Any]]]:
    """Rows of the stages `served` and `soak`."""
    results = {}
    if throughput:
        results["served"] = [_throughput(work, texts) for texts in (LargeTexts, NumberedTexts)]
        print(results["served"], flush=True)
    if soak:
        results["soak"] = _soak(work, soak)
        print(results["soak"], flush=True)
    return results


def _throughput(work: Path, texts: type[NumberedTexts]) -> dict[str, Any]:
    bare, _ = started(_bare, work, texts)
    pipe, server = started(serving, work, work / "index", Path(os.devnull), texts)
    address, numbers, check = pipe.recv(), itertools.count(), _Checked(work)
    asyncio.run(ask(address, 2, CLIENTS, lambda number, answer: None, numbers))
    ratios: dict[str, list[float]] = {"encoder": [], "calls": []}
    costs, latencies, wrong, rates = list[tuple[float, ...]](), list[float](), list[str](), list[float]()
    for way in ratios:  # warm
        bare.send((way, 1.0))
        bare.recv()
    for _ in range(TURNS):
        alone = {}
        for way in ratios:
            bare.send((way, SECONDS))
            alone[way] = bare.recv()
        begun, cpu, own = time.perf_counter(), _used(server.pid or 0)[0], time.process_time()
        some, failed = asyncio.run(ask(address, SECONDS, CLIENTS, check, numbers))
        rates.append(len(some) / (time.perf_counter() - begun))
        for way, (rate, _) in alone.items():
            ratios[way].append(rates[-1] / rate)
        used = (_used(server.pid or 0)[0] - cpu, time.process_time() - own)
        costs.append((alone["encoder"][1], alone["calls"][1], *(each / len(some) for each in used)))
        latencies, wrong = latencies + some, wrong + failed
    bare.send(None)
    server.terminate()
    server.join(30)
    p50, p99 = np.percentile(latencies, [50, 99])
    names = ("encoder_cpu_ms", "calls_cpu_ms", "server_cpu_ms", "client_cpu_ms")
    return {
        "contender": f"HTTP, {CLIENTS} clients, {texts.name}",
        "queries": len(latencies),
        "wrong": len(wrong),
        "recall_at_10": round(check.recall, 4),
        "queries_per_second": round(statistics.median(rates), 1),
        "p50_ms": round(1000 * p50),
        "p99_ms": round(1000 * p99),
        "server_exit": server.exitcode,
        **{f"over_{way}_by_turn": [round(each, 3) for each in some] for way, some in ratios.items()},
        **{
            name: round(1000 * statistics.median(some), 2)
            for name, some in zip(names, zip(*costs, strict=True), strict=True)
        },
        "load": round(os.getloadavg()[0], 1),  # on a busy machine speeds by the clock say little
        "encoder_share_of_cpu": round(statistics.median(cost[0] / cost[2] for cost in costs), 3),
        "ratios": {
            **{f"http_over_{way}{texts.suffix}": round(statistics.median(some), 3) for way, some in ratios.items()},
            f"p99_over_p50{texts.suffix}": round(float(p99 / p50), 2),
        },
    }


def _soak(work: Path, seconds: float) -> list[dict[str, Any]]:
    folder = work / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(work / "index", folder)
    pipe, server = started(serving, work, folder)
    address, numbers, check = pipe.recv(), itertools.count(), _Checked(work)
    writer = multiprocessing.get_context("spawn").Process(target=_removing, args=(folder, seconds), daemon=True)
    writer.start()
    memory, lost, verdicts = list[tuple[float, float]](), list[str](), 0

    async def judge(end: float, begun: float) -> None:
        nonlocal verdicts
        import httpx2

        async with httpx2.AsyncClient(timeout=120, base_url=address) as client:
            while time.perf_counter() < end:
                body = [{"shard": "nowhere", "key": "0000000", "entity": "Q1", "verdict": "y", "who": "soak"}]
                kept = (await client.post("/api/verdicts", json=body)).json()[0]["id"]
                held = [each["id"] for each in (await client.get("/api/verdicts")).json()]
                if held != [kept] or (await client.delete(f"/api/verdicts/{kept}")).status_code != 204:
                    lost.append(f"verdict {kept}: {held}")
                verdicts += 1
                memory.append((time.perf_counter() - begun, _used(server.pid or 0)[1]))
                await asyncio.sleep(1)

    async def both() -> tuple[list[float], list[str]]:
        begun = time.perf_counter()
        answers, _ = await asyncio.gather(ask(address, seconds, 8, check, numbers), judge(begun + seconds, begun))
        return answers

    latencies, wrong = asyncio.run(both())
    writer.join(120)
    server.terminate()
    server.join(30)
    quarter = seconds / 4
    early, late = (
        statistics.median(mib for when, mib in memory if quarter * part <= when < quarter * (part + 1))
        for part in (1, 3)
    )
    if check.recall < 0.9:
        lost.append(f"recall {check.recall:.3f}")
    shutil.rmtree(folder)
    return [
        {
            "contender": f"soak of {seconds:.0f} s, 8 clients",
            "queries": len(latencies),
            "verdicts": verdicts,
            "commits": int(seconds / 5),
            "recall_at_10": round(check.recall, 4),
            "lost": len(wrong) + len(lost),
            "what": "; ".join((wrong + lost)[:3]),
            "memory_mib": round(late),
            "server_exit": server.exitcode,
            "ratios": {"soak_lost": len(wrong) + len(lost), "soak_memory_growth": round(late / early, 4)},
        }
    ]
