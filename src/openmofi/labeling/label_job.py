"""A running label job: its inputs, what its steps have made so far, and the sample that it decides by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from openmofi.arrays import Array, Bools, Floats, Halves, Hashes, Ints
from openmofi.encoders import Encoder
from openmofi.encoders.probe import fit_scale
from openmofi.engine.steps import Running, Said
from openmofi.features.entity_table import EntityFeatures
from openmofi.knowledge import KnowledgeBase, depictability
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import (
    Candidates,
    Evidence,
    Scorer,
    View,
    gather_evidence,
    joined,
    judged_once,
)
from openmofi.labeling.calibrate.neighbours import FEWEST_WITNESSES, FITTED_ON, Gallery, Space, hashed_words
from openmofi.labeling.calibrate.rounds import CalibrationSample, Fitted
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.summaries import CorpusSummary, LabelSummary
from openmofi.labeling.tables import ReadShard, Tables, judged_rows, mention_names
from openmofi.storage import Shard

if TYPE_CHECKING:
    from openmofi.labeling.answers import ImageJudge
    from openmofi.labeling.correction import Correction

SET_ASIDE_FILE = "set_aside.json"
"""Names of shards that could not be read when calibration and threshold were decided: they have no part in these."""
CALIBRATION_PAIRS = 50_000
_CALIBRATION_SHARDS = 50


@dataclass(frozen=True)
class Judge:
    """A judge: an encoder with its calibration and witnesses.

    Attributes:
        encoder: has the feature fingerprint of what was read.
        calibration: of that encoder.
        gallery: file of the witnesses (`openmofi.labeling.calibrate.neighbours`), or "".
    """

    encoder: Encoder
    calibration: Calibration
    gallery: str = ""


@dataclass(eq=False)
class LabelJob:
    """What the steps of a label job share. No step asks another for its files: `tables` names them.

    Attributes:
        planned: all shards of the job.
        tables: names their tables.
        encoder: the one that features are of; an adapter over it may judge.
        settings: see `LabelSettings`.
        running: the engine, the progress, and the shards that failed.
        out: folder of the labels.
        stored: a calibration that was given, or that an earlier try or the encoder left.
        stored_path: its file.
        correction: by verdicts.
        late: names of shards that are judged, and decide nothing: the decisions were taken without them; `None` where
            nothing has been decided yet, until it is seen which cannot be read.
        shards: those that have not failed.
        texts: what the texts that `read` wrote say, until `repeats` has added them up.
        unlinked: those whose links have still to be made.
        links: what the links of all shards say.
        entities: text features of the entities that occur, and of a known reference set.
        adapted: the adapter over the encoder; `None` without one.
        judges: whose probabilities are averaged; an adapter goes first, the encoder that it stands on second.
        threshold: least probability of a label.
        check: whether the adapter judges, and why; empty without one.
        image_judge: the judge beyond the encoder that has still to be asked.
        judge_report: what is said of it; empty without one.
        labels: what the labels say.
    """

    planned: tuple[Shard, ...]
    tables: Tables
    encoder: Encoder
    settings: LabelSettings
    running: Running
    out: str = ""
    stored: Fitted | None = None
    stored_path: str = ""
    correction: Correction | None = None
    late: frozenset[str] | None = frozenset()
    shards: Sequence[Shard] = ()
    texts: Said = field(default_factory=dict)
    unlinked: Sequence[Shard] = ()
    links: CorpusSummary = field(init=False)
    entities: EntityFeatures = field(init=False)
    adapted: Encoder | None = None
    judges: tuple[Judge, ...] = ()
    threshold: float = 1.0
    check: dict[str, Any] = field(default_factory=dict)
    image_judge: ImageJudge | None = None
    judge_report: dict[str, Any] = field(default_factory=dict)
    labels: LabelSummary = field(init=False)

    def __post_init__(self) -> None:
        self.shards = self.planned

    @property
    def kb(self) -> KnowledgeBase:
        """The knowledge base."""
        return self.tables.kb

    @property
    def template(self) -> str:
        """The template of the entities' texts."""
        return self.settings.selection.template

    @property
    def content(self) -> list[str]:
        """Fingerprints of the shards that decide."""
        return [shard.fingerprint for shard in self.planned if shard.name not in (self.late or ())]

    def rows(self, shard: Shard) -> int:
        """Return how many pairs a shard has."""
        return self.links.rows[shard.fingerprint]

    @cached_property
    def sample(self) -> tuple[Shard, ...]:
        """Return the shards to fit on: evenly spread, at least 50 and enough for 50,000 pairs, or all."""
        shards = [shard for shard in self.shards if shard.name not in (self.late or ())]
        count = len(shards)
        if count > _CALIBRATION_SHARDS:
            mean = max(sum(map(self.rows, shards)) / count, 1.0)
            count = min(count, max(_CALIBRATION_SHARDS, math.ceil(CALIBRATION_PAIRS / mean)))
        return tuple(shards[number] for number in np.linspace(0, len(shards) - 1, count).round().astype(int))

    def blocks(self) -> Iterator[ReadShard]:
        """Read the links and features of the shards of `sample`."""
        for shard in self.sample:
            yield from ReadShard.blocks(self.tables, shard)


