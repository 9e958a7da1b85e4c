"""The last step of the label job: which of the entities that a text names the image shows.

`CorpusContext` is what judging a candidate takes from the rest of its corpus: factors on link scores, and votes of
neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.arrays import Doubles, Hashes, Ints
from openmofi.engine.steps import Step
from openmofi.features.entity_table import EntityFeatures
from openmofi.knowledge import KnowledgeBase, depictability
from openmofi.labeling.answers import Answers, Heard
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import ImageEvidence, Scorer, places_of
from openmofi.labeling.calibrate.naming import Named, capped
from openmofi.labeling.calibrate.neighbours import Gallery, counted, hashed_words
from openmofi.labeling.label_job import Judge, LabelJob
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.labeling.summaries import LabelSummary, examples_of
from openmofi.labeling.tables import (
    LinkArrays,
    ReadShard,
    Tables,
    first_of_each,
    judged_rows,
    mention_names,
    rank_in_run,
    renumbered,
    starts_of,
)
from openmofi.labeling.witness import ANSWERS
from openmofi.schema import LABELS, LabelStatus, PairStatus, Reason, with_judge, with_kinds
from openmofi.storage import Shard, table_blocks


@dataclass(frozen=True)
class CorpusContext:
    """What the corpus says of each element of a `LinkArrays`.

    Attributes:
        factor: (n,) on its link score, see `openmofi.labeling.calibrate.naming`.
        votes: (n,) see `openmofi.labeling.calibrate.neighbours`; 0 without witnesses.
    """

    factor: Doubles
    votes: Doubles

    @classmethod
    def of(
        cls,
        links: LinkArrays,
        names: Sequence[str],
        calibration: Calibration,
        kb: KnowledgeBase,
        gallery: Gallery | None,
        features: NDArray[np.floating[Any]],
        texts: Sequence[str],
        groups: Hashes,
    ) -> CorpusContext:
        """Look up what the corpus said.

        Args:
            links: of some pairs.
            names: (n,) normalised name of each element.
            calibration: gives the factors and the weight of votes.
            kb: gives the entities' types.
            gallery: the witnesses, if there are any.
            features: (pairs, feature_dim) of the pairs' images, whose texts are `texts`.
            groups: (pairs,) uint64 of the pairs, see `openmofi.labeling.groups.groups_of`; 0 where they are not known.
        """
        ids = links.entity_ids.to_pylist()
        distinct, name = np.unique(np.array(names, object), return_inverse=True)
        odds = depictability(kb, kb.rows(ids)) if ids else np.zeros(0, np.float32)
        named = Named(
            ids, odds, links.entity, distinct.tolist(), name.astype(np.int64), places_of(links), groups[links.pair]
        )
        factor = calibration.naming.factors(named)
        if gallery is None or not calibration.votes or not len(links):
            return cls(factor, np.zeros(len(links)))
        return cls(factor, counted(_votes(links, gallery, features, texts), odds[links.entity]))


def _votes(links: LinkArrays, gallery: Gallery, features: NDArray[np.floating[Any]], texts: Sequence[str]) -> Doubles:
    rows = np.unique(links.pair)
    images = gallery.space.project(features[rows])
    nearest = gallery.nearest(images, hashed_words([texts[row] for row in rows.tolist()]))
    entity: Ints = gallery.places(links.entity_ids)[links.entity]
    row = np.searchsorted(rows, links.pair)
    judged = links.judged
    return gallery.votes(gallery.split(nearest, row[judged], entity[judged]), row, entity)


@dataclass(frozen=True)
class Judgements:
    """The judgements of those candidates of a `LinkArrays` that were judged.

    Attributes:
        index: (n,) position in the `LinkArrays`.
        image_score: (n,) float32, raw.
        probability: (n,) float64, calibrated.
        reason: (n,) `Reason` values.
        said: (n,) what a judge beyond the encoder said (`openmofi.labeling.witness`); `None` without one.
    """

    index: Ints
    image_score: NDArray[np.float32]
    probability: NDArray[np.float64]
    reason: list[Reason]
    said: Ints | None = None

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Return (n,) whether each candidate is a label."""
        return np.array([reason is Reason.ACCEPTED for reason in self.reason], bool)


