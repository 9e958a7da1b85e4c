"""Shards that were read, and the evidence in them: what the steps after reading share."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.encoders import Encoder
from openmofi.encoders.scale import fit_scale
from openmofi.engine import Engine, Progress
from openmofi.engine.protocol import SetAside, WorkFactory
from openmofi.errors import OpenMofiError
from openmofi.features.entities import entity_table
from openmofi.features.entity_table import EntityFeatures
from openmofi.features.store import FeatureStore
from openmofi.knowledge import KnowledgeBase, depictability
from openmofi.labeling.calibrate.evidence import Evidence, Scorer, gather_evidence, joined, judged_once
from openmofi.labeling.calibrate.neighbours import FEWEST_WITNESSES, FITTED_ON, Gallery, Space, hashed_words
from openmofi.labeling.calibrate.rounds import Sample
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.link import LinkStage
from openmofi.labeling.links import ReadShard, judged_rows, mention_names
from openmofi.labeling.read import ReadStage
from openmofi.labeling.summaries import CorpusSummary
from openmofi.storage import Shard
from openmofi.storage.atomic import remove_leftovers

CALIBRATION_PAIRS = 50_000
_CALIBRATION_SHARDS = 50
_SCALE_PAIRS, _LEAST_SCALE_PAIRS = 2048, 16


@dataclass(frozen=True)
class Corpus:
    """Shards that were read, with what judging them needs.

    Attributes:
        stage: read them; names their links and features.
        shards: all of them.
        kb: the knowledge base.
        encoder: the one that features are of; an adapter over it may judge.
        entities: text features of the entities that occur, and of a known reference set.
        template: of the entities' texts.
        links: what the links of all shards say.
        late: names of shards that are judged, and decide nothing: the decisions were taken without them.
        planned: the shards of the job, whether they could be read or not.
    """

    stage: ReadStage
    shards: tuple[Shard, ...]
    kb: KnowledgeBase
    encoder: Encoder
    entities: EntityFeatures
    template: str
    links: CorpusSummary
    late: frozenset[str]
    planned: tuple[Shard, ...]

    @property
    def content(self) -> list[str]:
        """Fingerprints of the shards that decide."""
        return [shard.fingerprint for shard in self.planned if shard.name not in self.late]

    def rows(self, shard: Shard) -> int:
        """How many pairs a shard has."""
        return self.links.rows[shard.fingerprint]

    @cached_property
    def sample(self) -> tuple[Shard, ...]:
        """What decisions are fitted on: shards spread evenly, at least 50 and so many as hold 50,000 pairs, or all."""
        shards = [shard for shard in self.shards if shard.name not in self.late]
        count = len(shards)
        if count > _CALIBRATION_SHARDS:
            mean = max(sum(map(self.rows, shards)) / count, 1.0)
            count = min(count, max(_CALIBRATION_SHARDS, math.ceil(CALIBRATION_PAIRS / mean)))
        return tuple(shards[number] for number in np.linspace(0, len(shards) - 1, count).round().astype(int))

    def blocks(self) -> Iterator[ReadShard]:
        """What was read of the shards of `sample`."""
        for shard in self.sample:
            yield from ReadShard.blocks(self.stage, shard)


def read_corpus(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    settings: LabelSettings,
    cache: str | Path,
    engine: Engine,
    progress: Progress,
    reference: Sequence[str] = (),
    set_aside: SetAside | None = None,
    late: Collection[str] | None = (),
) -> Corpus:
    """Read what has not been read yet, and embed the entities that occur and those of `reference`.

    Args:
        shards, kb, encoder, settings, cache, engine, progress: of the job.
        reference: identifiers.
        set_aside: takes shards that cannot be read; the corpus goes on without them, if others are left.
        late: see `Corpus`; `None` where nothing has been decided yet: those that cannot be read now.

    Raises:
        OpenMofiError: a shard cannot be read and is not set aside, or the cache cannot be written.
    """
    features = FeatureStore(str(cache), encoder, settings.read, settings.batch_size, settings.max_image_pixels)
    stage = ReadStage.plan(kb, settings.text, features, shards)
    whole, links = _read(stage, shards, engine, progress, set_aside)
    if late is None:
        late = {shard.name for shard in shards} - {shard.name for shard in whole}
    occurring = links.judged(settings.text.max_candidates)
    if not len(occurring):
        progress.say(f"None of the texts names an entity of the knowledge base {kb.path}: nothing can be labelled.")
    rows = np.union1d(occurring, kb.rows(reference))
    template = settings.selection.template
    entities = entity_table(kb, encoder, rows, template, cache, engine, progress)
    return Corpus(stage, tuple(whole), kb, encoder, entities, template, links, frozenset(late), tuple(shards))


def _read(
    stage: ReadStage, shards: Sequence[Shard], engine: Engine, progress: Progress, set_aside: SetAside | None
) -> tuple[Sequence[Shard], CorpusSummary]:
    """Make the tables of texts, features, repeated n-grams, links and groups that are missing.

    Returns:
        The shards without those that were set aside, and what their links say.
    """
    failed: dict[Shard, Exception] = {}

    def run(name: str, factory: WorkFactory, tasks: Sequence[Any], aside: SetAside | None = None) -> None:
        progress.begin(name, len(tasks))
        engine.run(factory, tasks, progress, aside)

    fails = failed.__setitem__ if set_aside else None
    links = stage.links_of(shards)
    unlinked = [] if links else stage.unlinked(shards)
    unread = stage.unread(shards, linked=not unlinked)
    if unread or unlinked:
        # A killed job's half-written tables may be as large as its shards.
        remove_leftovers(stage.features.cache)
    if unread:
        run("read", stage.reading(unread), unread, fails)
    if failed and len(failed) == len(shards):
        raise next(iter(failed.values()))
    if unlinked:
        stage.find_repeats([shard for shard in shards if shard not in failed], run)
        run("link", LinkStage(stage), [shard for shard in unlinked if shard not in failed], fails)
    whole = [shard for shard in shards if shard not in failed]
    for shard, error in failed.items():
        if not whole or set_aside is None:
            raise error
        set_aside(shard, error)
    links = links or stage.links_of(whole)
    if links is None:
        raise OpenMofiError(
            f"The links in {Path(stage.links_path(whole[0])).parent} cannot be read.",
            "Start the command again: they are made again.",
        )
    stage.find_groups(whole, sum(links.rows[shard.fingerprint] for shard in whole), run)
    return whole, links


@dataclass(frozen=True)
class _Part:
    """What a block of rows adds to a sample."""

    evidence: Evidence
    images: NDArray[np.float16]
    texts: list[str]
    groups: NDArray[np.uint64]
    names: list[str]


def corpus_sample(
    corpus: Corpus, scorer: Scorer, seed: int, witnesses: Gallery | None = None, space: Space | None = None
) -> Sample:
    """At most 50,000 pairs, drawn evenly from shards spread evenly over the corpus, with decoys and as a gallery.

    A decoy's image is of the same block of rows as its text.

    Args:
        corpus: the pairs.
        scorer: gives the evidence.
        seed: of what is drawn.
        witnesses: of another corpus, where the pairs are not to be their own.
        space: of the images, where it is known already: `image_space`.
    """
    share = min(1.0, CALIBRATION_PAIRS / max(sum(map(corpus.rows, corpus.sample)), 1))
    space = witnesses.space if witnesses else space or image_space(corpus)
    parts = [_part(corpus, read, scorer, space, share, [seed, number]) for number, read in enumerate(corpus.blocks())]
    evidence, ids = renumbered(joined([part.evidence for part in parts]), corpus.entities, witnesses)
    names, name = np.unique(np.array([name for part in parts for name in part.names], object), return_inverse=True)
    source = np.unique(np.concatenate([part.groups for part in parts]), return_inverse=True)[1].astype(np.int64)
    log_odds = depictability(corpus.kb, corpus.kb.rows(ids))
    images = np.concatenate([part.images for part in parts])
    texts = [text for part in parts for text in part.texts]
    gallery, nearest = None, None
    if witnesses:
        gallery = witnesses.naming(ids)
        nearest = gallery.nearest(images, hashed_words(texts))
    elif evidence.pairs >= FEWEST_WITNESSES:
        gallery = Gallery.of(space, images, texts, ids, evidence.pair, evidence.entity, evidence.link_score)
        nearest = gallery.nearest(images, gallery.words, np.arange(len(images)))
    return Sample(
        evidence, ids, log_odds, names.tolist(), name.astype(np.int64), source, gallery, nearest, witnesses is not None
    )


def renumbered(evidence: Evidence, entities: EntityFeatures, witnesses: Gallery | None) -> tuple[Evidence, list[str]]:
    """The evidence with the entities of the sample, and those that `witnesses` name, as 0, 1, 2 …; and these."""
    named = entities.places(witnesses.ids) if witnesses else np.zeros(0, np.int64)
    rows = np.unique(np.concatenate([evidence.entity, evidence.random_entity, named[named >= 0]]))
    ids: list[str] = entities.ids.take(pa.array(rows)).to_pylist()
    return replace(
        evidence,
        entity=np.searchsorted(rows, evidence.entity),
        random_entity=np.searchsorted(rows, evidence.random_entity),
    ), ids


def image_space(corpus: Corpus) -> Space:
    """Of some 3,072 of the images, since features are too large to be held of all pairs at once."""
    step = math.ceil(max(sum(map(corpus.rows, corpus.sample)), 1) / FITTED_ON)
    return Space.of(np.concatenate([read.features.values[read.usable][::step] for read in corpus.blocks()]))


def _part(corpus: Corpus, read: ReadShard, scorer: Scorer, space: Space, share: float, seed: list[int]) -> _Part:
    usable = np.flatnonzero(read.usable)
    chosen = np.random.default_rng(seed).permutation(usable)[: math.ceil(share * len(usable))]
    rows = np.sort(chosen) if share < 1 else usable
    links, every = read.links.of_pairs(rows), np.ones(len(rows), bool)
    seen = scorer.images(read.shard, [read.keys[row] for row in rows], read.features.values[rows])
    vectors = corpus.kb.vectors(corpus.kb.rows(links.entity_ids.to_pylist()))
    source = np.unique(read.groups[rows], return_inverse=True)[1].astype(np.int64)
    evidence = gather_evidence(links, every, seen, judged_rows(read.links, corpus.entities), vectors, seed[0], source)
    judged = judged_once(links, every)
    named = rows[np.unique(links.pair[judged])]
    texts = read.table.column("text").take(pa.array(named)).to_pylist()
    names = mention_names(read.table.column("mentions"), rows[links.pair[judged]], links.mention[judged])
    images = space.project(read.features.values[named]).astype(np.float16)
    return _Part(evidence, images, texts, read.groups[named], names)


def own_scale(corpus: Corpus, encoder: Encoder, seed: int) -> float:
    """The factor on cosines of an encoder whose own is unknown, fitted to at most 2,048 of the job's pairs.

    Pairs have distinct texts, see `openmofi.encoders.scale`. With fewer than 16 it stays 1.
    """
    texts: dict[str, NDArray[np.floating[Any]]] = {}
    for read in corpus.blocks():
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
