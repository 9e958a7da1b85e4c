"""Last step of the label job: links and features of a shard in, its label table out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.encoders import Encoder
from openmofi.engine.protocol import TaskProgress, Work
from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import Scorer
from openmofi.labeling.calibrate.neighbours import Gallery
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.labeling.links import ReadShard, judged_rows, mention_names
from openmofi.labeling.read import ReadStage
from openmofi.labeling.selection import Context, Judgements, Opinion, judge
from openmofi.labeling.summaries import LabelSummary, examples_of
from openmofi.schema import JUDGEMENT, LABELS, LabelStatus, PairStatus, with_kinds
from openmofi.storage import Shard
from openmofi.storage.tables.blocks import table_blocks
from openmofi.storage.tables.footers import Footer, footers


@dataclass(frozen=True)
class Judge:
    """Who judges.

    Attributes:
        encoder: has the feature fingerprint of what was read.
        calibration: of that encoder.
        gallery: file of the witnesses (`openmofi.labeling.calibrate.neighbours`), or "".
    """

    encoder: Encoder
    calibration: Calibration
    gallery: str = ""


@dataclass(frozen=True)
class JudgeStage:
    """Judges shards that were read; a `WorkFactory`.

    Attributes:
        read: names the links and features.
        judges: whose probabilities are averaged; an adapter goes first, the encoder that it stands on second.
        entities: where the table of the entities that occur is, see `openmofi.features.entities.entity_table`.
        selection: see `SelectionSettings`.
        threshold: least probability of a label.
        out: folder of the label tables.
        unread: which shards have images in formats that are not read (`openmofi.features.store`).
    """

    read: ReadStage
    judges: tuple[Judge, ...]
    entities: str
    selection: SelectionSettings
    threshold: float
    out: str
    unread: frozenset[str] = frozenset()

    def path(self, shard: Shard) -> str:
        """Where the shard's labels are kept."""
        return f"{self.out}/labels/{shard.name}.parquet"

    def labels_of(self, shards: Sequence[Shard]) -> tuple[LabelSummary, list[Shard]]:
        """What the labels of shards say on the whole, and the shards whose labels have not been made.

        A table that was cut off is made again.
        """
        labels, missing = LabelSummary(), []
        for shard, footer in zip(shards, footers(self.path, shards), strict=True):
            if (summary := LabelSummary.of(footer)) is None:
                missing.append(shard)
            else:
                labels += summary
        return labels, missing

    def __call__(self) -> Work:
        """Map the entities, and project the reference, once a worker."""
        return ShardJudge(self).judge


@dataclass
class Tally:
    """A progress that sums up what judged shards say as they come, and leaves nothing of it with the engine.

    So a job's memory does not grow with the histograms of its shards.

    Attributes:
        progress: receives everything.
        labels: of the shards so far.
    """

    progress: TaskProgress
    labels: LabelSummary = field(default_factory=LabelSummary)

    def begin(self, stage: str, total: int) -> None:
        """See `openmofi.engine.Progress`, as the others."""
        self.progress.begin(stage, total)

    def advance(self, counts: dict[str, Any]) -> None:
        """Take the counts of a shard, which are empty afterwards."""
        summary = LabelSummary.of(Footer(counts["rows"], counts["notes"]))
        assert summary is not None
        self.labels += summary
        self.progress.advance(counts)
        counts.clear()

    def say(self, message: str) -> None:
        """See there."""
        self.progress.say(message)

    def starts(self, worker: str, task: Any) -> None:
        """See `openmofi.engine.protocol.TaskProgress`, as the others."""
        self.progress.starts(worker, task)

    def ends(self, worker: str) -> None:
        """See there."""
        self.progress.ends(worker)

    def fails(self, task: Any, reason: str) -> None:
        """See there."""
        self.progress.fails(task, reason)


class ShardJudge:
    """Does `JudgeStage`'s work for one shard after another."""

    def __init__(self, stage: JudgeStage) -> None:
        self.stage = stage
        self.entities = EntityFeatures.open(stage.entities)
        self.scorers = [
            Scorer.of(judge.encoder, self.entities, judge.calibration.reference, judge.calibration.logit_scale)
            for judge in stage.judges
        ]
        self.galleries = [Gallery.load(judge.gallery) if judge.gallery else None for judge in stage.judges]

    def judge(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's label table; returns `rows`, `labelled`, the count of each status, `notes`, which say all
        of it, and `examples` of labels for people who watch.
        """
        unread = self.stage.read.features.unread_formats(shard.name, shard.fingerprint, self.stage.unread)
        notes, summary = dict[str, str](), LabelSummary(unread=Counter(unread))
        examples: list[dict[str, Any]] = []
        schema = with_kinds(LABELS) if self.stage.read.features.read.has_kinds else LABELS
        with table_blocks(self.stage.path(shard), schema, notes) as add:
            for read in ReadShard.blocks(self.stage.read, shard):
                labels = self._labels(read, schema)
                add(labels)
                examples = examples or examples_of(labels, self.stage.read.kb)
                summary += LabelSummary.of_table(labels)
            notes |= summary.notes()
        status = summary.status
        return {
            "rows": status.total(),
            "labelled": status[LabelStatus.LABELLED],
            "status": dict(status),
            "notes": summary.notes(),
            "examples": examples,
        }

    def _labels(self, read: ReadShard, schema: pa.Schema) -> pa.Table:
        links, texts = read.links, read.table.column("text").to_pylist()
        names = mention_names(read.table.column("mentions"), links.pair, links.mention)
        opinions = [
            Opinion(
                scorer.images(read.shard, read.keys, read.features.values),
                who.calibration,
                Context.of(links, names, who.calibration, self.stage.read.kb, gallery, read.features.values, texts),
            )
            for who, scorer, gallery in zip(self.stage.judges, self.scorers, self.galleries, strict=True)
        ]
        return _label_table(
            read,
            judge(
                links,
                read.usable,
                opinions,
                judged_rows(links, self.entities),
                self.stage.selection,
                self.stage.threshold,
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
