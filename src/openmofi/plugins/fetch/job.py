"""`openmofi fetch`: a job that downloads shard by shard on an engine, resumes, and retries what failed."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.config import deciding
from openmofi.engine import Engine, Job, LocalEngine, Progress, Quiet, recorded
from openmofi.engine.loop import incomplete
from openmofi.engine.protocol import Work
from openmofi.engine.steps import Running, Step, Summary
from openmofi.errors import OpenMofiError
from openmofi.pairs import ReadSettings, Record, read_pairs, write_tar
from openmofi.plugins.fetch import FAILED, OWN, STATUSES, SUCCESS, FetchSettings
from openmofi.plugins.fetch.rows import Row, RowFetcher, Spool
from openmofi.plugins.fetch.tables import STAGED, staged
from openmofi.plugins.fetch.web import host_of
from openmofi.storage import Outputs, Shard, claimed, finish_manifest, write_json, write_table
from openmofi.storage.addresses import is_remote, local_path, open_address
from openmofi.storage.atomic import remove_folder
from openmofi.storage.manifest import write_manifest

OUTPUTS = Outputs(("[0-9]*.tar", "[0-9]*.parquet", "[0-9]*_stats.json", f"{STAGED}/*"))
_WHOLE = ("width", "height", "http_status")
_MOST, _SHOWN = 50, 10


class FetchSummary(Summary, frozen=True):
    """What the log of a shard holds.

    Attributes:
        rows, bytes: how many rows there are, and bytes of images.
        statuses: status → rows.
        errors, hosts: error message, host → rows without an image; the 50 most frequent of a shard.
    """

    NOTE: ClassVar[str] = "fetch"

    rows: int
    bytes: int
    statuses: dict[str, int]
    errors: dict[str, int]
    hosts: dict[str, int]

    def counts(self) -> dict[str, Any]:
        """Return what `fetch` answers."""
        statuses = {status: self.statuses.get(status, 0) for status in STATUSES}
        most = {
            name: dict(sorted(of.items(), key=lambda each: (-each[1], each[0]))[:_SHOWN])
            for name, of in (("errors", self.errors), ("hosts", self.hosts))
        }
        return {"rows": self.rows, **statuses, "bytes": self.bytes, **most}


@dataclass(frozen=True)
class FetchStage:
    """The work of one shard; it is the engine's factory.

    Attributes:
        out: folder of the pairs.
        settings: see there.
        again: fetch again those rows of a finished shard that have no image.
    """

    out: str
    settings: FetchSettings
    again: bool = False

    def __call__(self) -> Work:
        """Open a client; the work makes a shard's tar and log."""
        return partial(self._fetch, RowFetcher(self.settings))

    def log(self, shard: Shard) -> str:
        """Return the path of a shard's log, which is written last."""
        return f"{self.out}/{shard.name}.parquet"

    def _fetch(self, client: RowFetcher, shard: Shard) -> Row:
        start, tar = time.time(), f"{self.out}/{shard.name}.tar"
        with open_address(self.log(shard) if self.again else shard.path) as table:
            rows: list[Row] = pq.read_table(table).to_pylist()
        fields = [*OWN, *self.settings.keep_columns]
        with tempfile.TemporaryFile(dir=None if is_remote(self.out) else local_path(self.out)) as file:
            spool = Spool(file)
            if self.again:
                kept = {row["key"] for row in rows if row["status"] == SUCCESS}
                for pair in read_pairs(Shard(tar, shard.name), ReadSettings(max_image_bytes=self.settings.max_bytes)):
                    if pair.image is not None and pair.key in kept:
                        spool.add(pair.key, pair.image)
            client.fetch([row for row in rows if row["key"] not in spool.places], spool)
            there = (row for row in rows if row["key"] in spool.places)
            write_tar(
                tar,
                (
                    Record(row["key"], spool.read(row["key"]), row["caption"], {name: row[name] for name in fields})
                    for row in there
                ),
            )
        noted = _summary(rows, sum(size for _, size in spool.places.values()))
        _write_statistics(f"{self.out}/{shard.name}_stats.json", noted, start)
        schema = pa.schema([(name, pa.int32() if name in _WHOLE else pa.string()) for name in fields])
        write_table(self.log(shard), pa.Table.from_pylist(rows, schema), noted.notes())
        return {"rows": noted.rows}


