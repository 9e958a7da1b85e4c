"""What the label job's driver and the tasks that merge a whole corpus cost, up to a hundred million distinct pairs.

The job is the real one (`openmofi.labeling.label`) over shards of 10,000 pairs. What a shard's tasks read and compute
is not: a worker process does the first task of a step in earnest, and writes of every other shard a table of the same
form with keys, n-grams, perceptual hashes, templates and sources of its own, of which a fifth are drawn from pools, so
that a corpus has as many that are shared; four fifths of the repeated pieces that a shard counts are its own, too, and
so is its fingerprint; judged tables are hard links, since nothing reads their rows. What the corpus repeats and which
pairs belong together is found in earnest, by real tasks in the worker, whose memory is looked at fifty times a second
(`tasks`: `private` is a process's own, `mapped` are pages of files, which the system takes back). What is left is what
the driver does: looking at what is there, handing out, deciding, counting.

Every size runs in a process of its own. The seconds of tasks are taken off, and those of the calibration are told
apart: it takes a fixed number of pairs (50,000 in a job, here 4,000), and is measured by `label.py` and `stages.py`.
Memory is measured twice: as the most that the process held of the system, which varies from run to run by some MiB,
and the calibration's is in it; and, in a process of its own over `--live-sizes` shards of `--live-pairs`, as the most
bytes that were alive by Python's own count outside of tasks and calibration (`live_mib`), of which
`mib_per_1000_shards` is the slope by least squares. What it costs to hand out as many tasks in each of three
steps to two worker processes, and to take their answers, is measured by itself (`dispatch_cpu_s`), and added. Three
times are taken: of the job, of the job that begins again with all tables there but no labels counted, and of the
finished job; each by the clock (`_s`) and as the processor's time (`_cpu_s`).

A hundred million pairs take 40 GB of the disk and the better part of an hour. `--entities N` measures a job of so many
entities instead: see `many_entities.py`.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

import harness
import many_entities

SIZES, LIVE_SIZES, LIVE_PAIRS = (100, 1_000, 10_000), (1_000, 3_000, 10_000), 1_000
_PAIRS, _DIM, _CALIBRATION_PAIRS = 10_000, 16, 4000
_SHARED = 0.2
"""Share of rows whose template, source, image or n-grams others have, too."""


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
    """Seconds of the blocks that it is around, by the clock and of the processor; and the most live bytes before them,
    where these are traced.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0
        self.live = 0

    def __enter__(self) -> None:
        self.live = max(self.live, tracemalloc.get_traced_memory()[1])
        self.seconds, self.cpu = self.seconds - time.perf_counter(), self.cpu - time.process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds, self.cpu = self.seconds + time.perf_counter(), self.cpu + time.process_time()
        if tracemalloc.is_tracing():
            tracemalloc.reset_peak()


def taken_from(draw: np.random.Generator, rows: int, pool: int) -> np.ndarray[Any, Any]:
    """(rows,) uint64 hashes, of which `_SHARED` are among so many that come back."""
    own = draw.integers(1, 1 << 63, rows, np.uint64)
    return np.where(
        draw.random(rows) < _SHARED, draw.integers(1, pool + 1, rows, np.uint64) * np.uint64(0x9E3779B97F4A7C15), own
    )


