"""The whole label job, with images, on a base of ten million names, beside the same job on the demo's own base.

The big base is the demo's with millions of further entities, built by `kb build table`: their names are of two to four
words of the pairs' own texts (the commonest words left out), drawn by how often they stand there, so that texts hold
many of them; four relations each. So the job's load is that of a big base, and what it finds there is not to be judged.
Each job is one command in processes of its own, with a cache of its own; what the first opening of a base makes
(its check, its filter of names) is made before and measured by itself. Seconds are of processors, since others may
share the machine; memory is the greatest that a process of the job held, and how much of it no other process shares.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import big_base
import harness

_COMMONEST, _BLOCK = 300, 1 << 17
_LENGTHS = ((3, 1.0), (3, 1.0), (4, 0.5), (2, 0.2))
"""Words of an entity's names, and the share of the entities that have such a one."""


def texts_of(shards: list[str]) -> list[str]:
    """The texts of pairs."""
    from openmofi.pairs import read_pairs
    from openmofi.storage import expand_shards

    return [pair.text or "" for shard in expand_shards(shards) for pair in read_pairs(shard)]


def write_tables(folder: Path, world: Path, texts: list[str], entities: int) -> Path:
    """The world's tables with so many more entities."""
    from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
    from openmofi.storage.table_files import table_blocks

    counts = Counter(word for text in texts for word in re.findall(r"\w+", text.lower()) if not word.isdigit())
    common = counts.most_common()[_COMMONEST:]
    words, weights = pa.array([word for word, _ in common]), np.array([count for _, count in common], np.float64)
    ends, draw = np.cumsum(weights) / weights.sum(), np.random.default_rng(0)

    def names(rows: int, length: int) -> pa.Array:
        drawn = [
            words.take(pa.array(np.minimum(np.searchsorted(ends, draw.random(rows)), len(words) - 1)))
            for _ in range(length)
        ]
        return pc.binary_join_element_wise(*drawn, " ")

    folder.mkdir()
    schemas = {"entities": ENTITIES, "names": NAMES, "relations": RELATIONS, "surfaces": SURFACES}
    for name, schema in schemas.items():
        with table_blocks(folder / f"{name}.parquet", schema) as add:
            if (world / f"{name}.parquet").exists():
                add(pq.read_table(world / f"{name}.parquet", columns=schema.names).cast(schema))
            for start in range(0, 0 if name == "surfaces" else entities, _BLOCK):
                rows = np.arange(start, min(start + _BLOCK, entities))
                ids = big_base._ids(rows)
                if name == "entities":
                    add(
                        pa.table(
                            [
                                ids,
                                names(len(rows), 3),
                                names(len(rows), 9),
                                pa.array([["thing"]] * len(rows)),
                                pa.array(draw.integers(0, 200, len(rows)), pa.float32()),
                            ],
                            schema=ENTITIES,
                        )
                    )
                elif name == "names":
                    for length, share in _LENGTHS:
                        some = ids.take(pa.array(np.flatnonzero(draw.random(len(rows)) < share)))
                        add(
                            pa.table(
                                [names(len(some), length), some, pa.array(np.ones(len(some), np.float32))], schema=NAMES
                            )
                        )
                else:
                    tails = np.minimum((draw.pareto(1.0, 4 * len(rows)) * entities / 50).astype(np.int64), entities - 1)
                    add(
                        pa.table(
                            [big_base._ids(np.repeat(rows, 4)), ["part of"] * len(tails), big_base._ids(tails)],
                            schema=RELATIONS,
                        )
                    )
    return folder


def job(kb: Path, encoder: str, shards: list[str], out: Path) -> dict[str, Any]:
    """One label job: processor seconds of all its processes, and memory of the largest."""
    before = os.times()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "openmofi",
            "label",
            *shards,
            "--kb",
            str(kb),
            "--encoder",
            encoder,
            "-o",
            str(out),
            "--engine",
            "processes:1",
            "--json",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    most = {"Rss": 0, "Private_Dirty": 0}
    while process.poll() is None:
        for pid in _family(process.pid):
            for name, kib in _memory(pid).items():
                most[name] = max(most[name], kib)
        time.sleep(1)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(f"the job on {kb} failed")
    after, counts = os.times(), json.loads(process.stdout.read())
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "rows": counts["rows_in"],
        "accepted": counts["accepted"],
        "entities": counts["entities"],
        "cpu_s": seconds,
        "captions_per_cpu_second": counts["rows_in"] / seconds,
        "worker_rss_mib": most["Rss"] / 1024,
        "worker_own_mib": most["Private_Dirty"] / 1024,
    }


def _family(pid: int) -> list[int]:
    try:
        children = [
            int(each)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for each in (task / "children").read_text("ascii").split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(each for child in children for each in _family(child))]


def _memory(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    known = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {name: known[name] for name in ("Rss", "Private_Dirty") if name in known}


def main() -> None:
    """Measure and write `results/big_label.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of `openmofi sample demo`")
    parser.add_argument("--entities", type=int, default=4_000_000)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="gets a temporary folder, some 12 GB")
    arguments = parser.parse_args()
    shards = sorted(map(str, (arguments.demo / "world/pages/train").glob("*.tar")))[: arguments.shards]
    encoder = f"run:{arguments.demo / 'encoders/partial-labels'}"
    arguments.work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        root = Path(name).resolve()
        os.environ["OPENMOFI_HOME"] = str(root / "home")
        texts = texts_of(shards)
        (root / "captions.txt").write_text("\n".join(" ".join(text.split()) for text in texts), "utf-8")
        source = write_tables(root / "tables", arguments.demo / "world/kb", texts, arguments.entities)
        rows = [{"stage": "build", **big_base.apart("build", source, root / "kb", arguments.memory)}]
        print(json.dumps(rows[-1]), flush=True)
        bases = {"big": root / "kb", "demo": root / "small"}
        big_base.apart("build", arguments.demo / "world", root / "small", arguments.memory)
        for base, kb in bases.items():
            for opening in ("first", "later"):
                rows.append(
                    {
                        "stage": "text",
                        "base": base,
                        "opening": opening,
                        **big_base.apart("work", kb, root / "captions.txt", 10_000, module="big_text"),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
        for base, kb in bases.items():
            rows.append({"stage": "job", "base": base, **job(kb, encoder, shards, root / f"labels-{base}")})
            print(json.dumps(rows[-1]), flush=True)
    big, small = (
        {
            key: value
            for row in rows
            if row.get("base") == base and row.get("opening") != "first"
            for key, value in row.items()
        }
        for base in bases
    )
    harness.write_result(
        "big_label",
        rows,
        {
            "names": big["names"],
            "open_cpu_s": big["open_s"],
            "captions_per_cpu_second": big["captions_per_cpu_second"],
            "over_small_base": big["captions_per_cpu_second"] / small["captions_per_cpu_second"],
            "worker_rss_mib": big["worker_rss_mib"],
            "worker_own_mib": big["worker_own_mib"],
            "small_worker_own_mib": small["worker_own_mib"],
        },
    )


if __name__ == "__main__":
    main()
