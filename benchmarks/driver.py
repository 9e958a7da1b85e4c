"""What the label job's driver costs by itself: a job of many shards whose tasks take no time.

The job is the real one (`openmofi.labeling.label`), its engine is not: a worker process does the first task of a stage
that works on shards or on parts of them (the two passes over what the corpus repeats and shares), and every other shard
or part gets a hard link to what came out; other tasks (entities, sums of sketches) are done by the worker. Fingerprints
are made up, of each shard another. What is left is what the driver does: looking at what is there, merging, deciding,
counting. Every size runs in a process of its own, on shards of the same pairs; the seconds of tasks are taken off, and
those of the calibration are told apart: it takes a fixed number of pairs (50,000 in a job, here 4,000), so that it does
not grow with the shards, and is measured by `label.py` and `stages.py`. What it costs to hand out as many tasks in each
of three stages to two worker processes, and to take their answers, is measured by itself (`dispatch_cpu_s`), and added.

Three times are taken: of the job, of the job that begins again with all tables there but no labels counted, and of
the finished job. Each is given by the clock (`_s`) and as the processor's time (`_cpu_s`), which what else a machine
does stretches less. The last answers from its manifest. The fingerprints of the shards are taken in the first of them
and known to the others.

`--entities N` measures a job of so many entities instead: see `many_entities.py`.
"""

from __future__ import annotations

import argparse
import copy
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

import harness
import many_entities

SIZES = (1_000, 10_000, 100_000)
_CALIBRATION_PAIRS = 4000


def spread(source: str, targets: Sequence[str]) -> None:
    """Hard links to a file; a copy where it has as many links as the file system allows."""
    for target in targets:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            source = shutil.copy(source, target)