_SCALE_PAIRS, _LEAST_SCALE_PAIRS = 2048, 16


@dataclass(frozen=True)
class _SampleBlock:
    """What a block of rows adds to a sample."""

    candidates: Candidates
    rows: Ints
    images: Halves
    texts: list[str]
    groups: Hashes
    names: list[str]


@dataclass(frozen=True)
class _SampleImages:
    """The images of a sample, which are read again when they are asked for: all at once would not fit in memory.

    Attributes:
        job, scorer: see `corpus_sample`.
        rows: of each block those of its pairs that are in the sample.
    """

    job: LabelJob
    scorer: Scorer
    rows: Sequence[Ints]

    @property
    def views(self) -> tuple[View, ...]:
        return self.scorer.views

    def evidence(self, row: Ints, entity: Ints) -> Array:
        order = np.argsort(row, kind="stable")
        ends = np.searchsorted(row[order], np.cumsum([len(rows) for rows in self.rows]))
        result, start, before = np.empty(len(row), np.float32), 0, 0
        for read, rows, end in zip(self.job.blocks(), self.rows, ends, strict=True):
            images = self.scorer.images(read.shard, [read.keys[each] for each in rows], read.features.values[rows])
            result[order[start:end]] = images.evidence(row[order[start:end]] - before, entity[order[start:end]])
            start, before = end, before + len(rows)
        return result


def corpus_sample(
    job: LabelJob, scorer: Scorer, seed: int, witnesses: Gallery | None = None, space: Space | None = None
) -> CalibrationSample:
    """Draw at most some 50,000 pairs evenly from shards spread over the corpus, with decoys and as a gallery.

    Nothing that is drawn depends on how the same pairs are cut into shards, as long as all of these are read.

    Args:
        job: gives the pairs.
        scorer: gives the evidence.
        seed: of what is drawn.
        witnesses: of another corpus, where the pairs are not to be their own.
        space: of the images, where it is known already: `image_space`.
    """
    share = CALIBRATION_PAIRS / max(sum(map(job.rows, job.sample)), 1)
    space = witnesses.space if witnesses else space or image_space(job)
    draw = np.random.default_rng(seed)
    parts = [_part(job, read, space, draw.random(len(read.usable)) < share) for read in job.blocks()]
    candidates = joined([part.candidates for part in parts])
    names, name = np.unique(np.array([name for part in parts for name in part.names], object), return_inverse=True)
    groups, pair_group = _by_appearance(np.concatenate([part.groups for part in parts]))
    graph = job.kb.vectors(job.kb.rows(job.entities.ids.take(pa.array(np.unique(candidates.entity))).to_pylist()))
    seen = _SampleImages(job, scorer, [part.rows for part in parts])
    evidence, ids = renumbered(gather_evidence(candidates, seen, graph, pair_group, seed), job.entities, witnesses)
    log_odds = depictability(job.kb, job.kb.rows(ids))
    images = np.concatenate([part.images for part in parts])
    texts = [text for part in parts for text in part.texts]
    gallery, nearest = None, None
    if witnesses:
        gallery = witnesses.naming(ids)
        nearest = gallery.nearest(images, hashed_words(texts))
    elif evidence.pairs >= FEWEST_WITNESSES:
        gallery = Gallery.of(space, images, texts, ids, evidence.pair, evidence.entity, evidence.link_score)
        nearest = gallery.nearest(images, gallery.words, np.arange(len(images)))
    return CalibrationSample(
        evidence,
        ids,
        log_odds,
        names.tolist(),
        name.astype(np.int64),
        pair_group,
        groups,
        gallery,
        nearest,
        witnesses is not None,
    )


