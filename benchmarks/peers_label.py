"""Images through one ONNX encoder to a table of embeddings: OpenMOFI beside Daft, Ray Data, WebDataset, clip-retrieval.

    python benchmarks/peers_label.py --environments FOLDER [--images 1280] [--turns 3]

Each peer has a virtual environment of its own in FOLDER, named as in `ENVIRONMENTS`; one that is not there is made,
with pip (without a GPU, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu spares 3 GB). OpenMOFI runs in the
environment of this process.

All read the same 8 tars of photograph-like JPEGs of 400 × 300 pixels, some 30 kB each, which are made from the
packaged pages. All preprocess by Pillow and embed with the image tower of the encoder `tiny` in batches of 64, by one
version of ONNX Runtime, on the same two cores, and write each image's key and embedding to Parquet (clip-retrieval:
NumPy's files). What each one runs, as its documentation recommends, is in `peers_label_parts/`, with a worker and a
thread for each core; OpenMOFI also runs in a single process. Each run is a process of its own, and they take turns.

Seconds are from when a contender has been imported, and Ray started, until its table is written; starting workers and
opening the encoder count. `process_s` is all that a user waits. Memory is the greatest sum of proportional set sizes
over a contender's processes, in a turn of its own that is not timed, since looking takes time. Embeddings that differ
from ours (cosine below .999), or keys that are missing, end the benchmark.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

import harness

HERE, SHARDS, LEAST_COSINE = Path(__file__).parent, 8, 0.999
LOOK_S, LIMIT_S = 0.2, 300
PARTS = HERE / "peers_label_parts"
TINY = HERE.parent / "src/openmofi/encoders/tiny"
OURS, ALONE = "openmofi", "openmofi in one process"
CONTENDERS = {
    OURS: ("openmofi_itself.py", "processes:2"),
    ALONE: ("openmofi_itself.py", "local"),
    "daft": ("daft_peer.py",),
    "ray": ("ray_peer.py",),
    "webdataset": ("webdataset_peer.py",),
    "clip-retrieval": ("clip_retrieval_peer.py",),
}
"""Name, of peers that of the environment → what it runs, and with what arguments."""
SETTINGS = {
    OURS: "engine processes:2, as in jobs of 5,000 pairs; in each 1 decoding thread, 1 of ONNX Runtime; no hashes",
    ALONE: "engine local; 2 decoding threads, 2 of ONNX Runtime; no hashes",
    "daft": "daft.cls(max_concurrency=2, use_process=False), 1 thread of ONNX Runtime each; tars by a generator",
    "ray": "ActorPoolStrategy(size=2), 1 thread of ONNX Runtime each; read_webdataset(decoder=None)",
    "webdataset": "WebLoader of 2 workers; 2 threads of ONNX Runtime",
    "clip-retrieval": "WebdatasetReader of 2 workers; 2 threads of ONNX Runtime in place of its mapper",
}
_SAME = ("onnxruntime==1.32.0", "pillow==13.0.0")
ENVIRONMENTS = {
    "daft": ([*_SAME, "daft==0.7.26", "numpy==2.4.6", "pyarrow<26"],),
    "ray": ([*_SAME, "ray[data]==2.60.0", "numpy==2.4.6", "pyarrow==26.0.1"],),
    "webdataset": ([*_SAME, "webdataset==1.0.2", "torch==2.13.0", "numpy==2.4.6", "pyarrow==26.0.1"],),
    "clip-retrieval": (
        # The versions that it asks for, of what its inference imports.
        [*_SAME, "numpy<2", "pyarrow<16", "pandas<3", "webdataset<0.3", "torch==2.13.0", "fsspec", "wandb"],
        ["--no-deps", "clip-retrieval==2.45.0"],
    ),
}
"""Name → what pip installs, a call each."""


def python_of(name: str, environments: Path) -> str:
    """The interpreter of a contender's environment, which is made where it is not there."""
    if name not in ENVIRONMENTS:
        return sys.executable
    python, done = environments / name / "bin/python", environments / name / "installed"
    if not done.exists():
        print(f"installing {name} in {environments / name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", environments / name], check=True)
        for packages in ENVIRONMENTS[name]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return str(python)


