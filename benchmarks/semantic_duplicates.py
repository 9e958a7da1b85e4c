"""`dataset build --semantic-duplicates`: one entity of so many images, cut into cells and whole.

Features of 512 dimensions lie in a file, as the filter finds them: images around 200 kinds, a quarter of which repeat
an earlier one with noise that leaves a cosine of .98. `found` is the share of what is dropped where all images are
compared with each other. Every run is a process of its own; memory as in `dataset.py`.
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

_DIM, _KINDS, _BLOCK, _NOISE, _COSINE = 512, 200, 4096, 0.2, 0.95
RUNS = (("cells", 10_000), ("cells", 100_000), ("whole", 100_000), ("cells", 1_000_000))


def _features(path: Path, images: int) -> np.ndarray[Any, Any]:
    draw = np.random.default_rng(0)
    kinds = draw.normal(size=(_KINDS, _DIM)).astype(np.float32)
    made = np.memmap(path, np.float16, "w+", shape=(images, _DIM))
    for start in range(0, images, _BLOCK):
        rows = min(_BLOCK, images - start)
        values = kinds[draw.integers(0, _KINDS, rows)] + draw.normal(size=(rows, _DIM)).astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        copies = np.flatnonzero(draw.random(rows) < (0.25 if start else 0))
        noise = draw.normal(size=(len(copies), _DIM)) * _NOISE / np.sqrt(_DIM)
        if len(copies):
            values[copies] = made[draw.integers(0, start, len(copies))] + noise
            values[copies] /= np.linalg.norm(values[copies], axis=1, keepdims=True)
        made[start : start + rows] = values
    made.flush()
    return np.memmap(path, np.float16, "r", shape=(images, _DIM))


def measured(folder: Path, way: str, images: int) -> dict[str, Any]:
    """One run of the filter."""
    from openmofi.dataset.filters import LabelArrays
    from openmofi.plugins import semantic_duplicates

    features = _features(folder / "features", images)
    if way == "whole":
        semantic_duplicates.WHOLE = images
    none, number = np.zeros(images, np.uint64), np.arange(images)
    score = np.linspace(1, 0.5, images, dtype=np.float32)
    labels = LabelArrays.of(number, np.zeros(images, np.int32), score, none, none, 1, np.zeros(images, np.int64))
    with many_entities.peaks() as row:
        dropped = semantic_duplicates.repeating(labels, np.ones(images, bool), cosine=_COSINE, features=features)
    return {"contender": way, "images": images, "dropped": int(dropped.sum()), **row}


def main() -> None:
    """Measure and write `results/semantic_duplicates.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measured(Path(folder), arguments.one[0], int(arguments.one[1]))))
        return
    rows = []
    for way, images in RUNS:
        command = [sys.executable, __file__, "--one", way, str(images)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(rows[-1], flush=True)
    _, cells, whole, _ = rows
    figures = {"seconds_at_100000": cells["s"], "found": cells["dropped"] / whole["dropped"]}
    harness.write_result("semantic_duplicates", rows, figures)


if __name__ == "__main__":
    main()