@dataclass(frozen=True)
class Opinion:
    """One judge's view of some pairs; see `select`.

    Attributes:
        images: the pairs' images in the space of the views that judge them.
        calibration: of the same encoder.
        context: what the corpus says of the links.
    """

    images: ImageEvidence
    calibration: Calibration
    context: CorpusContext

    def probability(self, links: LinkArrays, index: Ints, score: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (n,) P(shown) of the candidates at `index`, each once a pair, with the raw scores `score`."""
        pair, group = links.pair[index], renumbered(links.group[index])
        offsets = self.calibration.offsets_of(links.entity_ids.to_pylist())[links.entity[index]]
        evidence = score - self.images.background()[pair] - offsets + self.calibration.votes * self.context.votes[index]
        link = capped(links.link_score[index] * self.context.factor[index], group)
        return self.calibration.probability(evidence, link, group, pair)


def select(
    links: LinkArrays,
    usable: NDArray[np.bool_],
    opinions: Sequence[Opinion],
    rows: Ints,
    settings: SelectionSettings,
    threshold: float,
    heard: Heard | None = None,
) -> Judgements:
    """Judge the candidates of the pairs whose image is usable.

    Args:
        links: the shard's links.
        usable: (pairs,) whether the pair's image could be embedded.
        opinions: the judges'; the probability is their mean, the score the first one's.
        rows: (len(links.entity_ids),) row of each entity in the views' entities.
        settings: see `SelectionSettings`.
        threshold: least probability of a label; 1 for none.
        heard: adds the answers of a judge beyond the encoder, see `Answers.heard`.
    """
    index = np.flatnonzero(links.judged & usable[links.pair])
    pair, entity = links.pair[index], links.entity[index]
    scores = [opinion.images.scores(pair, rows[entity]) for opinion in opinions]
    # An entity that a text names twice is one candidate: its two mentions would else compete with each other.
    first, twin = first_of_each(pair, entity)
    probability = np.mean(
        [
            opinion.probability(links, index[first], score[first])
            for opinion, score in zip(opinions, scores, strict=True)
        ],
        axis=0,
    )
    probability, said = heard(links, index[first], probability) if heard else (probability, None)
    group = renumbered(links.group[index[first]])
    reason = np.full(len(first), Reason.BELOW_THRESHOLD, dtype=object)
    # 1 says that nothing may be accepted, and a probability may be rounded to 1.
    reason[(probability >= threshold) & (threshold < 1)] = Reason.ACCEPTED
    reason[(reason == Reason.ACCEPTED) & ~_leads(probability, group, settings.sibling_margin)] = Reason.SIBLING
    _keep_best(reason, probability, pair[first], settings.top_k)
    return Judgements(index, scores[0], probability[twin], list(reason[twin]), None if said is None else said[twin])


def eligible(
    pair: Ints, entity: Ints, group: Ints, probability: NDArray[np.float64], settings: SelectionSettings
) -> NDArray[np.bool_]:
    """Return (n,) which judged candidates are labels where the threshold is low enough, each entity once a pair.

    What a threshold accepts are those of them that reach it, as `select` chooses.
    """
    first, _ = first_of_each(pair, entity)
    reason = np.full(len(first), Reason.ACCEPTED, dtype=object)
    reason[~_leads(probability[first], renumbered(group[first]), settings.sibling_margin)] = Reason.SIBLING
    _keep_best(reason, probability[first], pair[first], settings.top_k)
    labels = np.zeros(len(pair), bool)
    labels[first[reason == Reason.ACCEPTED]] = True
    return labels


def _leads(probability: NDArray[np.float64], group: Ints, margin: float) -> NDArray[np.bool_]:
    """Whether a candidate is its mention's best and leads the second by `margin`; equal ones: the first."""
    order = np.lexsort((np.arange(len(group)), -probability, group))
    starts = np.flatnonzero(starts_of(group[order]))
    second = np.minimum(starts + 1, len(order) - 1)
    alone = np.append(starts[1:], len(order)) - starts == 1
    lead = np.where(alone, 1.0, probability[order[starts]] - probability[order[second]])
    leads = np.zeros(len(group), bool)
    leads[order[starts]] = lead >= margin
    return leads


def _keep_best(reason: NDArray[np.object_], probability: NDArray[np.float64], pair: Ints, top_k: int) -> None:
    """Accept only the `top_k` most probable candidates of a pair (in place)."""
    accepted = np.flatnonzero(reason == Reason.ACCEPTED)
    order = accepted[np.lexsort((accepted, -probability[accepted], pair[accepted]))]
    reason[order[rank_in_run(starts_of(pair[order])) >= top_k]] = Reason.TOP_K


@dataclass(frozen=True)
class Judging:
    """How shards are judged; sent to workers.

    Attributes:
        tables: names the links and features.
        judges: whose probabilities are averaged.
        entities: path of the table of the entities that occur, see `openmofi.features.entities.entity_table`.
        selection: see `SelectionSettings`.
        threshold: least probability of a label.
        out: folder of the labels.
        unread: which shards have images in formats that are not read (`openmofi.features.store`).
        answers: folder of those of a judge beyond the encoder, or "".
    """

    tables: Tables
    judges: tuple[Judge, ...]
    entities: str
    selection: SelectionSettings
    threshold: float
    out: str
    unread: frozenset[str] = frozenset()
    answers: str = ""

    def path(self, shard: Shard) -> str:
        """Return the path of a shard's labels."""
        return f"{self.out}/labels/{shard.name}.parquet"


def judge(job: LabelJob) -> None:
    """Judge the shards whose labels are missing, and add up what the labels of all say."""
    job.labels = judged("judge", job, job.out, job.out if job.judge_report else "")


def judged(name: str, job: LabelJob, out: str, answers: str = "") -> LabelSummary:
    """Judge the shards whose labels are missing in the folder `out`, as the step `name`; see `Judging`."""
    judging = Judging(
        job.tables,
        job.judges,
        job.entities.path,
        job.settings.selection,
        job.threshold,
        out,
        job.tables.features.with_unread(),
        answers,
    )
    step = Step(name, judging.path, partial(ShardJudge, judging), LabelSummary)
    labels = sum(job.running.complete(step, job.shards), LabelSummary({}, {}, 0, 0))
    job.shards = job.running.left(job.shards)
    return labels


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
        self.answers = Answers.load(judging.answers) if judging.answers else None

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's label table; returns `rows`, `labelled`, `examples` to be shown, its `LabelSummary`."""
        tables = self.judging.tables
        unread = tables.features.unread_formats(shard.name, shard.fingerprint, self.judging.unread)
        notes, summary = dict[str, str](), LabelSummary({}, dict(sorted(unread.items())), 0, 0)
        examples: list[dict[str, Any]] = []
        schema = with_kinds(LABELS) if tables.kinds else LABELS
        schema = with_judge(schema) if self.answers else schema
        with table_blocks(self.judging.path(shard), schema, notes) as add:
            for read in ReadShard.blocks(tables, shard):
                labels = self._labels(read, schema)
                add(labels)
                examples = examples or examples_of(labels, tables.kb)
                summary += LabelSummary.of_table(labels)
            notes |= summary.notes()
        # With what it says, so that nobody asks a store for the table's footer.
        labelled = summary.status.get(LabelStatus.LABELLED, 0)
        return {"rows": summary.rows, "labelled": labelled, "examples": examples, **notes}

    def _labels(self, read: ReadShard, schema: pa.Schema) -> pa.Table:
        links, texts, features = read.links, read.table.column("text").to_pylist(), read.features.values
        names, kb = mention_names(read.table.column("mentions"), links.pair, links.mention), self.judging.tables.kb
        opinions = [
            Opinion(
                scorer.images(read.shard, read.keys, features),
                who.calibration,
                CorpusContext.of(links, names, who.calibration, kb, gallery, features, texts, read.groups),
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
                partial(self.answers.heard, read.features.table["content"].to_pylist()) if self.answers else None,
            ),
            schema,
        )


def _label_table(read: ReadShard, judgements: Judgements, schema: pa.Schema) -> pa.Table:
    links, index, accepted = read.links, judgements.index, judgements.accepted
    columns = [
        links.entity_ids.take(pa.array(links.entity[index])).cast(pa.string()),
        pa.array(links.mention[index], pa.int32()),
        pa.array(links.prior[index], pa.float32()),
        pa.array(links.link_score[index], pa.float32()),
        pa.array(judgements.image_score, pa.float32()),
        pa.array(judgements.probability, pa.float32()),
        pa.array(accepted, pa.bool_()),
        pa.array([str(reason) for reason in judgements.reason], pa.string()),
    ]
    if judgements.said is not None:
        columns.append(pa.array([str(ANSWERS[code]) for code in judgements.said.tolist()], pa.string()))
    structs = pa.StructArray.from_arrays(columns, fields=list(schema.field("entities").type.value_type))
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
    """Return each pair's own status where it was not usable, else the image's, else what the judgement says."""
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