def photographs() -> Iterator[bytes]:
    """JPEGs of 400 × 300 pixels: a packaged image, enlarged, under shades and grain like those of a photograph."""
    from openmofi.pairs import ImageRefused, decode_image, read_pairs
    from openmofi.storage import expand_shards

    draw = np.random.default_rng(0)
    (pages,) = expand_shards([str(HERE.parent / "src/openmofi/plugins/demo/data/pages.tar")])
    drawings = []
    for pair in read_pairs(pages):
        with suppress(ImageRefused):  # some are broken, as on the web
            drawings.append(decode_image(pair.image or b""))
    for small in cycle(drawings):
        drawing = small.resize((400, 300), Image.Resampling.BICUBIC)
        shades = Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8)).resize(
            (400, 300), Image.Resampling.BICUBIC
        )
        grain = draw.normal(0, 9, (300, 400, 1)) + draw.normal(0, 3, (300, 400, 3))
        pixels = np.asarray(Image.blend(drawing, shades, 0.35)) + grain
        file = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
        yield file.getvalue()


def corpus(folder: Path, images: int) -> list[str]:
    """Eight tars in `folder`."""
    from openmofi.pairs.writer import write_tar
    from openmofi.schema import Pair

    stream = (Pair(f"{number:06}", image, "a page") for number, image in enumerate(islice(photographs(), images)))
    paths = [str(folder / f"{number:05}.tar") for number in range(SHARDS)]
    for path in paths:
        write_tar(path, islice(stream, -(-images // SHARDS)))
    return paths


def processes(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for process in found:
        found += parents.get(process, [])
    return found


def memory(root: int) -> float:
    """The proportional set sizes of a process and all that descend from it, in MiB: what they share counts once."""
    total = 0
    for process in processes(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def run(name: str, python: str, job: dict[str, Any], *, watch: bool) -> tuple[float, float, float]:
    """Run a contender; return its seconds, those of its process, and the MiB that it took at most where it is watched.

    Args:
        name: of the contender.
        python: its interpreter.
        job: see `peers_label_parts/shared.py:Job`.
        watch: look at its memory, which takes time.
    """
    about = Path(f"{job['out']}.json")
    about.write_text(json.dumps(job))
    own = {each: value for each, value in os.environ.items() if each not in ("OMP_NUM_THREADS", "PYTHONPATH")}
    # Peers tell their makers and caches what they do; none has a network here.
    own |= {"DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_MODE": "disabled"}
    if name not in ENVIRONMENTS:
        own["PYTHONPATH"] = str(HERE.parent / "src")
    start, most = time.perf_counter(), 0.0
    with open(about.with_suffix(".log"), "w+") as log:
        script, *more = CONTENDERS[name]
        process = subprocess.Popen([python, PARTS / script, about, *more], env=own, stdout=log, stderr=log)
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S if watch else LIMIT_S)
            if process.poll() is None and time.perf_counter() - start > LIMIT_S:
                for each in processes(process.pid):
                    os.kill(each, signal.SIGKILL)
                raise SystemExit(f"{name} has not ended within {LIMIT_S} s.")
            most = max(most, memory(process.pid)) if watch else 0.0
        taken = time.perf_counter() - start
        log.seek(0)
        lines = log.read().splitlines()
    figures = [line for line in lines if line.startswith('{"seconds"')]
    if process.returncode or not figures:
        raise SystemExit(f"{name} failed:\n" + "\n".join(lines[-30:]))
    return json.loads(figures[-1])["seconds"], taken, most


def embeddings(out: Path) -> dict[str, NDArray[np.float32]]:
    """What a contender wrote: key → (dim,), L2-normalised."""
    if (out / "img_emb").exists():
        (keys,) = (pq.read_table(path)["image_path"].to_pylist() for path in (out / "metadata").glob("*.parquet"))
        (rows,) = (np.load(path) for path in (out / "img_emb").glob("*.npy"))
    else:
        tables = [pq.read_table(path) for path in sorted(out.glob("*.parquet"))]
        keys = [key for table in tables for key in table["key"].to_pylist()]
        rows = np.concatenate([np.stack(table["embedding"].to_numpy()) for table in tables])
    rows = rows.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return dict(zip(keys, rows, strict=True))


def least_cosine(ours: dict[str, NDArray[np.float32]], theirs: dict[str, NDArray[np.float32]]) -> float:
    """The cosine of the image of which two contenders' embeddings differ most; -1 where they have other keys."""
    return min(float(ours[key] @ theirs[key]) for key in ours) if ours.keys() == theirs.keys() else -1.0


def job_of(shards: list[str], out: Path) -> dict[str, Any]:
    """What a contender is given."""
    about = json.loads((TINY / "encoder.json").read_text())
    how = about["preprocessing"]
    sizes = {"side": how["size"], "mean": how["mean"], "std": how["std"], "dim": about["dim"]}
    return {"graph": str(TINY / "image.onnx"), "shards": shards, "out": str(out), **sizes}


def ratios(rows: dict[str, harness.Row], image_bytes: float) -> dict[str, float]:
    """OpenMOFI over the best of its peers, in images a second, and its memory over the leanest's."""
    peers = [row for name, row in rows.items() if name in ENVIRONMENTS]
    best = min(peers, key=lambda row: row["median_s"])
    leanest = min(row["memory_mib"] for row in peers)
    turns = [theirs / own for theirs, own in zip(best["seconds"], rows[OURS]["seconds"], strict=True)]
    return {
        "peers_label_over_best": best["median_s"] / rows[OURS]["median_s"],
        "peers_label_over_best_least": min(turns),
        "peers_label_over_best_greatest": max(turns),
        "peers_label_process_over_best": min(row["process_s"] for row in peers) / rows[OURS]["process_s"],
        "peers_label_memory_over_leanest": rows[OURS]["memory_mib"] / leanest,
        "peers_label_alone_over_best": best["median_s"] / rows[ALONE]["median_s"],
        "peers_label_alone_memory_over_leanest": rows[ALONE]["memory_mib"] / leanest,
        "peers_label_least_cosine": min(row["least_cosine"] for row in rows.values()),
        "peers_label_bytes_an_image": image_bytes,
    }


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--environments", type=Path, required=True, help="folder of the peers' virtual environments")
    options.add_argument("--images", type=int, default=1280)
    options.add_argument("--turns", type=int, default=3, help="that are timed; one more is for memory")
    options.add_argument("--results", type=Path, default=harness.RESULTS)
    arguments = options.parse_args()
    pythons = {name: python_of(name, arguments.environments.absolute()) for name in CONTENDERS}
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    whole: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    most, cosines = dict[str, float](), dict[str, float]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shards = corpus(folder, arguments.images)
        size = sum(Path(path).stat().st_size for path in shards) / arguments.images
        for name, python in pythons.items():
            out = folder / name
            _, _, most[name] = run(name, python, job_of(shards, out), watch=True)
            cosines[name] = least_cosine(embeddings(folder / OURS), embeddings(out))
            if cosines[name] < LEAST_COSINE:
                raise SystemExit(f"{name}: an embedding has a cosine of {cosines[name]:.4f} with that of {OURS}.")
        for turn in range(arguments.turns):
            names = list(pythons)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                job = job_of(shards, folder / f"{name}-{turn}")
                taken, process, _ = run(name, pythons[name], job, watch=False)
                seconds[name].append(taken)
                whole[name].append(process)
    rows = harness.summarise(seconds, arguments.images)
    for name, row in rows.items():
        row |= {"process_s": statistics.median(whole[name]), "memory_mib": most[name]}
        row |= {"least_cosine": cosines[name], "settings": SETTINGS[name]}
    harness.show("peers_label", rows, "images", ["process_s", "memory_mib"])
    harness.write_result("peers_label", rows, ratios(rows, size), arguments.results)


if __name__ == "__main__":
    main()
