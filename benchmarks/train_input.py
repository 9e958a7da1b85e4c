"""How long a run over a hundred million pairs takes from its start to the rows of its first batch, and in what memory.

A dataset of so many rows is generated in a temporary folder (10,000 shards; no images, 9 GB), with the positions that
the label job writes. A process opens it for the first time, which locates the images, draws what is held out and
orders the rows by class; then another one does what a restart does. `openmofi.training.data.open_data` and the plan's
first step are what is timed, from the start of Python on. What was written is put out of the system's cache first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import harness

ROWS_A_SHARD, CLASSES, BATCH = 10_000, 1_000_000, 32_768
SAMPLERS, STARTS = ("sqrt", "instance"), ("first start", "restart")


def generate(folder: Path, rows: int) -> None:
    """Write a dataset of `rows` rows, its shards, which hold one image each, and the positions of images."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from openmofi.pairs import ReadSettings, Record, write_tar
    from openmofi.pairs.index import INDEX, index_path
    from openmofi.schema import DATASET, VOCABULARY
    from openmofi.storage import Shard, claim_folder, finish_manifest, write_json, write_table

    draw, counts, dataset = np.random.default_rng(0), np.zeros(CLASSES, np.int64), folder / "dataset"
    shards = [Shard(str(folder / "pairs" / f"{n:05d}.tar"), f"{n:05d}") for n in range(rows // ROWS_A_SHARD)]
    manifest = claim_folder(dataset, "dataset", {"shards": [asdict(shard) for shard in shards]}, {})
    offsets = pa.array(np.arange(ROWS_A_SHARD + 1, dtype=np.int32))
    scores = pa.ListArray.from_arrays(offsets, pa.array(np.full(ROWS_A_SHARD, 0.9, np.float32)))
    texts = pa.array(["x"] * ROWS_A_SHARD)
    places = np.arange(ROWS_A_SHARD, dtype=np.int64) * 20_480
    write_tar(shards[0].path, [Record("0", b"image", "text")])
    index = Path(index_path(shards[0], str(folder / "labelled"), ReadSettings())).parent
    for place in (dataset / "images", index):
        place.mkdir(parents=True)
    for number, shard in enumerate(shards):
        # Not atomically: nothing waits for the disk.
        if number:
            shutil.copyfile(shards[0].path, shard.path)
        keys = pa.array([f"{key:09d}" for key in range(number * ROWS_A_SHARD, (number + 1) * ROWS_A_SHARD)])
        # As frequent as words are: the most frequent class has one row in twenty.
        classes = np.minimum(np.power(CLASSES, draw.random(ROWS_A_SHARD)), CLASSES - 1).astype(np.int32)
        np.add.at(counts, classes, 1)
        lists = (pa.ListArray.from_arrays(offsets, values) for values in (pa.array(classes), texts))
        columns = [[shard.name] * ROWS_A_SHARD, keys, texts, *lists, scores]
        pq.write_table(pa.table(columns, schema=DATASET), dataset / f"images/{shard.name}.parquet")
        of_images = pa.table([keys, [b""] * ROWS_A_SHARD, places, np.full(ROWS_A_SHARD, 20_000)], schema=INDEX)
        pq.write_table(of_images, index / f"{shard.name}-{shards[0].fingerprint}.parquet")
    names = [f"Q{number}" for number in range(CLASSES)]
    write_table(dataset / "vocabulary.parquet", pa.table([range(CLASSES), names, names, counts], schema=VOCABULARY))
    note = {"cache": str(folder / "labelled"), "read": asdict(ReadSettings()), "batch_size": 64, "max_pixels": 1 << 27}
    write_json(dataset / "features.json", note)
    finish_manifest(dataset, manifest, {"rows": rows})


def open_once(folder: Path, sampler: Any) -> dict[str, float]:
    """Open the dataset as a run does, up to the rows of its first batch; memory is this process's, in GiB."""
    from openmofi.encoders import Preprocessing
    from openmofi.engine import Quiet
    from openmofi.training.data import open_data
    from openmofi.training.model.towers import ModelInputs
    from openmofi.training.recipe import DataSettings, EvaluateSettings

    data = open_data(
        DataSettings(str(folder / "dataset"), batch_size=BATCH, sampler=sampler),
        ModelInputs(Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
        seed=0,
        cache=folder / "cache",
        progress=Quiet(),
        evaluate=EvaluateSettings(every=1, retrieval=True, limit=100_000, held_out=0.002),
    )
    data.sources.plan.rows(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "seconds": time.time() - started(),
        **{
            name: int(status[entry].split()[0]) / 2**20
            for name, entry in (("own_gib", "RssAnon"), ("mapped_gib", "RssFile"), ("peak_gib", "VmHWM"))
        },
    }


def started() -> float:
    """When this process was started, in seconds since the epoch."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def forget(folder: Path) -> None:
    """Put the files of a folder out of the system's cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def measured(rows: int, folder: Path | None = None) -> list[harness.Row]:
    """Rows of a first start and of a restart for each sampler, and of the memory that an image takes in a batch.

    Args:
        rows: of the dataset.
        folder: one that `generate` wrote, which is kept.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        if not folder:
            generate(place, rows)
        return [started_in(place, rows, kind, sampler) for sampler in SAMPLERS for kind in STARTS] + batches()


def started_in(folder: Path, rows: int, kind: str, sampler: str) -> harness.Row:
    """The row of a start; the first with another sampler meets what the one before has located and held out."""
    forget(folder)
    command = [sys.executable, __file__, str(folder), sampler]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**30
    print(kind, sampler, json.dumps(said), flush=True)
    return {"contender": f"{kind}, {sampler}", "pairs": rows, "disk_gib": disk, **said}


def batches() -> list[harness.Row]:
    """Bytes that an image of 224 pixels takes where workers hand batches over, as it is and normalised."""
    import torch

    from openmofi.encoders import Preprocessing
    from openmofi.training.data.images import TrainingImages
    from openmofi.training.data.plan import GREY
    from openmofi.training.data.workers import packed
    from openmofi.training.model.towers import normalised
    from openmofi.training.recipe import Augment

    preprocessing = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    made = TrainingImages(preprocessing, Augment()).batch([GREY] * 64, range(64))
    forms: dict[str, torch.Tensor] = {"bytes": made, "normalised": normalised(made, preprocessing)}
    return [
        {"contender": f"a batch, {name}", "bytes_an_image": packed({"image": images})[0].nbytes / len(images)}
        for name, images in forms.items()
    ]


def figures(rows: list[harness.Row]) -> dict[str, float]:
    """The greatest figures of the restarts, and the share of the memory of a batch that bytes take."""
    handed = {row["contender"]: row["bytes_an_image"] for row in rows if "bytes_an_image" in row}
    restarts = [row for row in rows if row["contender"].startswith("restart")]
    return {
        "restart_seconds_100m": max(row["seconds"] for row in restarts),
        "restart_gib_100m": max(row["peak_gib"] for row in restarts),
        "bytes_over_normalised": handed["a batch, bytes"] / handed["a batch, normalised"],
    }


if __name__ == "__main__":
    print(json.dumps(open_once(Path(sys.argv[1]), sys.argv[2])))