@dataclass(frozen=True)
class Likenesses:
    """Writes tables of other shards like that of the first; a `WorkFactory`.

    Attributes:
        likes: path of the first shard's table → kind of table.
        pool: hashes that come back.
    """

    likes: dict[str, str]
    pool: int

    def __call__(self) -> Callable[[tuple[int, list[str]]], dict[str, Any]]:
        """See `openmofi.engine.protocol.WorkFactory`."""
        from openmofi.storage.table_files import read_arrow_blocks, read_table_blocks, table_footer

        tables, notes = {}, {}
        for path, kind in self.likes.items():
            [tables[path]] = (read_arrow_blocks if kind == "features" else read_table_blocks)(path)
            notes[path] = {} if kind == "features" else dict(table_footer(path).notes)  # type: ignore[union-attr]

        def work(task: tuple[int, list[str]]) -> dict[str, Any]:
            number, targets = task
            for (path, kind), target in zip(self.likes.items(), targets, strict=True):
                self._write(tables[path], notes[path], kind, number, target)
            return {}

        return work

    def _write(self, table: Any, notes: dict[str, str], kind: str, number: int, target: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        draw, rows = np.random.default_rng([number, len(kind)]), len(table)

        def put(name: str, values: Any) -> None:
            nonlocal table
            field = table.schema.field(name)
            table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))

        put("key", [f"{number:06d}{row:06d}" for row in range(rows)])
        if kind == "texts":
            ngrams = table["ngrams"].combine_chunks()
            inner = ngrams.values
            hashes = np.sort(taken_from(draw, len(inner), 1000))
            columns = [pa.array(hashes), *(inner.field(place) for place in (1, 2))]
            struct = pa.StructArray.from_arrays(columns, fields=list(inner.type))
            put("ngrams", pa.ListArray.from_arrays(ngrams.offsets, struct, type=ngrams.type))
        if kind == "links":
            put("template", taken_from(draw, rows, self.pool))
            put("source", taken_from(draw, rows, self.pool // 10))
            notes = {**notes, "openmofi.links": _with_own_pieces(notes["openmofi.links"], number)}
        if kind == "features":
            put("phash", taken_from(draw, rows, self.pool))
            put("content", [f"{value:016x}" for value in draw.integers(0, 1 << 63, rows)])
            with pa.ipc.new_file(target, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            return
        with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({key: value for key, value in notes.items() if key != "ARROW:schema"})


def _with_own_pieces(note: str, number: int) -> str:
    """The summary of a shard's links with fifty repeated pieces, four fifths of which are in no other shard."""
    summary = json.loads(note)
    summary["marked"]["pieces"] = {f"a piece of the text {of % 5 and number} {of}": 3 for of in range(50)}
    return json.dumps(summary)


@dataclass(frozen=True)
class Watched:
    """Does tasks of a factory and notes what they take, a line of JSON each; a `WorkFactory`."""

    factory: Any
    name: str
    notes: str

    def __call__(self) -> Callable[[Any], dict[str, Any]]:
        """See `openmofi.engine.protocol.WorkFactory`."""
        work = self.factory()

        def watched(task: Any) -> dict[str, Any]:
            with many_entities.peaks() as row:
                result = work(task)
            with open(self.notes, "a") as file:
                file.write(json.dumps({"name": self.name, **row}) + "\n")
            return result

        return watched


class FreeTasks:
    """An engine whose tasks cost nothing: a worker does the first of a step, and makes up the outputs of the others."""

    def __init__(self, notes: Path, pool: int) -> None:
        self.taken = Taken()
        self._worker: Any = None
        self._notes, self._pool = notes, pool

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
        from openmofi.engine import Quiet
        from openmofi.engine.loop import unpickle_outcome
        from openmofi.labeling.judge import ShardJudge
        from openmofi.labeling.link import ShardLinker
        from openmofi.labeling.read import ShardReader
        from openmofi.storage import shards

        with self.taken:
            if factory is shards._taking:
                # All are one file, of which the first is read.
                [first] = self._worker.run(factory, [tasks[0][:1]], Quiet())
                others = (f"{number:016x}" for number in count(1))
                taken = chain(first["fingerprints"], others)
                return [{"fingerprints": [next(taken) for _ in task]} for task in tasks]
            opened: Any = factory.func if isinstance(factory, partial) else None
            given: Any = factory.args[0] if isinstance(factory, partial) else None
            if opened not in (ShardReader, ShardLinker, ShardJudge):
                name = f"{type(factory).__module__}.{getattr(factory, 'method', type(factory).__name__)}"
                return self._worker.run(Watched(factory, name, str(self._notes)), tasks, progress)
            [result] = self._worker.run(factory, tasks[:1], Quiet())
            if opened is ShardJudge:
                spread(given.path(tasks[0]), [given.path(task) for task in tasks[1:]])
            else:
                kinds = {"links": given.links}
                if opened is ShardReader:
                    store = given.features
                    kinds = {"texts": given.texts, "features": lambda shard: store.path(shard.name, shard.fingerprint)}
                likes = {path(tasks[0]): kind for kind, path in kinds.items()}
                rest = [(number, [path(task) for path in kinds.values()]) for number, task in enumerate(tasks[1:], 1)]
                self._worker.run(Likenesses(likes, self._pool), rest, Quiet())
        # Each shard's counts are of its own, as they come from workers, and what the driver does with them is its time.
        results: list[Any] = []
        pickled = pickle.dumps((result, ""))
        for _ in tasks:
            with self.taken:
                results.append(unpickle_outcome(pickled))
            progress.advance(results[-1])
        return results


def features(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """(n, `_DIM`) float32 of texts, or of some pixels, the same for the same."""
    return np.stack(
        [np.random.default_rng(zlib.crc32(repr(value).encode())).standard_normal(_DIM) for value in values]
    ).astype(np.float32)


def image_features(images: Sequence[Any]) -> np.ndarray[Any, Any]:
    """(n, `_DIM`) float32 of images."""
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


def corpus(root: Path, shards: int, pairs: int) -> None:
    """Write a base of a thousand entities, and shards that are all the same file."""
    from PIL import Image

    from openmofi.knowledge import build_table
    from openmofi.pairs import Record, write_tar

    draw = np.random.default_rng(0)
    names = [f"thing{number}" for number in range(1000)]
    source = root / "source"
    source.mkdir(parents=True)
    (source / "entities.csv").write_text(
        "id,name\n" + "".join(f"e{number},{name}\n" for number, name in enumerate(names))
    )
    build_table(source, root / "kb")

    def encoded() -> bytes:
        file = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
        return file.getvalue()

    texts = [f"{names[number % 1000]} and {names[number * 7 % 1000]}" for number in range(pairs)]
    folder = root / "pairs"
    folder.mkdir()
    write_tar(folder / "s000000.tar", [Record(f"{number:06d}", encoded(), text) for number, text in enumerate(texts)])
    spread(str(folder / "s000000.tar"), [str(folder / f"s{number:06d}.tar") for number in range(1, shards)])


def simulate(root: Path, shards: int, pairs: int, *, live: bool = False) -> dict[str, Any]:
    """One size; seconds, and memory beyond what is there before the job; `live` traces the bytes that are alive, which
    takes its time.
    """
    from openmofi.encoders import as_encoder
    from openmofi.engine import Quiet
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling import LabelSettings, label, label_job
    from openmofi.labeling import job as job_module
    from openmofi.labeling.decide import decide
    from openmofi.storage import expand_shards, read_arrow
    from openmofi.storage import shards as shard_module

    corpus(root, shards, pairs)
    time.sleep(shard_module._SETTLED_SECONDS)  # a shard that was written just now is read again by the next job
    deciding = Taken()

    def timed(*given: Any) -> Any:
        with deciding:
            return decide(*given)

    vars(job_module)["STEPS"] = tuple(timed if step is decide else step for step in job_module.STEPS)
    label_job.CALIBRATION_PAIRS = _CALIBRATION_PAIRS
    shard_module._IN_TASKS = 1  # fingerprints, which of fewer shards are taken in threads of the driver
    shard_module._SMALL = 0  # those of small files are not kept
    os.environ["OPENMOFI_HOME"] = str(root / "home")
    encoder = as_encoder((image_features, features))
    kb, settings = KnowledgeBase.open(root / "kb"), LabelSettings()
    row: dict[str, Any] = {"shards": shards, "pairs": pairs}
    notes = root / "tasks.jsonl"
    for name in ("job", "again", "finished"):
        if name == "again":
            (root / "out/manifest.json").write_text(
                (root / "out/manifest.json").read_text().replace('"outputs": "', '"outputs": "other ')
            )
        # As another process finds them.
        found = expand_shards([str(root / "pairs")])
        engine, whole, deciding = FreeTasks(notes, shards * pairs // 20), Taken(), Taken()
        if live:
            tracemalloc.start()
        with many_entities.peaks() as memory, whole:
            counts = label(found, kb, encoder, root / "out", settings, engine=engine, progress=Quiet())
        row |= {f"{name}_private_mib": memory["private_mib"], f"{name}_mapped_mib": memory["mapped_mib"]}
        if live:
            most = max(tracemalloc.get_traced_memory()[1], engine.taken.live, deciding.live)
            tracemalloc.stop()
            row[f"{name}_live_mib"] = most / 2**20
        row[f"{name}_s"] = whole.seconds - engine.taken.seconds - deciding.seconds
        row[f"{name}_cpu_s"] = whole.cpu - engine.taken.cpu - deciding.cpu
        if name == "job":
            row["calibration_s"] = deciding.seconds
        assert counts["rows_in"] == counts["rows_out"] == shards * pairs
    row["dispatch_cpu_s"] = dispatched(found)
    row["tasks"] = _tasks(notes)
    [joined] = (root / "out/groups").glob("*.arrow")
    row["shared_keys"] = len(read_arrow(joined))
    return row


def _tasks(notes: Path) -> dict[str, dict[str, float]]:
    """Of each kind of task how many there were, their seconds in all, and the greatest memory of one."""
    lines = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    kinds: dict[str, dict[str, float]] = {}
    for line in lines:
        kind = kinds.setdefault(
            line["name"].rpartition(".")[2], {"tasks": 0, "s": 0.0, "private_mib": 0.0, "mapped_mib": 0.0}
        )
        kind["tasks"] += 1
        kind["s"] += line["s"]
        for name in ("private_mib", "mapped_mib"):
            kind[name] = max(kind[name], line[name])
    return kinds


LIVE = ("job_live_mib", "again_live_mib", "finished_live_mib")


def _apart(shards: int, pairs: int, folder: str, *options: str) -> dict[str, Any]:
    """`simulate` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(shards), "--pairs", str(pairs), "--folder", folder, *options]
    row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(row, flush=True)
    return dict(row)


def _slope(rows: Sequence[dict[str, Any]], name: str) -> float:
    """What 1,000 shards add, by least squares over all sizes."""
    shards = [row["shards"] for row in rows]
    return 1000 * float(np.polyfit(shards, [row[name] for row in rows], 1)[0]) if len({*shards}) > 1 else 0.0


def main() -> None:
    """Measure and write `results/driver.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="shards")
    parser.add_argument("--pairs", type=int, default=_PAIRS, help="pairs of a shard")
    parser.add_argument("--live-sizes", type=int, nargs="+", default=LIVE_SIZES, help="shards, for live memory")
    parser.add_argument("--live-pairs", type=int, default=LIVE_PAIRS, help="pairs of these")
    parser.add_argument("--folder", default="runs", help="where the tables lie while it runs")
    parser.add_argument("--entities", type=int, help="measure a job of so many entities instead")
    parser.add_argument("--dim", type=int, default=64, help="of their features, with --entities")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--live", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    Path(arguments.folder).mkdir(exist_ok=True)
    if arguments.one:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            print(json.dumps(simulate(Path(folder), arguments.one, arguments.pairs, live=arguments.live)))
        return
    if arguments.entities:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
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
    rows = [_apart(size, arguments.pairs, arguments.folder) for size in arguments.sizes]
    traced = [_apart(size, arguments.live_pairs, arguments.folder, "--live") for size in arguments.live_sizes]
    last = rows[-1]
    harness.write_result(
        "driver",
        [{key: value for key, value in row.items() if key != "tasks"} for row in rows]
        + [{key: row[key] for key in ("shards", "pairs", *LIVE)} for row in traced]
        + [{"shards": row["shards"], "task": name, **kind} for row in rows for name, kind in row["tasks"].items()],
        {
            "pairs": last["shards"] * last["pairs"],
            "seconds_per_1000_shards": 1000 * (last["job_cpu_s"] + last["dispatch_cpu_s"]) / last["shards"],
            "again_seconds_per_1000_shards": 1000 * last["again_cpu_s"] / last["shards"],
            "clock_seconds_per_1000_shards": 1000 * last["job_s"] / last["shards"],
            "mib_per_1000_shards": max(_slope(traced, name) for name in LIVE),
            "resident_mib_per_1000_shards": _slope(rows, "job_private_mib"),
            "driver_peak_mib": max(last["job_private_mib"], last["again_private_mib"]),
            "largest_task_mib": max(kind["private_mib"] for kind in last["tasks"].values()),
            "finished_seconds": last["finished_s"],
        },
    )


if __name__ == "__main__":
    main()
