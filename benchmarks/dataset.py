"""What `dataset build` takes as labels grow: seconds a million rows, and the memory of its processes.

- `passes`: both passes over label tables, which are written here in the form of a job's (10,000 rows a shard, half of
  them labelled, by 1.25 entities each), in this process and in two. A task is a shard, so what one of them takes
  is what counts, and not the start of processes. `joining` is the driver's part of the first pass. The filters between
  the passes are not counted.
- `filters`: near duplicates, cap and minimum over so many labels, drawn into files as the first pass leaves them: a
  million entities at most, the r-th of which is as frequent as 1 / (r + 20), so that the first has a label of 220; a
  twentieth of the images repeat an earlier one.

Every row is of a process of its own. `private` is memory of the process itself, `mapped` pages of files, which the
system takes back (`many_entities.peaks`, fifty times a second); `worker` all that the largest worker held, libraries
and mapped files too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import harness
import many_entities

PASSES, FILTERED = (20, 80), (1_000_000, 10_000_000, 100_000_000)
ENGINES = ("local", "processes:2")
_ROWS, _BLOCK, _TIMES = 10_000, 1 << 20, 2


def _entities(draw: np.random.Generator, rows: int, entities: int) -> np.ndarray[Any, Any]:
    """(rows,) numbers of entities, by Zipf's and Mandelbrot's law."""
    return np.minimum(20 * ((entities + 20) / 20) ** draw.random(rows) - 20, entities - 1).astype(np.int64)


def write_labels(root: Path, shards: int) -> None:
    """Write the label tables of so many shards."""
    import pyarrow as pa

    from openmofi.schema import LABELS, LabelStatus
    from openmofi.storage import Shard, claim_folder, finish_manifest, write_table

    draw = np.random.default_rng(0)
    tables = [Shard(f"{number:05d}.tar", f"{number:05d}") for number in range(shards)]
    manifest = claim_folder(root, "labels", {"encoder": "none", "shards": [asdict(shard) for shard in tables]})
    for number in range(shards):
        path = root / f"labels/{number:05d}.parquet"
        named = draw.random(_ROWS) < 0.5
        count = np.where(named, 1 + (draw.random(_ROWS) < 0.25), 0)
        entity = _entities(draw, int(count.sum()), 1_000_000)
        judged, place = [], 0
        for row in range(_ROWS):
            judged.append([_judged(int(code), at) for at, code in enumerate(entity[place : place + count[row]])])
            place += int(count[row])
        rows = {
            "key": [f"{number:05d}{row:05d}" for row in range(_ROWS)],
            "text": ["a thing and another"] * _ROWS,
            "status": [str(LabelStatus.LABELLED if each else LabelStatus.NO_MENTION) for each in named],
            "phash": draw.integers(1 << 20, 1 << 62, _ROWS, np.uint64),
            "mentions": [[_mention(at) for at in range(len(each))] for each in judged],
            "entities": judged,
        }
        columns = [pa.array(rows.get(field.name, [1] * _ROWS), field.type) for field in LABELS]
        write_table(path, pa.Table.from_arrays(columns, schema=LABELS))
    finish_manifest(root, manifest, {"rows_out": shards * _ROWS})


def passed(labels: Path, engine: str, out: Path) -> dict[str, Any]:
    """Both passes over labels."""
    from openmofi.dataset import DatasetSettings, build, build_dataset
    from openmofi.engine import Quiet, engine_named
    from openmofi.engine.engines import ProcessEngine

    ProcessEngine.few = 0

    class Clock(Quiet):
        """When the first task began and the last one ended, of each pass."""

        def __init__(self) -> None:
            self.times: dict[str, list[float]] = {}

        def begin(self, stage: str, total: int) -> None:
            self.stage = stage

        def advance(self, counts: dict[str, Any]) -> None:
            self.times.setdefault(self.stage, []).append(time.perf_counter())

    usual, spent = build.collect, list[float]()

    def collect(*given: Any) -> Any:
        before = time.process_time()
        collected = usual(*given)
        spent.append(time.process_time() - before)
        return collected

    clock = Clock()
    vars(build)["collect"] = collect
    with many_entities.peaks() as row:
        found = build_dataset(
            labels, out, DatasetSettings(2), report=False, engine=engine_named(engine), progress=clock
        )
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    # From the second task on, when every worker is at work.
    seconds = {stage: (times[-1] - times[1]) / (len(times) - 2) / _ROWS * 1e6 for stage, times in clock.times.items()}
    return {
        "step": "passes",
        "engine": engine,
        "rows": found.rows,
        "labels": found.labels,
        **{f"{stage}_seconds_a_million": value for stage, value in seconds.items()},
        "joining_cpu_s": spent[0] if engine != "local" else 0.0,
        "workers_cpu_s": workers.ru_utime + workers.ru_stime,
        "worker_mib": workers.ru_maxrss / 1024,
        **row,
    }


def _judged(code: int, mention: int) -> dict[str, Any]:
    return {
        "mention": mention,
        "entity": f"Q{code}",
        "prior": 1.0,
        "link_score": 1.0,
        "image_score": 0.3,
        "probability": 0.95,
        "accepted": True,
        "reason": "accepted",
    }


def _mention(number: int) -> dict[str, Any]:
    return {"start": 2 + number, "end": 7 + number, "surface": "thing", "detector": "gazetteer", "reason": ""}


def filtered(root: Path, labels: int) -> dict[str, Any]:
    """The filters over so many labels."""
    from openmofi.dataset import DatasetSettings
    from openmofi.dataset.filters import LabelArrays, keep

    draw, entities = np.random.default_rng(0), min(1_000_000, labels // 10)
    kinds = {"image": np.int64, "entity": np.int32, "probability": np.float32, "phash": np.uint64, "salt": np.uint64}
    files = {name: open(root / name, "wb") for name in kinds}  # noqa: SIM115
    images = 0
    for start in range(0, labels, _BLOCK):
        rows = min(_BLOCK, labels - start)
        new = draw.random(rows) < 0.8
        new[0] = True
        image = np.cumsum(new) - 1
        own = draw.integers(1 << 20, 1 << 62, int(new.sum()), np.uint64)
        again = draw.random(len(own)) < 0.05
        own[again] = own[draw.integers(0, len(own), int(again.sum()))]
        values = {
            "image": image + images,
            "entity": _entities(draw, rows, entities),
            "probability": draw.random(rows),
            "phash": own,
            "salt": np.zeros(len(own)),
        }
        for name, column in values.items():
            column.astype(kinds[name]).tofile(files[name])
        images += len(own)
    for file in files.values():
        file.close()
    np.zeros(labels, np.int64).tofile(root / "by_entity")
    with many_entities.peaks() as row:
        mapped = {name: np.memmap(root / name, kind, "r+").view(np.ndarray) for name, kind in kinds.items()}
        order = np.memmap(root / "by_entity", np.int64, "r+").view(np.ndarray)
        kept = keep(LabelArrays.of(**mapped, entities=entities, out=order), DatasetSettings(5, 10_000))
    return {
        "step": "filters",
        "labels": labels,
        "images": images,
        "kept": int(kept.label.sum()),
        "rounds": kept.rounds,
        **row,
    }


def main() -> None:
    """Measure and write `results/dataset.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", default="runs", help="where the tables lie while it runs: 5 GB for 100 million labels"
    )
    parser.add_argument(
        "--labels", type=int, nargs="*", default=FILTERED, help="none: the filters' rows stay as they are"
    )
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    Path(arguments.folder).mkdir(exist_ok=True)
    if arguments.one:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            size, *engine = arguments.one[1:]
            done = passed(Path(size), engine[0], Path(folder) / "out") if engine else filtered(Path(folder), int(size))
            print(json.dumps(done))
        return

    def measured(*what: object) -> dict[str, Any]:
        command = [sys.executable, __file__, "--folder", arguments.folder, "--one", *map(str, what)]
        row: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(row, flush=True)
        return row

    passes = []
    for size in PASSES:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as labels:
            write_labels(Path(labels), size)
            passes += [measured("passes", labels, engine) for _ in range(_TIMES) for engine in ENGINES]
    filters = [measured("filters", size) for size in arguments.labels] or [
        row for row in json.loads((harness.RESULTS / "dataset.json").read_text())["rows"] if row["step"] == "filters"
    ]
    last, many = filters[-1], [row for row in passes if row["rows"] == PASSES[-1] * _ROWS]

    def seconds(engine: str) -> float:
        return min(
            row["collect_seconds_a_million"] + row["write_seconds_a_million"] for row in many if row["engine"] == engine
        )

    def cpu(who: str) -> float:
        """CPU seconds a million rows more, which other work on the machine does not change much."""
        few, most = (
            min(row[who] for row in passes if row["engine"] == ENGINES[1] and row["rows"] == size * _ROWS)
            for size in PASSES
        )
        return (most - few) / (PASSES[1] - PASSES[0]) / _ROWS * 1e6

    harness.write_result(
        "dataset",
        [*passes, *filters],
        {
            "labels": last["labels"],
            "driver_gb": max(row["private_mib"] for row in [*passes, *filters]) * 2**20 / 1e9,
            "task_gb": max(row["worker_mib"] for row in passes) * 2**20 / 1e9,
            "passes_seconds_a_million_rows": seconds("local"),
            "passes_seconds_a_million_rows_by_two": seconds("processes:2"),
            "two_over_one": seconds("local") / seconds("processes:2"),
            "driver_cpu_seconds_a_million_rows": cpu("joining_cpu_s"),
            "workers_cpu_seconds_a_million_rows": cpu("workers_cpu_s"),
            "filter_seconds_a_million_labels": last["s"] / last["labels"] * 1e6,
        },
    )


if __name__ == "__main__":
    main()
