"""Last step of the label job: links and features of a shard in, its label table out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.engine.steps import Step
from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.calibrate.evidence import Scorer
from openmofi.labeling.calibrate.neighbours import Gallery
from openmofi.labeling.label_job import Judge, LabelJob
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.labeling.links import ReadShard, judged_rows, mention_names
from openmofi.labeling.selection import Context, Judgements, Opinion, select
from openmofi.labeling.summaries import LabelSummary, examples_of
from openmofi.labeling.tables import Tables
from openmofi.schema import JUDGEMENT, LABELS, LabelStatus, PairStatus, with_kinds
from openmofi.storage import Shard
from openmofi.storage.tables.blocks import table_blocks


@dataclass(frozen=True)
class Judging:
    """How shards are judged. Workers get it.

    Attributes:
        tables: names the links and features.
        judges: whose probabilities are averaged.
        entities: path of the table of the entities that occur, see `openmofi.features.entities.entity_table`.
        selection: see `SelectionSettings`.
        threshold: least probability of a label.
        out: folder of the labels.
        unread: which shards have images in formats that are not read (`openmofi.features.store`).
    """

    tables: Tables
    judges: tuple[Judge, ...]
    entities: str
    selection: SelectionSettings
    threshold: float
    out: str
    unread: frozenset[str] = frozenset()

    def path(self, shard: Shard) -> str:
        """Return the path of a shard's labels."""
        return f"{self.out}/labels/{shard.name}.parquet"


def judge(job: LabelJob) -> None:
    """Judge the shards whose labels are missing, and add up what the labels of all say."""
    judging = Judging(
        job.tables,
        job.judges,
        job.entities.path,
        job.settings.selection,
        job.threshold,
        job.out,
        job.tables.features.with_unread(),
    )
    step = Step("judge", judging.path, partial(ShardJudge, judging), LabelSummary)
    job.labels = sum(job.running.complete(step, job.shards), LabelSummary({}, {}, []))
    job.shards = job.running.left(job.shards)


class ShardJudge:
    """Judges one shard after another; maps the entities, and projects the reference, once a worker."""

    def __init__(self, judging: Judging) -> None:
        self.judging = judging
        self.entities = EntityFeatures.open(judging.entities)
        self.scorers = [
            Scorer.of(judge.encoder, self.entities, judge.calibration.reference, judge.calibration.logit_scale)
            for judge in judging.judges
        ]
        self.galleries = [Gallery.load(judge.gallery) if judge.gallery else None for judge in judging.judges]

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's label table; returns `rows`, `labelled`, and `examples` of labels for people who watch."""
        tables = self.judging.tables
        unread = tables.features.unread_formats(shard.name, shard.fingerprint, self.judging.unread)
        notes, summary = dict[str, str](), LabelSummary({}, dict(sorted(unread.items())), [])
        examples: list[dict[str, Any]] = []
        schema = with_kinds(LABELS) if tables.features.read.has_kinds else LABELS
        with table_blocks(self.judging.path(shard), schema, notes) as add:
            for read in ReadShard.blocks(tables, shard):
                labels = self._labels(read, schema)
                add(labels)
                examples = examples or examples_of(labels, tables.kb)
                summary += LabelSummary.of_table(labels)
            notes |= summary.notes()
        labelled = summary.status.get(LabelStatus.LABELLED, 0)
        return {"rows": summary.rows, "labelled": labelled, "examples": examples}

    def _labels(self, read: ReadShard, schema: pa.Schema) -> pa.Table:
        links, texts = read.links, read.table.column("text").to_pylist()
        names = mention_names(read.table.column("mentions"), links.pair, links.mention)
        opinions = [
            Opinion(
                scorer.images(read.shard, read.keys, read.features.values),
                who.calibration,
                Context.of(links, names, who.calibration, self.judging.tables.kb, gallery, read.features.values, texts),
            )
            for who, scorer, gallery in zip(self.judging.judges, self.scorers, self.galleries, strict=True)
        ]
        return _label_table(
            read,
            select(
                links,
                read.usable,
                opinions,
                judged_rows(links, self.entities),
                self.judging.selection,
                self.judging.threshold,
            ),
            schema,
        )


def _label_table(read: ReadShard, judgements: Judgements, schema: pa.Schema) -> pa.Table:
    links, index, accepted = read.links, judgements.index, judgements.accepted
    structs = pa.StructArray.from_arrays(
        [
            links.entity_ids.take(pa.array(links.entity[index])).cast(pa.string()),
            pa.array(links.mention[index], pa.int32()),
            pa.array(links.prior[index], pa.float32()),
            pa.array(links.link_score[index], pa.float32()),
            pa.array(judgements.image_score, pa.float32()),
            pa.array(judgements.probability, pa.float32()),
            pa.array(accepted, pa.bool_()),
            pa.array([str(reason) for reason in judgements.reason], pa.string()),
        ],
        fields=list(JUDGEMENT),
    )
    counts = np.bincount(links.pair[index], minlength=len(read.table))
    entities = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32()), structs)
    images = read.features.table
    # An image without pixels has no hash; the table of labels says 0.
    return pa.Table.from_arrays(
        [
            read.table.column("key"),
            read.table.column("text"),
            pa.array(_statuses(read, index, accepted)),
            read.table.column("mentions"),
            entities,
            images.column("width"),
            images.column("height"),
            images.column("phash").fill_null(0),
        ],
        schema=schema,
    )


def _statuses(read: ReadShard, index: NDArray[np.int64], accepted: NDArray[np.bool_]) -> list[str]:
    """The pair's own status where it was not usable, then the image's, then what the judgement says."""
    pair, rows = read.links.pair, len(read.table)
    reasons = [[mention["reason"] for mention in mentions] for mentions in read.table.column("mentions").to_pylist()]
    mentioned, boilerplate = np.array([bool(of) for of in reasons], bool), np.array([all(of) for of in reasons], bool)
    linked = np.bincount(pair, minlength=rows) > 0
    labelled = np.bincount(pair[index], accepted, rows) > 0
    judged = np.select(
        [labelled, linked, ~mentioned, boilerplate],
        [
            str(LabelStatus.LABELLED),
            str(LabelStatus.REJECTED),
            str(LabelStatus.NO_MENTION),
            str(LabelStatus.BOILERPLATE),
        ],
        str(LabelStatus.UNLINKED),
    )
    return [
        text if text != PairStatus.OK else image if image != PairStatus.OK else str(status)
        for text, image, status in zip(
            read.table.column("status").to_pylist(),
            read.features.table.column("status").to_pylist(),
            judged,
            strict=True,
        )
    ]