def _summary(rows: Sequence[Row], size: int) -> FetchSummary:
    failed = [row for row in rows if row["status"] != SUCCESS]
    errors, hosts = Counter(row["error_message"] for row in failed), Counter(host_of(row["url"]) for row in failed)
    statuses = Counter(row["status"] for row in rows)
    return FetchSummary(
        len(rows), size, dict(statuses), dict(errors.most_common(_MOST)), dict(hosts.most_common(_MOST))
    )


def _write_statistics(path: str, noted: FetchSummary, start: float) -> None:
    """Write what img2dataset says of a shard, with its names."""
    end, counts = time.time(), noted.counts()
    write_json(
        path,
        {
            "count": noted.rows,
            "successes": counts[SUCCESS],
            **{status: counts[status] for status in FAILED},
            "duration": end - start,
            "start_time": start,
            "end_time": end,
            "status_dict": {SUCCESS: counts[SUCCESS], **noted.errors},
        },
    )


def fetch_pairs(
    tables: Sequence[Shard],
    out: str | Path,
    settings: FetchSettings = FetchSettings(),
    *,
    engine: Engine | None = None,
    progress: Progress | None = None,
    restart: bool = False,
    retry_failed: bool = False,
) -> Mapping[str, Any]:
    """Download the images of tables of URLs into shards of pairs.

    Args:
        tables: CSV, TSV, JSON lines or Parquet, split into shards in this order.
        out: a folder, or an address in a store of objects.
        settings: see `FetchSettings`.
        engine, progress: how it runs, what reports its progress. Connection limits apply to each worker.
        restart: remove what was made in `out` before, and begin anew.
        retry_failed: download the failed rows of finished shards again.

    Returns:
        `rows`, the rows of each status, `bytes` of images, and the most frequent errors and hosts of failed rows.

    Raises:
        UsageError: a table has no column of URLs or texts.
        OpenMofiError: a table cannot be read, `out` was made with other settings, or no image was fetched.
    """
    engine, progress, stage = engine or LocalEngine(), progress or Quiet(), FetchStage(str(out), settings)
    inputs = {table.name: table.fingerprint for table in tables}
    with claimed(
        out, "pairs", dict(deciding(settings)), inputs, outputs=OUTPUTS, restart=restart, stores=True
    ) as manifest:
        if manifest.finished and not retry_failed:
            return dict(manifest.counts)
        if manifest.finished:  # what it counts is about to change
            manifest = replace(manifest, finished=False)
            write_manifest(out, manifest)
        shards = staged(tables, str(out), settings)
        step = Step("fetch", stage.log, stage, FetchSummary)
        job = Job("cpu", lambda most: min(most, len(shards) * settings.shard_size))
        with recorded(progress, out) as progress, engine.suited(job, progress).session() as session:
            running = Running(session, progress)
            if retry_failed:
                noted = zip(shards, step.summaries(shards), strict=True)
                failed = [shard for shard, each in noted if each and each.statuses.get(SUCCESS, 0) < each.rows]
                running.do_shards("again", replace(stage, again=True), failed)
            total = reduce(add, running.complete(step, shards))
        if running.failed:
            raise incomplete(running.reasons(), len(shards), out, "fetched")
        counts = {**total.counts(), "shards": len(shards)}
        if not counts[SUCCESS]:
            errors = "; ".join(f"{why} ({rows:,})" for why, rows in counts["errors"].items())
            raise OpenMofiError(
                f"None of {total.rows:,} images could be fetched: {errors}.",
                "Check the URLs and the network, and start the same command again with --retry-failed.",
            )
        finish_manifest(out, manifest, counts)
    remove_folder(f"{out}/{STAGED}")
    return counts
