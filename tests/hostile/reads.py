"""Reads damaged shards of every format in processes of their own: pairs, or an error of ours, within bounded memory.

    python -m hostile.reads FORMAT FIRST READS SEED RESULTS     # one process; `read_damaged` starts them

Each read has a number; format, seed and number repeat it. The number is written down before the read, so that a process
that dies names its killer, and the next one goes on behind it.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import logging
import lzma
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.plugins.wikidata.slots import unpacked
from openmofi.schema import PairStatus
from openmofi.storage import Shard
from tests.pairs.tars import tar_bytes

ROWS = 24
STATE = b"""{"_data_files": [{"filename": "data-0.arrow"}], "_fingerprint": "8f2c0e55d2a1b3c4", "_format_columns": null,
"_format_kwargs": {}, "_format_type": null, "_output_all_columns": false, "_split": "train"}"""
SECONDS = 60
ADDRESS_SPACE = 6 << 30
GROWTH_MIB = 400
"""By how much a process may grow over what it takes to have read the sound shard."""


@dataclass
class Outcome:
    """What became of the reads of a format.

    Attributes:
        counts: `whole` reads, those `refused` by an error of ours, and `rows` that came, of these `with_status`.
        broken: number of a read → what it raised, or how it ended its process.
        peak: MiB that the largest process grew by.
    """

    counts: Counter[str] = field(default_factory=Counter)
    broken: dict[int, str] = field(default_factory=dict)
    peak: int = 0

    @property
    def reads(self) -> int:
        return self.counts["whole"] + self.counts["refused"] + len(self.broken)

    @property
    def crashes(self) -> int:
        return sum(why.startswith("ended the process") for why in self.broken.values())


def images() -> list[bytes]:
    draw = np.random.default_rng(3)
    return [draw.bytes(int(draw.integers(200, 1500))) for _ in range(ROWS)]


def sound_tar() -> bytes:
    return tar_bytes(
        [
            member
            for number, image in enumerate(images())
            for member in (
                (f"v1.{number:03d}.jpg", image),
                (f"v1.{number:03d}.json", b'{"url": "u", "caption": "a"}'),
                (f"v1.{number:03d}.txt", f"the sun {number}".encode()),
            )
        ]
    )


def table(*, encoded: bool = False) -> pa.Table:
    texts, pictures = pa.array([f"the sun {number % 5}" for number in range(ROWS)]), pa.array(images())
    return pa.table(
        {
            "image": pa.StructArray.from_arrays([pictures, pa.nulls(ROWS, pa.string())], ["bytes", "path"])
            if not encoded
            else pictures.dictionary_encode(),
            "text": texts.dictionary_encode() if encoded else texts,
            "url": pa.array([None, "u"] * (ROWS // 2)),
            "key": pa.array([f"k{number}" for number in range(ROWS)]),
        }
    )


def sound_parquet(*, encoded: bool = False) -> bytes:
    out = io.BytesIO()
    pq.write_table(table(encoded=encoded), out, row_group_size=10, compression="zstd" if encoded else "snappy")
    return out.getvalue()


def sound_stream(*, packed: bool = False) -> bytes:
    out = io.BytesIO()
    data = table(encoded=packed).append_column("texts", pa.array([["a", "b"]] * ROWS))
    with pa.ipc.new_stream(
        out, data.schema, options=pa.ipc.IpcWriteOptions(compression="zstd" if packed else None)
    ) as writer:
        writer.write_table(data, max_chunksize=8)
    return out.getvalue()


def rows_of_files() -> list[dict[str, str]]:
    return [{"file_name": f"{number}.jpg", "text": f'the "sun" {number}'} for number in range(ROWS)]


def sound_coco() -> bytes:
    return json.dumps(
        {
            "info": {},
            "images": [{"id": number, "file_name": row["file_name"]} for number, row in enumerate(rows_of_files())],
            "annotations": [
                {"id": number, "image_id": number, "caption": row["text"]} for number, row in enumerate(rows_of_files())
            ],
        }
    ).encode()


def sound_fiftyone() -> bytes:
    return json.dumps(
        {
            "samples": [
                {"filepath": row["file_name"], "text": row["text"], "label": {"classifications": [{"label": "sun"}]}}
                for row in rows_of_files()
            ]
        }
    ).encode()


def sound_labels() -> bytes:
    return json.dumps(
        {
            "classes": ["sun"],
            "labels": {str(number): [{"label": "sun", "attributes": {"text": "a sun"}}] for number in range(ROWS)},
        }
    ).encode()


def separated(comma: str) -> bytes:
    lines = [comma.join(("file_name", "text"))]
    lines += [comma.join((row["file_name"], '"' + row["text"].replace('"', '""') + '"')) for row in rows_of_files()]
    return "\n".join([*lines, ""]).encode()


def zstandard_bytes(content: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(content)


FORMATS: dict[str, tuple[str, Callable[[], bytes], Callable[[bytes], bytes]]] = {
    "tar": ("x.tar", sound_tar, bytes),
    "tar.gz": ("x.tar.gz", sound_tar, gzip.compress),
    "tar.bz2": ("x.tar.bz2", sound_tar, bz2.compress),
    "tar.xz": ("x.tar.xz", sound_tar, lzma.compress),
    "zst": ("x.json.zst", lambda: sound_coco() * 4, zstandard_bytes),
    "parquet": ("x.parquet", sound_parquet, bytes),
    "parquet, dictionaries": ("x.parquet", lambda: sound_parquet(encoded=True), bytes),
    "save_to_disk": ("saved/data-0.arrow", sound_stream, bytes),
    "save_to_disk, packed": ("saved/data-0.arrow", lambda: sound_stream(packed=True), bytes),
    "state.json": ("saved/state.json", lambda: STATE, bytes),
    "coco": ("x.json", sound_coco, bytes),
    "fiftyone": ("x.json", sound_fiftyone, bytes),
    "fiftyone, labels": ("x.json", sound_labels, bytes),
    "jsonl": ("x.jsonl", lambda: "\n".join(map(json.dumps, rows_of_files())).encode(), bytes),
    "csv": ("x.csv", lambda: separated(","), bytes),
    "tsv": ("x.tsv", lambda: separated("\t"), bytes),
}
"""Format → the name of the file that is damaged, what it holds, and how that is packed."""


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """Bits flipped, bytes replaced, a part cut off, zeroed, doubled or moved."""
    data, kind = bytearray(content), int(draw.integers(0, 10))
    start, end = sorted(map(int, draw.integers(0, len(data) + 1, 2)))
    if kind < 6:
        for _ in range(int(draw.integers(1, 9)) if kind < 3 else 1):
            at = int(draw.integers(0, len(data)))
            data[at] = data[at] ^ 1 << int(draw.integers(0, 8)) if kind % 2 else int(draw.integers(0, 256))
    elif kind == 6:
        del data[start:]
    elif kind == 7:
        data[start:end] = bytes(end - start)
    elif kind == 8:
        del data[start : min(end, start + 4096)]
    else:
        data[end:end] = data[start:end]
    return bytes(data)


def make_shard(name: str, folder: Path) -> tuple[Path, Path]:
    """A sound shard of a format: what is read, and the file of it that is damaged."""
    file, sound, pack = FORMATS[name]
    place = folder / file
    if file.startswith("saved"):
        place.parent.mkdir()
        (place.parent / "dataset_info.json").write_text("{}")
        (place.parent / "state.json").write_bytes(STATE)
        (place.parent / "data-0.arrow").write_bytes(sound_stream())
    elif file.endswith(("json", "jsonl", "csv", "tsv")):
        for number, image in enumerate(images()):
            (folder / f"{number}.jpg").write_bytes(image)
    place.write_bytes(pack(sound()))
    return (place.parent if file.startswith("saved") else place), place


def read(name: str, shard: Path, keep: bool) -> Counter[str]:
    """The rows of a shard, and how many of them have a status.

    Raises:
        OpenMofiError: it is refused.
    """
    if name == "zst":
        return Counter(rows=sum(bool(data) for data, _ in unpacked(shard, "Fetch it again.")))
    rows: Counter[str] = Counter()
    for pair in read_pairs(Shard(str(shard), "x"), ReadSettings(on_damage="keep" if keep else "stop")):
        assert isinstance(pair.text.encode() + pair.key.encode() + pair.url.encode(), bytes)
        rows.update(rows=1, with_status=pair.status is not PairStatus.OK)
    return rows


def read_many(name: str, first: int, reads: int, seed: int, results: Path) -> None:
    """Read damaged shards in this process, and write what became of each."""
    _, sound, pack = FORMATS[name]
    folder = Path(tempfile.mkdtemp(prefix="reads-"))
    shard, place = make_shard(name, folder)
    read(name, shard, keep=False)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    at_start = _peak()
    with open(results, "a") as out:
        for number in range(first, reads):
            out.write(json.dumps({"begins": number}) + "\n")
            out.flush()
            draw = np.random.default_rng([seed, number])
            # Half of what is packed is damaged before.
            inside = pack is not bytes and number % 2
            place.write_bytes(pack(damaged(sound(), draw)) if inside else damaged(pack(sound()), draw))
            row: dict[str, object] = {"read": number}
            signal.alarm(SECONDS)
            try:
                row["counts"] = dict(read(name, shard, keep=number % 3 == 0) + Counter(whole=1))
            except OpenMofiError:
                row["counts"] = {"refused": 1}
            except BaseException:
                row["broken"] = traceback.format_exc()[-2000:]
            signal.alarm(0)
            out.write(json.dumps({**row, "grown_mib": _peak() - at_start}) + "\n")


def read_damaged(name: str, reads: int, seed: int, folder: Path) -> Outcome:
    """Read so many damaged shards of a format; a process that ends early is followed by another."""
    from hostile.fuzz import ENVIRONMENT

    outcome, first = Outcome(), 0
    results = folder / f"{name.replace(' ', '')}-{seed}.jsonl"
    while first < reads:
        done = subprocess.run(
            [sys.executable, "-m", "hostile.reads", name, str(first), str(reads), str(seed), results],
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
        results.unlink(missing_ok=True)
        if not lines:
            raise AssertionError(f"{name}: no read began: {done.stderr[-2000:]}")
        for line in lines:
            first = max(first, line.get("begins", line.get("read", 0)) + 1)
            outcome.counts.update(line.get("counts", {}))
            outcome.peak = max(outcome.peak, line.get("grown_mib", 0))
            if "broken" in line:
                outcome.broken[line["read"]] = line["broken"]
        if done.returncode:
            outcome.broken[first - 1] = f"ended the process by {done.returncode}: {done.stderr[-1500:]}"
    return outcome


def fuzz_reads(reads: int, seed: int, folder: Path) -> bool:
    """Read damaged shards of all formats, so many together, and print a table; whether nothing was broken."""
    share, sound = -(-reads // len(FORMATS)), True
    print(f"damaged shards, seed {seed}")
    print(f"{'format':24}{'reads':>7}{'refused':>9}{'rows':>9}{'status':>8}{'MiB':>6}{'crashes':>9}{'broken':>8}")
    for name in FORMATS:
        outcome = read_damaged(name, share, seed, folder)
        counts = outcome.counts
        print(
            f"{name:24}{outcome.reads:7,}{counts['refused']:9,}{counts['rows']:9,}{counts['with_status']:8,}"
            f"{outcome.peak:6}{outcome.crashes:9}{len(outcome.broken):8}",
            flush=True,
        )
        for number, why in list(outcome.broken.items())[:5]:
            print(f"  read {number}: {why}", flush=True)
        sound &= not outcome.broken and outcome.peak < GROWTH_MIB
    return sound


def _peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("first", type=int)
    parser.add_argument("reads", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    read_many(options.format, options.first, options.reads, options.seed, options.results)


if __name__ == "__main__":
    main()
