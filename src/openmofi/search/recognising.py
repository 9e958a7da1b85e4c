"""Recognition of many images: `openmofi recognise`, on the label job's engine and features.

    shards ─► features, kept as the label job's ─► nearest labelled images, entity texts ─► a table a shard

A shard's table is renamed into place when it is whole, so a job that was killed goes on where it was.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import field

from openmofi.encoders import Encoder
from openmofi.engine import Engine, LocalEngine, Progress, Quiet, recorded
from openmofi.engine.loop import incomplete
from openmofi.engine.protocol import Work
from openmofi.engine.steps import Running, Step, Summary
from openmofi.errors import OpenMofiError
from openmofi.features.images import compute_features, shard_source
from openmofi.features.store import FeatureStore
from openmofi.pairs.problems import PROBLEMS_FILE, problems_of, write_problems
from openmofi.pairs.read import identify, job_of
from openmofi.schema import RECOGNISED, PairStatus, RecogniseStatus
from openmofi.search.rank.calibration import LIKELY, share_of, with_share
from openmofi.search.rank.recognition import Likely, likely_entities
from openmofi.search.rank.state import State
from openmofi.search.recognise_settings import UNNAMED, RecogniseSettings
from openmofi.search.store.connection import Place, place_of
from openmofi.search.store.database import connect, content_of, meta, require_encoder
from openmofi.storage import Outputs, Shard, claimed, finish_manifest, remove_leftovers, table_blocks
from openmofi.storage.addresses import require_writable
from openmofi.storage.manifest import output_stamp

OUTPUTS = Outputs(("recognised/*.parquet", PROBLEMS_FILE), other=("features/*/*.arrow", "features/*/*.unread.json"))
_KIND, _PART = "recognised", "recognised"
_TOGETHER = 64


class RecogniseSummary(Summary, frozen=True):
    """Totals of a shard's table.

    Attributes:
        status: `RecogniseStatus` or `PairStatus` → rows.
        expected: of the rows that are `recognised`, the sum of their best probabilities.
        even: `Likely.even` in per cent, and images.
        named: `Likely.even` in per cent, and what `expected` of these images would be if labels named what all show.
    """

    NOTE = "openmofi.recognised"
    status: dict[str, int]
    expected: float
    even: list[tuple[int, int]]
    named: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class RecogniseStage:
    """Recognises shards; a `WorkFactory`.

    Attributes:
        index: its folder or server.
        content: of the index, see `openmofi.search.store.database.content_of`.
        features: gives and keeps the features, by the index's encoder.
        limit: entities of an image, at most.
        out: folder of the tables.
        unnamed: see `RecogniseSettings`.
    """

    index: Place
    content: str
    features: FeatureStore
    limit: int
    out: str
    unnamed: float = UNNAMED

    def path(self, shard: Shard) -> str:
        """Where the shard's table is kept."""
        return f"{self.out}/{_PART}/{shard.name}.parquet"

    def __call__(self) -> Work:
        """Open the index, once a worker."""
        connection = connect(self.index)
        # Vectors of a server are asked for by every image: they are held in memory.
        state = State.read(connection, hold=True)
        if content_of(connection) != self.content:
            connection.close()
            raise OpenMofiError(
                f"{self.index} has changed since the job began.",
                "Start the command again with --restart: what was embedded is kept.",
            )
        names = dict(connection.execute("SELECT number, name FROM entities"))
        connection.close()
        return partial(_recognise_shard, self, state, names)


def recognise_shards(
    shards: Sequence[Shard],
    index: str | Place,
    encoder: Encoder,
    out: str | Path,
    settings: RecogniseSettings = RecogniseSettings(),
    *,
    cache: str | Path | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    restart: bool = False,
) -> dict[str, Any]:
    """Recognise the images of `shards`; goes on where an earlier run stopped.

    Args:
        shards: of pairs, whose texts play no part; rows in = rows out, in their order.
        index: its folder, which every worker has to reach, or its address in PostgreSQL.
        encoder: the index's.
        out: gets `recognised/<shard>.parquet` (`openmofi.schema.RECOGNISED`), `problems.csv` and `manifest.json`; a
            local folder or one in a store.
        settings: see `RecogniseSettings`.
        cache: features, as label jobs keep them, and shared with these; `out` where not given.
        engine, progress: how it runs, what reports its progress.
        restart: remove what was made in `out` before, and begin anew.

    Returns:
        `rows_in`, `rows_out`, `status` (status → rows), `expected` (how many of the best entities of the rows with
        status `recognised` are expected to be right), `unnamed` (the likeliest share of images that show what no label
        names, by these images alone; not where the index cannot say), `expected_unnamed` (`expected`, if that share
        were so; likewise), the encoder's `device` and `precision`; `failed`, see below.

    Raises:
        UsageError: the output or the cache cannot be written to.
        OpenMofiError: there is no index, it knows no entities, or another encoder built it; the output was made with
            other settings or another state of the index. At the end, where shards are damaged or could not be read: the
            others are done.
    """
    address, progress, engine = place_of(index), progress or Quiet(), engine or LocalEngine()
    content = _checked(address, encoder)
    if cache:
        require_writable(cache)
    job = job_of(shards, settings.read, encoder.device, encoder)
    identify(shards, engine, job, progress)
    features = FeatureStore(str(cache or out), encoder, settings.read, settings.batch_size, settings.max_image_pixels)
    everywhere = address.absolute() if isinstance(address, Path) else address
    stage = RecogniseStage(everywhere, content, features, settings.limit, str(out), settings.unnamed)
    described = {
        **asdict(settings),
        "index": str(address),
        "shards": [{"name": shard.name, "path": shard.path} for shard in shards],
    }
    inputs = {shard.name: shard.fingerprint for shard in shards} | {"/index": content, "/encoder": encoder.fingerprint}
    with claimed(out, _KIND, described, inputs, outputs=OUTPUTS, restart=restart, stores=True) as manifest:
        if manifest.finished and "failed" not in manifest.counts and manifest.outputs == output_stamp(out, _PART):
            return dict(manifest.counts)
        with recorded(progress, out) as progress, engine.suited(job, progress).session() as session:
            counts = _run(stage, shards, Running(session, progress))
        write_problems(str(out), problems_of(str(out), _PART, shards, counts))
        counts |= {"device": encoder.device, "precision": encoder.precision}
        finish_manifest(out, manifest, counts, output_stamp(out, _PART))
    if "failed" in counts:
        raise incomplete(counts["failed"], len(shards), out, "recognised")
    return counts


