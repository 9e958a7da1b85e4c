"""`openmofi fetch` beside img2dataset: 10,000 small JPEGs of 250 hosts, all of them this machine.

    python benchmarks/fetch.py --img2dataset ENV/bin/python

ENV is a virtual environment with `img2dataset==1.47.0`. Both keep the bytes as they come, take the sha256, have 64
connections in one process and shards of 1,000 rows, and take turns. Seconds are from the start of the first shard to
the end of the last, as both note them, so that no start of a process counts. OpenMOFI also reads each host's
robots.txt and the header of each image, and keeps to 4 connections a host; img2dataset does none of these. A last run
of OpenMOFI is against a server of which one request in five fails: rows without a status, and images that are not the
server's, are lost.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import harness

IMAGES, HOSTS, SIDE = 10_000, 250, 96
_OURS = """
import sys, openmofi
openmofi.fetch(sys.argv[1], sys.argv[2], allow_private=True, shard_size=1000, progress=False)
"""
_THEIRS = """
import sys
from img2dataset import download
if __name__ == "__main__":
    download(url_list=sys.argv[1], output_folder=sys.argv[2], input_format="csv", url_col="url", caption_col="caption",
             output_format="webdataset", processes_count=1, thread_count=64, number_sample_per_shard=1000,
             resize_mode="no", disable_all_reencoding=True, compute_hash="sha256", retries=2, timeout=10)
"""


def image(number: int) -> bytes:
    """Return the JPEG of a number: noise of 96 × 96 pixels, so that no two are equal."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(file, "JPEG", quality=85)
    return file.getvalue()


class Server(asyncio.Protocol):
    """Answers `GET /NUMBER`, as little else as can be; a share of `faults` gets a status, a cut body, or nothing."""

    images: ClassVar[list[bytes]] = []
    faults: ClassVar[float] = 0.0
    draw: ClassVar[random.Random] = random.Random(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are whole."""
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            name = head.split(b" ", 2)[1][1:]
            known = name.isdigit()
            fault = self.draw.choice(("status", "cut", "nothing")) if self.draw.random() < self.faults and known else ""
            body = self.images[int(name)] if known else b""
            status = b"503 Busy" if fault == "status" else b"200 OK" if known else b"404 Not Found"
            close = fault or b"connection: close" in head.lower()
            if fault != "nothing":
                self.transport.write(
                    b"HTTP/1.1 %b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n%b\r\n"
                    % (status, len(body), b"Connection: close\r\n" if close else b"")
                    + (body[: len(body) // 2] if fault == "cut" else body)
                )
            if close:
                self.transport.close()


def serve(faults: float) -> None:
    """Serve until this process is ended; the port is printed."""

    async def run() -> None:
        Server.images[:], Server.faults = [image(number) for number in range(IMAGES)], faults
        server = await asyncio.get_running_loop().create_server(Server, "0.0.0.0", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


def _job(python: str, script: str, table: Path, out: Path) -> tuple[float, float]:
    """Run a job; return the seconds from the start of its first shard to the end of its last, and those of the CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.py"
        file.write_text(script)
        own = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
        if python != sys.executable:
            own.pop("PYTHONPATH", None)
        done = subprocess.run([python, file, table, out], env=own, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-2000:]}")
    noted = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return max(each["end_time"] for each in noted) - min(each["start_time"] for each in noted), cpu


def _table(folder: Path, port: int) -> Path:
    path = folder / f"{port}.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "caption"])
        rows.writerows(
            [f"http://127.0.1.{number % HOSTS + 1}:{port}/{number}", f"{number}"] for number in range(IMAGES)
        )
    return path


def lost(out: Path) -> tuple[int, int]:
    """Return how many rows have no status, or another image than the server's, and how many have an image."""
    rows = [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    fetched = [row for row in rows if row["status"] == "success"]
    right = sum(row["sha256"] == hashlib.sha256(image(int(row["caption"]))).hexdigest() for row in fetched)
    return IMAGES - sum(bool(row["status"]) for row in rows) + len(fetched) - right, len(fetched)


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument(
        "--img2dataset", metavar="PYTHON", required="--serve" not in sys.argv, help="of an environment with img2dataset"
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--serve", type=float, metavar="FAULTS", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve)
        return
    seconds: dict[str, list[float]] = {"img2dataset 1.47": [], "openmofi fetch": []}
    cpu: dict[str, list[float]] = {name: [] for name in seconds}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with _server(0.0) as port:
            table = _table(folder, port)
            jobs = {"img2dataset 1.47": (arguments.img2dataset, _THEIRS), "openmofi fetch": (sys.executable, _OURS)}
            for turn in range(arguments.rounds):
                for name in list(jobs)[:: 1 if turn % 2 else -1]:
                    taken, used = _job(*jobs[name], table, folder / f"{name[:4]}-{turn}")
                    seconds[name].append(taken)
                    cpu[name].append(used)
            missing, fetched = lost(folder / f"open-{arguments.rounds - 1}")
            if missing or fetched < IMAGES:
                raise SystemExit(f"{missing} rows lost, {fetched} fetched")
        with _server(0.2) as port:
            _job(sys.executable, _OURS, _table(folder, port), folder / "faults")
            missing, fetched = lost(folder / "faults")
    rows = harness.summarise(seconds, IMAGES)
    for name, each in cpu.items():
        rows[name]["cpu_s"] = statistics.median(each)
    harness.show("fetch", rows, "images", ["cpu_s"])
    ratios = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
    harness.write_result(
        "fetch",
        rows,
        {
            "fetch_over_img2dataset": statistics.median(ratios),
            "fetch_over_img2dataset_least": min(ratios),
            "fetch_over_img2dataset_greatest": max(ratios),
            "fetch_rows_lost_with_faults": missing,
            "fetch_fetched_with_faults": fetched / IMAGES,
        },
    )


class _server:
    """A server in a process of its own for as long as the block runs; gives its port."""

    def __init__(self, faults: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(faults)], stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    main()
