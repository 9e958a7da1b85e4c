"""Search at a million vectors: recall, speed, memory, disk and build beside others; filters; the server; a soak.

    python benchmarks/search.py --work FOLDER [--count 1000000] [--soak 600] [--stages build,vectors,filters,served]

- `build`: each contender builds its index in a process of its own, one thread; CPU seconds, MiB on disk. Once built it
  is kept in FOLDER, with what it took. Graphs have 16 neighbours and look at 100 while they are built.
- `vectors`: contenders take turns, one query at a time. Of each, the least effort that reaches a recall@10 of .98
  against exact search; OpenMOFI takes the effort that it chose when its cache was built. `queries_per_cpu_second`
  counts the processor's time of its process, so that others on the machine have no part in it. `memory_mib` is how far
  its resident memory grew by opening it and asking all queries, pages of mapped files included.
- `filters`: recall@10 of filtered search against exact filtered search, where the filter has nothing to do with the
  query, and where it is of whole clusters; and what a filter of the database costs (`Index.search`, CPU ms).
- `served`, `soak`: see `search_parts/served.py`.
- `strangers`: see `search_parts/strangers.py`; `--count 60000 --peers openmofi --stages build,strangers` is enough.

A million vectors of all contenders take an hour of the processor: `--peers` names those that take part, and what was
run with other `--count`s in the same FOLDER is in the same results, each row with its number of vectors.

Peers that are not installed are left out: `pip install 'openmofi[bench]'`. pgvector takes part where
$OPENMOFI_BENCH_POSTGRES is a connection string, or with `--postgres`, which starts a server as the tests do; CPU
seconds are then those of the server's process too, and memory is not said.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import harness
from search_parts.peers import COUNT, POSTGRES, peers, used
from search_parts.world import (
    CLUSTERS,
    SHARES,
    make_index,
    make_vectors,
    nearest,
    recall,
    size_mib,
)

GOAL = 0.98
TURNS, BLOCK = 5, 100
STAGES = ("build", "vectors", "filters", "served", "soak", "strangers")


def _one_thread() -> None:
    """Before the libraries are loaded."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LANCE_CPU_THREADS"):
        os.environ[name] = "1"


def _building(pipe: Connection, name: str, work: Path, folder: Path) -> None:
    peers()[name].build(work, folder)
    memory = {} if peers()[name].served else {"build_peak_mib": round(harness.peak_mib())}
    disk = folder / "disk_mib"
    pipe.send(
        {
            "build_cpu_s": round(used(), 1),
            **memory,
            "disk_mib": int(disk.read_text())
            if disk.exists()
            else round(size_mib(work / "index" if name == "openmofi" else folder)),
        }
    )


def build(work: Path, names: Sequence[str]) -> None:
    """Build what is not built yet."""
    make_index(work)
    for name in names:
        folder, note = work / "peers" / name, work / "peers" / f"{name}.json"
        kept = note.exists() and not peers()[name].served  # a server's may be gone with it
        if kept or name == "exact NumPy":
            continue
        folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        child = multiprocessing.get_context("spawn").Process(target=_building, args=(theirs, name, work, folder))
        child.start()
        theirs.close()
        taken = ours.recv()
        child.join()
        chosen = _chosen(work) if name == "openmofi" else {}
        note.write_text(json.dumps({**taken, **chosen}))
        print(name, note.read_text(), flush=True)


def _chosen(work: Path) -> harness.Row:
    """What the index has measured and chosen for itself."""
    (path,) = (work / "index/cache").glob("faiss-*.json")
    note = json.loads(path.read_text())
    effort, filtered = note["effort"], note["filtered"]
    return {
        "index": path.stem.split("-")[1],
        "effort": effort["value"],
        "measured_recall": effort["recall"],
        "measured_queries": effort["queries"],
        "filtered_efforts": [each["value"] for each in filtered],
        "filtered_measured_recall": [each["recall"] for each in filtered],
    }