def _checked(address: Place, encoder: Encoder) -> str:
    """What identifies the index's content."""
    with closing(connect(address)) as connection:
        require_encoder(address, meta(connection), encoder)
        if not connection.execute("SELECT 1 FROM entities").fetchone():
            raise OpenMofiError(f"{address} knows no entities.", "Build it of labels, or with --kb KB --entities all.")
        return content_of(connection)


def _run(stage: RecogniseStage, shards: Sequence[Shard], running: Running) -> dict[str, Any]:
    step = Step("recognise", stage.path, stage, RecogniseSummary)
    remove_leftovers(stage.features.cache)
    whole = sum(running.complete(step, shards), RecogniseSummary({}, 0.0, []))
    rows = sum(whole.status.values())
    counts = {"rows_in": rows, "rows_out": rows, "status": whole.status, "expected": round(whole.expected, 3)}
    if whole.even:
        each, images = zip(*whole.even, strict=True)
        share = share_of(np.repeat(np.array(each) / 100, images))
        right = sum(named * (1 - float(with_share(np.array(even / 100), share))) for even, named in whole.named)
        counts |= {"unnamed": round(share, 3), "expected_unnamed": round(right, 3)}
    return counts | ({"failed": running.reasons()} if running.failed else {})


def _recognise_shard(stage: RecogniseStage, state: State, names: dict[int, str], shard: Shard) -> dict[str, Any]:
    """Write the shard's table."""
    store, notes, summary = stage.features, dict[str, str](), RecogniseSummary({}, 0.0, [])
    if not store.has(shard.name, shard.fingerprint):
        compute_features(shard_source(shard, store.read, as_labelled=True), store)
    seen: set[str] = set()
    with closing(connect(stage.index)) as connection, table_blocks(stage.path(shard), RECOGNISED, notes) as add:
        for block in store.blocks(shard.name, shard.fingerprint):
            table = block.table
            statuses = _statuses(table, seen)
            likely: list[Likely | None] = [None] * len(table)
            usable = np.flatnonzero(np.array(statuses, object) == PairStatus.OK)
            for start in range(0, len(usable), _TOGETHER):
                rows = usable[start : start + _TOGETHER]
                vectors = store.encoder.project_images(block.values[rows].astype(np.float32))
                together = likely_entities(state, connection, vectors, stage.limit, unnamed=stage.unnamed)
                for row, each in zip(rows.tolist(), together, strict=True):
                    likely[row], statuses[row] = each, _status(each)
            made = {
                "key": table.column("key"),
                "status": statuses,
                "entities": [_entities(each, state, names) if each else [] for each in likely],
                "unnamed": [each and each.unnamed for each in likely],
            }
            add(pa.table(made | {name: table.column(name) for name in RECOGNISED.names[len(made) :]}, RECOGNISED))
            named = [each for each in likely if each]
            recognised = [each for each in named if _status(each) == RecogniseStatus.RECOGNISED]
            if_named = defaultdict[int, float](float)
            for each in recognised:
                if each.best is not None and each.even is not None and each.unnamed is not None:
                    if_named[round(100 * each.even)] += each.best / (1 - each.unnamed)
            summary += RecogniseSummary(
                dict(sorted(Counter(statuses).items())),
                sum(each.best or 0.0 for each in recognised),
                sorted(Counter(round(100 * each.even) for each in named if each.even is not None).items()),
                sorted(if_named.items()),
            )
        notes |= summary.notes()
    return {"rows": sum(summary.status.values())}


def _statuses(table: pa.Table, seen: set[str]) -> list[str]:
    """Of the images; the first of a repeated key is the one that counts."""
    statuses = []
    for key, status in zip(table.column("key").to_pylist(), table.column("status").to_pylist(), strict=True):
        statuses.append(str(PairStatus.DUPLICATE_KEY) if key in seen else status)
        seen.add(key)
    return statuses


def _status(likely: Likely) -> str:
    if likely.best is None:
        return str(RecogniseStatus.UNCALIBRATED)
    return str(RecogniseStatus.RECOGNISED if likely.best >= LIKELY else RecogniseStatus.NOTHING_LIKELY)


def _entities(likely: Likely, state: State, names: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "entity": state.entity_ids[each.number],
            "name": names[each.number],
            "probability": each.probability,
            "similarity": each.cosine,
            "evidence": [{"image": near.image, "cosine": near.cosine} for near in each.evidence],
        }
        for each in likely.entities
    ]
