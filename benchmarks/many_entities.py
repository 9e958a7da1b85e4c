"""What millions of entities cost the label job's driver and its workers: `benchmarks/driver.py --entities`.

The knowledge base is simulated: it has identifiers and nothing else. The store of embedded entities is written
directly, of random features, since ten million texts take hours to embed. All else is the job's own: what the links of
many shards say is summed, the table of the entities is made and found again (driver), and mapped, and entities are
looked up, projected and scored for one shard after another (worker). Each runs in a process of its own. Memory is told
apart: `private` is the process's own, `mapped` are pages of files, which processes share and the system takes back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SHARDS, _OF_SHARD, _WORKED = 1000, 5000, 50
_BLOCK = 1 << 14


def memory_mib() -> dict[str, float]:
    """Private and mapped memory of this process now."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) / 1024 for name, key in (("private", "RssAnon"), ("mapped", "RssFile"))}


@contextmanager
def peaks() -> Generator[dict[str, float]]:
    """Seconds, and how much private and mapped memory grew at most, by looking fifty times a second."""
    before, row, done = memory_mib(), {"private_mib": 0.0, "mapped_mib": 0.0}, threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            for name, value in memory_mib().items():
                row[f"{name}_mib"] = max(row[f"{name}_mib"], value - before[name])

    watcher, start = threading.Thread(target=look), time.perf_counter()
    watcher.start()
    try:
        yield row
    finally:
        row["s"] = time.perf_counter() - start
        done.set()
        watcher.join()


class SimulatedKnowledgeBase:
    """So many entities, of which only the identifiers exist."""

    path, fingerprint = Path("simulated"), "simulated"

    def __init__(self, entities: int) -> None:
        digits = pa.array(np.arange(entities)).cast(pa.string())
        self._ids = pc.binary_join_element_wise(pa.scalar("Q"), digits, "")

    def __len__(self) -> int:
        return len(self._ids)

    def id_array(self, rows: Any) -> pa.Array:
        """See `openmofi.knowledge.KnowledgeBase.id_array`."""
        return self._ids.take(pa.array(np.asarray(rows, np.int64)))


def encoder_of(dim: int) -> Any:
    """What the table and the views ask of an encoder."""
    from openmofi.encoders import Companions
    from openmofi.encoders.arrays import normalised

    return SimpleNamespace(
        feature_fingerprint="simulated",
        text_feature_dim=dim,
        dim=dim,
        project_texts=normalised,
        companions=Companions(),
    )


def write_store(cache: Path, kb: SimulatedKnowledgeBase, dim: int) -> None:
    """The blocks that a job of all entities leaves: sorted by identifier, 16,384 each."""
    from openmofi.features.entities import EmbedStage
    from openmofi.storage import write_table

    folder = EmbedStage.plan(kb, encoder_of(dim), "{name}", cache).folder  # type: ignore[arg-type]
    order = pc.sort_indices(kb.id_array(np.arange(len(kb)))).to_numpy().astype(np.int32)
    draw = np.random.default_rng(0)
    for number, start in enumerate(range(0, len(order), _BLOCK)):
        rows = order[start : start + _BLOCK]
        features = draw.standard_normal((len(rows), dim), np.float32).astype(np.float16)
        write_table(
            f"{folder}/{number:06d}.parquet",
            pa.table(
                {
                    "id": kb.id_array(rows),
                    "row": pa.array(rows),
                    "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), dim),
                }
            ),
        )


def drive(cache: Path, entities: int, dim: int) -> dict[str, Any]:
    """The driver's part: seconds and MiB of summing the links, making the table, and finding it again."""
    from openmofi.engine import LocalEngine, Quiet
    from openmofi.features.entities import entity_table
    from openmofi.labeling.summaries import CorpusSummary, LinkSummary, MarkedCounts

    kb, encoder, draw = SimulatedKnowledgeBase(entities), encoder_of(dim), np.random.default_rng(1)
    every = np.arange(entities, dtype=np.int32)
    steps: dict[str, Any] = {}
    with peaks() as steps["links"]:
        corpus = CorpusSummary.of_none(entities)
        for number in range(_SHARDS):
            occurring = np.unique(draw.integers(0, entities, _OF_SHARD)).astype(np.int32)
            corpus.add(
                str(number), LinkSummary.packed(64, MarkedCounts(), occurring, np.zeros(len(occurring), np.uint16))
            )
        corpus.add("the rest", LinkSummary.packed(64, MarkedCounts(), every, np.zeros(entities, np.uint16)))
        rows = corpus.judged(8)
    assert len(rows) == entities
    for name in ("table", "again"):
        with peaks() as steps[name]:
            table = entity_table(kb, encoder, rows, "{name}", cache, LocalEngine(), Quiet())  # type: ignore[arg-type]
        assert len(table) == entities
    return {"path": table.path, **steps}


def work(path: str, entities: int, dim: int) -> dict[str, Any]:
    """A worker's part: what it grows by for some shards whose entities are drawn by Zipf's law, one after another."""
    from openmofi.features.entity_table import EntityFeatures
    from openmofi.labeling.calibrate.evidence import View

    draw, images = np.random.default_rng(2), np.random.default_rng(3).standard_normal((64, dim)).astype(np.float32)
    with peaks() as row:
        table = EntityFeatures.open(path)
        view = View.of(encoder_of(dim), table, table.ids.take(pa.array([0, entities - 1])).to_pylist(), 10.0)
        halves = []
        for number in range(_WORKED):
            named = np.unique(np.minimum((entities ** draw.random(_OF_SHARD)).astype(np.int64), entities - 1))
            ids = pa.array([f"Q{entity}" for entity in named.tolist()])
            places = table.rows(ids)
            assert table.ids.take(pa.array(places)).equals(ids)
            view.scores(images, np.arange(len(places)) % len(images), places)
            if number in (_WORKED // 2 - 1, _WORKED - 1):
                halves.append(memory_mib()["private"])
    return {**row, "private_growth_of_second_half_mib": halves[1] - halves[0]}


def main() -> None:
    """`many_entities.py store|driver|worker FOLDER ENTITIES DIM [PATH]`: a part, in a process of its own."""
    part, folder, entities, dim = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if part == "store":
        write_store(folder, SimulatedKnowledgeBase(entities), dim)
        print(json.dumps({}))
    elif part == "driver":
        print(json.dumps(drive(folder, entities, dim)))
    else:
        print(json.dumps(work(sys.argv[5], entities, dim)))


def measured(folder: Path, entities: int, dim: int) -> list[dict[str, Any]]:
    """A row for each step, in `folder`, which gets the store and the table: some 4 · `dim` bytes an entity."""

    def part(*given: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, __file__, given[0], str(folder), str(entities), str(dim), *given[1:]],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return dict(json.loads(done.stdout))

    part("store")
    steps = part("driver")
    steps["worker"] = part("worker", steps.pop("path"))
    return [{"step": name, "entities": entities, "dim": dim, **row} for name, row in steps.items()]


if __name__ == "__main__":
    main()