def _by_appearance(pair_group: Hashes) -> tuple[Hashes, Ints]:
    """Return the distinct groups in the order in which they first appear, and (pairs,) which of these each is in."""
    groups, first, number = np.unique(pair_group, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return groups[order], np.argsort(order).astype(np.int64)[number]


def renumbered(evidence: Evidence, entities: EntityFeatures, witnesses: Gallery | None) -> tuple[Evidence, list[str]]:
    """Renumber the entities of the evidence and of `witnesses` to 0, 1, 2 …; return these too."""
    named = entities.places(witnesses.ids) if witnesses else np.zeros(0, np.int64)
    rows = np.unique(np.concatenate([evidence.entity, named[named >= 0]]))
    ids: list[str] = entities.ids.take(pa.array(rows)).to_pylist()
    return replace(
        evidence,
        entity=np.searchsorted(rows, evidence.entity),
        random_entity=np.searchsorted(rows, evidence.random_entity),
    ), ids


def image_space(job: LabelJob) -> Space:
    """Fit the space to some 3,072 of the images, since the features of all pairs are too large to hold."""
    step, before, chosen = math.ceil(max(sum(map(job.rows, job.sample)), 1) / FITTED_ON), 0, []
    for read in job.blocks():
        features = read.features.values[read.usable]
        chosen.append(features[-before % step :: step])
        before += len(features)
    return Space.of(np.concatenate(chosen))


def _part(job: LabelJob, read: ReadShard, space: Space, drawn: Bools) -> _SampleBlock:
    rows = np.flatnonzero(read.usable & drawn)
    links = read.links.of_pairs(rows)
    index = judged_once(links, np.ones(len(rows), bool))
    named = rows[np.unique(links.pair[index])]
    return _SampleBlock(
        Candidates.of(links, index, judged_rows(read.links, job.entities)),
        named,
        space.project(read.features.values[named]).astype(np.float16),
        read.table.column("text").take(pa.array(named)).to_pylist(),
        read.groups[named],
        mention_names(read.table.column("mentions"), rows[links.pair[index]], links.mention[index]),
    )


def own_scale(job: LabelJob, encoder: Encoder, seed: int) -> float:
    """Fit the factor on cosines of an encoder without one to at most 2,048 of the job's pairs.

    Pairs have distinct texts, see `openmofi.encoders.probe`. With fewer than 16 it stays 1.
    """
    texts: dict[str, Floats] = {}
    for read in job.blocks():
        captions = read.table.column("text").to_pylist()
        for row in np.flatnonzero(read.usable):
            if len(texts) < _SCALE_PAIRS:
                texts.setdefault(captions[row], read.features.values[row].astype(np.float32))
        if len(texts) >= _SCALE_PAIRS:
            break
    if len(texts) < _LEAST_SCALE_PAIRS:
        return 1.0
    return fit_scale(
        encoder.project_images(np.stack(list(texts.values()))), encoder.embed_texts(list(texts)), seed=seed
    ).scale