class Taken:
    """Seconds of the blocks that it is around, by the clock and of the processor."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def __enter__(self) -> None:
        self.seconds, self.cpu = self.seconds - time.perf_counter(), self.cpu - time.process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds, self.cpu = self.seconds + time.perf_counter(), self.cpu + time.process_time()


class FreeTasks:
    """An engine whose tasks cost nothing: a worker does the first, the outputs of the others are links to its own."""

    def __init__(self) -> None:
        self.taken = Taken()
        self._worker: Any = None
        self._numbers = count()

    def suited(self, job: Any, progress: Any) -> Any:
        """See `openmofi.engine.protocol.Engine.suited`."""
        return self

    @contextmanager
    def session(self) -> Generator[FreeTasks]:
        """See `openmofi.engine.protocol.Engine.session`."""
        from openmofi.engine import engine_named

        with engine_named("processes:1").session() as self._worker:
            yield self

    def run(self, factory: Any, tasks: Sequence[Any], progress: Any, set_aside: Any = None) -> list[dict[str, Any]]:
        """See `openmofi.engine.protocol.Engine.run`."""
        from openmofi.engine import Quiet, two_pass
        from openmofi.labeling.judge import ShardJudge
        from openmofi.labeling.link import ShardLinker
        from openmofi.labeling.read import ShardReader
        from openmofi.storage import shards

        with self.taken:
            if factory is shards._taking:
                return [{"fingerprints": [f"{next(self._numbers):016x}" for _ in task]} for task in tasks]
            opened, given = (factory.func, factory.args[0]) if isinstance(factory, partial) else (None, None)
            if opened is ShardReader:
                paths = [given.texts, lambda shard: given.features.path(shard.name, shard.fingerprint)]
            elif opened is ShardLinker:
                paths = [given.links]
            elif opened is ShardJudge:
                paths = [given.path]
            elif isinstance(factory, two_pass._Pass):
                ending = "arrow" if factory.second else "zst"
                paths = [lambda part: f"{factory.folder}/{part.number}.{ending}"]
            else:
                return self._worker.run(factory, tasks, progress)
            [result] = self._worker.run(factory, tasks[:1], Quiet())
            for path in paths:
                spread(path(tasks[0]), [path(task) for task in tasks[1:]])
        # Each shard's counts are of its own, as they come from workers, and what the driver does with them is its time.
        results = []
        for _ in tasks:
            results.append(copy.deepcopy(result))
            progress.advance(results[-1])
        return results


def features(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """(n, 64) float32 of texts, or of some pixels, the same for the same."""
    return np.stack(
        [np.random.default_rng(zlib.crc32(repr(value).encode())).standard_normal(64) for value in values]
    ).astype(np.float32)


def image_features(images: Sequence[Any]) -> np.ndarray[Any, Any]:
    """(n, 64) float32 of images."""
    return features([image.tobytes()[:40] for image in images])


def nothing() -> Callable[[Any], dict[str, Any]]:
    """A `WorkFactory` whose tasks do nothing."""
    return lambda task: {"rows": 1}


def dispatched(shards: Sequence[Any]) -> float:
    """Seconds of the processor that this process takes to hand out shards to workers, in three stages."""
    from openmofi.engine import Quiet, engine_named

    with engine_named("processes:2").session() as session:
        session.run(nothing, shards[:2], Quiet())
        start = time.process_time()
        for _ in range(3):
            session.run(nothing, shards, Quiet())
        return time.process_time() - start


def simulate(root: Path, shards: int, pairs: int) -> dict[str, Any]:
    """One size; seconds and memory beyond what is there before the job."""
    from PIL import Image

    from openmofi.encoders import as_encoder
    from openmofi.engine import Quiet
    from openmofi.knowledge import KnowledgeBase, build_table
    from openmofi.labeling import LabelSettings, label, label_job
    from openmofi.labeling import job as job_module
    from openmofi.labeling.decide import decide
    from openmofi.pairs import Record, write_tar
    from openmofi.storage import expand_shards

    draw = np.random.default_rng(0)
    names = [f"thing{number}" for number in range(1000)]
    source = root / "source"
    source.mkdir(parents=True)
    (source / "entities.csv").write_text(
        "id,name\n" + "".join(f"e{number},{name}\n" for number, name in enumerate(names))
    )
    build_table(source, root / "kb")

    def encoded(number: int) -> bytes:
        image = Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8))
        path = root / "image.png"
        image.save(path)
        return path.read_bytes()

    texts = [f"a photo of {names[number % 1000]} and {names[number * 7 % 1000]}" for number in range(pairs)]
    records = [Record(f"{number:06d}", encoded(number), text) for number, text in enumerate(texts)]
    folder = root / "pairs"
    folder.mkdir()
    write_tar(folder / "s000000.tar", records)
    spread(str(folder / "s000000.tar"), [str(folder / f"s{number:06d}.tar") for number in range(1, shards)])

    deciding = Taken()

    def timed(*given: Any) -> Any:
        with deciding:
            return decide(*given)

    job_module.STEPS = tuple(timed if step is decide else step for step in job_module.STEPS)
    label_job.CALIBRATION_PAIRS = _CALIBRATION_PAIRS
    encoder = as_encoder((image_features, features))
    found = expand_shards([str(folder)])
    kb, settings = KnowledgeBase.open(root / "kb"), LabelSettings()
    before, row = harness.peak_mib(), {"shards": shards, "pairs": pairs}
    for name in ("job", "again", "finished"):
        if name == "again":
            (root / "out/manifest.json").write_text(
                (root / "out/manifest.json").read_text().replace('"outputs": "', '"outputs": "other ')
            )
        engine, whole, deciding = FreeTasks(), Taken(), Taken()
        with whole:
            counts = label(found, kb, encoder, root / "out", settings, engine=engine, progress=Quiet())
        row[f"{name}_s"] = whole.seconds - engine.taken.seconds - deciding.seconds
        row[f"{name}_cpu_s"] = whole.cpu - engine.taken.cpu - deciding.cpu
        if name == "job":
            row["calibration_s"] = deciding.seconds
        assert counts["rows_in"] == counts["rows_out"] == shards * pairs
    row["mib"] = harness.peak_mib() - before
    row["dispatch_cpu_s"] = dispatched(found)
    return row


def main() -> None:
    """Measure and write `results/driver.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--pairs", type=int, default=64, help="pairs of a shard")
    parser.add_argument("--entities", type=int, help="measure a job of so many entities instead")
    parser.add_argument("--dim", type=int, default=64, help="of their features, with --entities")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    Path("runs").mkdir(exist_ok=True)
    if arguments.one:
        with tempfile.TemporaryDirectory(dir="runs") as folder:
            print(json.dumps(simulate(Path(folder), arguments.one, arguments.pairs)))
        return
    if arguments.entities:
        with tempfile.TemporaryDirectory(dir="runs") as folder:
            steps = many_entities.measured(Path(folder), arguments.entities, arguments.dim)
        named = {row["step"]: row for row in steps}
        harness.write_result(
            "entities",
            steps,
            {
                "table_seconds": named["table"]["s"],
                "found_again_seconds": named["again"]["s"],
                "driver_private_mib": named["table"]["private_mib"],
                "worker_private_mib": named["worker"]["private_mib"],
            },
        )
        return
    rows = []
    for size in arguments.sizes:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(size), "--pairs", str(arguments.pairs)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        rows.append(json.loads(done.stdout))
        print(rows[-1], flush=True)
    last = rows[-1]
    harness.write_result(
        "driver",
        rows,
        {
            "seconds_per_1000_shards": 1000 * (last["job_cpu_s"] + last["dispatch_cpu_s"]) / last["shards"],
            "again_seconds_per_1000_shards": 1000 * last["again_cpu_s"] / last["shards"],
            "clock_seconds_per_1000_shards": 1000 * last["job_s"] / last["shards"],
            "again_clock_seconds_per_1000_shards": 1000 * last["again_s"] / last["shards"],
            "mib_per_1000_shards": 1000 * (last["mib"] - rows[0]["mib"]) / max(last["shards"] - rows[0]["shards"], 1),
            "finished_seconds": last["finished_s"],
        },
    )


if __name__ == "__main__":
    main()