def _asking(pipe: Connection, name: str, work: Path) -> None:
    queries, truth = np.load(work / "queries.npy"), np.load(work / "truth.npy")[:, :COUNT]
    peer = peers()[name]
    gc.collect()
    before = _resident()
    of = peer.opened(work, work / "peers" / name)
    tried: dict[int, float] = {}
    for effort in peer.efforts:
        ask = of(effort)
        some = slice(0, 50 if name == "exact NumPy" else 300)
        tried[effort] = recall(np.stack([_padded(ask(query)) for query in queries[some]]), truth[some])
        if tried[effort] >= GOAL + 0.002:
            break
    chosen, found = effort, []
    while (block := pipe.recv()) is not None:
        begun, wall = used(), time.perf_counter()
        rows = [_padded(ask(query)) for query in queries[block]]
        pipe.send((used() - begun, time.perf_counter() - wall))
        found.append(recall(np.stack(rows), truth[block]))
    pipe.send(
        {
            "contender": name,
            "effort": chosen,
            "recall_at_10": round(float(np.mean(found)), 4),
            **({} if peer.served else {"memory_mib": round(_resident() - before)}),
            "recall_by_effort": tried,
        }
    )


def _padded(rows: np.ndarray) -> np.ndarray:
    return np.pad(rows, (0, COUNT - len(rows)), constant_values=-1)


