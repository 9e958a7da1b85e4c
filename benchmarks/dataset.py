"""What `dataset build` takes as labels grow: seconds a million rows, and the memory of its process.

- `collect`: the first pass over label tables, which are written here in the form of a job's (10,000 rows a shard, half
  of them labelled, by 1.25 entities each). It reads one shard after another, so its slope is what counts.
- `filters`: near duplicates, cap and minimum over so many labels, drawn into files as the first pass leaves them: a
  million entities at most, the r-th of which is as frequent as 1 / (r + 20), so that the first has a label of 220; a
  twentieth of the images repeat an earlier one.

Every size runs in a process of its own. `private` is memory of the process itself, `mapped` pages of files, which the
system takes back (`many_entities.peaks`, fifty times a second).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import harness
import many_entities

COLLECTED, FILTERED = (20, 80), (1_000_000, 10_000_000, 100_000_000)
_ROWS, _BLOCK = 10_000, 1 << 20


def _entities(draw: np.random.Generator, rows: int, entities: int) -> np.ndarray[Any, Any]:
    """(rows,) numbers of entities, by Zipf's and Mandelbrot's law."""
    return np.minimum(20 * ((entities + 20) / 20) ** draw.random(rows) - 20, entities - 1).astype(np.int64)


def collected(root: Path, shards: int) -> dict[str, Any]:
    """The first pass over so many shards."""
    import pyarrow as pa

    from openmofi.dataset.collect import collect
    from openmofi.dataset.tables import Folder
    from openmofi.schema import LABELS, LabelStatus
    from openmofi.storage import Manifest, Shard, write_table

    draw, tables = np.random.default_rng(0), []
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
        tables.append(Shard(str(path), f"{number:05d}"))
    folder = Folder(str(root), Manifest("labels", {}), tuple(tables))
    (root / "scratch").mkdir()
    with many_entities.peaks() as row:
        found = collect(folder, None, root / "scratch")
    return {"step": "collect", "rows": shards * _ROWS, "labels": len(found.labels.image), **row}


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
    parser.add_argument("--labels", type=int, nargs="+", default=FILTERED)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    Path(arguments.folder).mkdir(exist_ok=True)
    if arguments.one:
        step, size = arguments.one
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            print(json.dumps((collected if step == "collect" else filtered)(Path(folder), int(size))))
        return
    rows = []
    for step, size in [*(("collect", size) for size in COLLECTED), *(("filters", size) for size in arguments.labels)]:
        command = [sys.executable, __file__, "--folder", arguments.folder, "--one", step, str(size)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(rows[-1], flush=True)
    first, second = rows[: len(COLLECTED)]
    last = rows[-1]
    harness.write_result(
        "dataset",
        rows,
        {
            "labels": last["labels"],
            "driver_gb": max(row["private_mib"] for row in rows) * 2**20 / 1e9,
            "collect_seconds_a_million_rows": (second["s"] - first["s"]) / (second["rows"] - first["rows"]) * 1e6,
            "filter_seconds_a_million_labels": last["s"] / last["labels"] * 1e6,
        },
    )


if __name__ == "__main__":
    main()
