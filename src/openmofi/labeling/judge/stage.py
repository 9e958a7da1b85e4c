"""Last stage of the label job: links and features of a shard in, its label table out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.encoders import Encoder
from openmofi.engine import LocalEngine, Quiet
from openmofi.engine.protocol import Work
from openmofi.features.entities import EntityFeatures, embed_entities
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.adapt.bags import usable_pairs
from openmofi.labeling.judge.calibration import Calibration
from openmofi.labeling.judge.evidence import Judges
from openmofi.labeling.judge.selection import Verdicts, judge
from openmofi.labeling.read.links import LinkArrays, link_arrays, read_features, read_links
from openmofi.labeling.read.stage import ReadStage
from openmofi.labeling.settings import SelectionSettings
from openmofi.schema import JUDGEMENT, LABELS, LabelStatus, PairStatus
from openmofi.storage import Shard, write_table


@dataclass(frozen=True)
class JudgeStage:
    """Judges shards that were read; a `WorkFactory`.

    Attributes:
        read: names the links and features.
        encoder: judges; it has the feature fingerprint of `read`'s.
        ids: the entities that occur, sorted.
        calibration: of that encoder.
        threshold: least probability of a label.
        out: folder of the label tables.
    """

    read: ReadStage
    encoder: Encoder
    ids: tuple[str, ...]
    calibration: Calibration
    selection: SelectionSettings
    threshold: float
    out: str

    def path(self, shard: Shard) -> str:
        """Where the shard's labels are kept."""
        return f"{self.out}/labels/{shard.name}.parquet"

    def __call__(self) -> Work:
        """Project the entities, once a worker."""
        known = embed_entities(KnowledgeBase.open(self.read.kb), self.encoder, self.ids, self.selection.template,
                               self.read.cache, LocalEngine(), Quiet())
        return ShardJudge(self, self.encoder, known).judge


class ShardJudge:
    """Does `JudgeStage`'s work for one shard after another."""

    def __init__(self, stage: JudgeStage, encoder: Encoder, known: EntityFeatures) -> None:
        self.stage, self.known = stage, known
        self.judges = Judges.of(encoder, known, stage.calibration.reference)

    def judge(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's label table; returns `rows`, `labelled` and the count of each status."""
        links = read_links(self.stage.read.links_path(shard))
        table, features = read_features(self.stage.read.features_path(shard))
        usable = usable_pairs(links, table)
        arrays = link_arrays(links.column("links"), self.stage.read.text.max_candidates)
        looked = self.judges.look(shard, links.column("key").to_pylist(), features)
        verdicts = judge(arrays, usable, looked, judged_positions(arrays, self.known), self.stage.calibration,
                         self.stage.selection, self.stage.threshold)
        labels = _label_table(links, table, arrays, verdicts)
        write_table(self.stage.path(shard), labels, {"whole": "yes"})
        statuses = Counter(labels.column("status").to_pylist())
        return {"rows": len(labels), "labelled": statuses[LabelStatus.LABELLED], "status": dict(statuses)}


def judged_positions(links: LinkArrays, known: EntityFeatures) -> NDArray[np.int64]:
    """Row in `known` of each of `links.entity_ids`; −1 for those that no image judges."""
    positions = np.full(len(links.entity_ids), -1, np.int64)
    used = np.unique(links.entity[links.judged])
    if len(used):
        positions[used] = known.positions(links.entity_ids.take(pa.array(used)))
    return positions


def _label_table(links: pa.Table, features: pa.Table, arrays: LinkArrays, verdicts: Verdicts) -> pa.Table:
    index, accepted = verdicts.index, verdicts.accepted
    structs = pa.StructArray.from_arrays([
        arrays.entity_ids.take(pa.array(arrays.entity[index])).cast(pa.string()),
        pa.array(arrays.mention[index], pa.int32()),
        pa.array(arrays.prior[index], pa.float32()),
        pa.array(arrays.link_score[index], pa.float32()),
        pa.array(verdicts.image_score, pa.float32()),
        pa.array(verdicts.probability, pa.float32()),
        pa.array(accepted, pa.bool_()),
        pa.array([str(reason) for reason in verdicts.reason], pa.string()),
    ], fields=list(JUDGEMENT))
    counts = np.bincount(arrays.pair[index], minlength=len(links))
    entities = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32()), structs)
    return pa.Table.from_arrays([
        links.column("key"), links.column("text"), pa.array(_statuses(links, features, arrays, index, accepted)),
        links.column("mentions"), entities,
        features.column("width"), features.column("height"), features.column("phash"),
    ], schema=LABELS)


def _statuses(links: pa.Table, features: pa.Table, arrays: LinkArrays, index: NDArray[np.int64],
              accepted: NDArray[np.bool_]) -> list[str]:
    """The pair's own status where it was not usable, then the image's, then what the judgement says."""
    mentions = np.array([len(found) for found in links.column("mentions").to_pylist()], np.int64)
    linked = np.bincount(arrays.pair, minlength=len(links)) > 0
    labelled = np.bincount(arrays.pair[index], accepted, len(links)) > 0
    judged = np.select([labelled, linked, mentions > 0],
                       [str(LabelStatus.LABELLED), str(LabelStatus.REJECTED), str(LabelStatus.UNLINKED)],
                       str(LabelStatus.NO_MENTION))
    return [text if text != PairStatus.OK else image if image != PairStatus.OK else str(verdict)
            for text, image, verdict in zip(links.column("status").to_pylist(), features.column("status").to_pylist(),
                                            judged, strict=True)]