def _resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def vectors(work: Path, names: Sequence[str]) -> list[harness.Row]:
    """A row of each contender."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name in names:
        pipes[name], theirs = context.Pipe()
        context.Process(target=_asking, args=(theirs, name, work), daemon=True).start()
        theirs.close()
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(TURNS):
        for name, pipe in pipes.items():
            size = 20 if name == "exact NumPy" else BLOCK
            pipe.send(slice(turn * BLOCK, turn * BLOCK + size))
            taken = pipe.recv()
            cpu[name].append(taken[0] / size)
            wall[name].append(taken[1] / size)
    rows = []
    for name, pipe in pipes.items():
        pipe.send(None)
        note = work / "peers" / f"{name}.json"
        rows.append(
            {
                **pipe.recv(),
                "queries_per_cpu_second": round(1 / statistics.median(cpu[name]), 1),
                "wall_ms": round(1000 * statistics.median(wall[name]), 2),
                **(json.loads(note.read_text()) if note.exists() else {}),
            }
        )
        print(rows[-1], flush=True)
    return rows


def filters(work: Path) -> list[harness.Row]:
    """Rows of filtered search, of a share of all vectors and of whole clusters."""
    from openmofi.search import Filters, Index, Query

    base = np.load(work / "base.npy", mmap_mode="r")
    queries, clusters = np.load(work / "queries.npy")[:100], np.load(work / "clusters.npy")
    index = Index.open(work / "index")
    state, rows, draw = index.state, list[harness.Row](), np.random.default_rng(3)
    for licence, share in SHARES.items():
        few = draw.permutation(CLUSTERS)[: round(CLUSTERS * share)]
        for kind, allowed in (("independent", draw.random(len(base)) < share), ("clusters", np.isin(clusters, few))):
            truth = nearest(base, queries, COUNT, allowed)
            begun = time.process_time()
            found = np.concatenate([state.vectors.search(query[None], COUNT, allowed)[1] for query in queries])
            rows.append(
                {
                    "contender": f"filtered {share:.0%}, {kind}",
                    "recall_at_10": round(recall(found, truth), 4),
                    "allowed": int(allowed.sum()),
                    "queries_per_cpu_second": round(len(queries) / (time.process_time() - begun), 1),
                }
            )
            print(rows[-1], flush=True)
        query = Query(filters=Filters(licence=licence), limit=50)
        begun = time.process_time()
        for vector in queries[:5]:
            index.search(Query(text="?", keywords=False, filters=query.filters), vector)
        rows[-1]["search_cpu_ms"] = round(1000 * (time.process_time() - begun) / 5)
    begun = time.process_time()
    for vector in queries:
        index.search(Query(text="?", keywords=False), vector)
    rows.append(
        {
            "contender": "Index.search, 50 results",
            "search_cpu_ms": round(1000 * (time.process_time() - begun) / len(queries), 2),
        }
    )
    print(rows[-1], flush=True)
    return rows


def result(folder: Path) -> None:
    """Write `results/search.json`: of the stages at hand, and what it has of others and of other numbers of vectors."""
    path = harness.RESULTS / "search.json"
    before = json.loads(path.read_text()) if path.exists() else {"rows": [], "ratios": {}}
    new: list[harness.Row] = []
    for stage in STAGES:
        for part in sorted(folder.glob(f"*/stage-{stage}.json"), key=lambda part: int(part.parent.name)):
            new.extend({"vectors": int(part.parent.name), **row} for row in json.loads(part.read_text()))
    made = {(row["contender"], row["vectors"]) for row in new}
    rows = [*new, *(row for row in before["rows"] if (row["contender"], row["vectors"]) not in made)]
    ratios = dict(before["ratios"])
    counts = sorted({row["vectors"] for row in rows})
    for count in counts:  # each ratio is of most vectors that it was measured with; of fewer by their number
        of_count = _ratios([row for row in rows if row["vectors"] == count])
        ratios |= of_count
        if count < counts[-1]:
            ratios |= {f"{name}_{count}": value for name, value in of_count.items()}
    for row in new:
        ratios |= row.pop("ratios", {})
    harness.write_result("search", rows, {**ratios, "vectors": float(counts[-1])})


def _ratios(rows: Sequence[harness.Row]) -> dict[str, float]:
    """Of as many vectors, as far as those that they compare were run."""
    by_name, ratios = {row["contender"]: row for row in rows}, dict[str, float]()
    ours, exact, hnswlib = (by_name.get(name) for name in ("openmofi", "exact NumPy", "hnswlib"))
    if ours:
        ratios["recall_at_10"] = ours["recall_at_10"]
    if ours and exact:
        ratios["queries_over_exact"] = ours["queries_per_cpu_second"] / exact["queries_per_cpu_second"]
    if ours and hnswlib:
        ratios["memory_over_hnswlib"] = ours["memory_mib"] / hnswlib["memory_mib"]
        ratios["queries_over_hnswlib"] = ours["queries_per_cpu_second"] / hnswlib["queries_per_cpu_second"]
    if filtered := [row["recall_at_10"] for row in rows if row["contender"].startswith("filtered")]:
        ratios["filtered_recall_min"] = min(filtered)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/search-benchmark"))
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--stages", default="build,vectors,filters,served", help=",".join(STAGES))
    parser.add_argument("--peers", help="only these, separated by commas")
    parser.add_argument("--postgres", action="store_true", help="start a server with pgvector")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="ask and write for so long")
    options = parser.parse_args()
    _one_thread()
    if not options.postgres:
        _run(options)
        return
    from pgvector_peer import server

    with server() as running:
        os.environ[POSTGRES] = running.address(user="root")
        _run(options)


def _run(options: argparse.Namespace) -> None:
    work: Path = options.work / f"{options.count}"
    stages = [*options.stages.split(","), *(["soak"] if options.soak else [])]
    names = [name for name in peers() if not options.peers or name in options.peers.split(",")]
    make_vectors(work, options.count)
    done: dict[str, Any] = {}
    if "build" in stages:
        build(work, names)
    if "vectors" in stages:
        done["vectors"] = vectors(work, names)
    if "filters" in stages:
        done["filters"] = filters(work)
    if {"served", "soak"} & set(stages):
        from search_parts.served import served

        done |= served(work, options.soak, "served" in stages)
    if "strangers" in stages:
        from search_parts.strangers import strangers

        done["strangers"] = strangers(work)
        print(done["strangers"], flush=True)
    for name, rows in done.items():
        (work / f"stage-{name}.json").write_text(json.dumps(rows))
    result(options.work)


if __name__ == "__main__":
    main()
