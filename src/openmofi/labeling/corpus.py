"""Shards that were read, and the evidence in them: what the steps after reading share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Encoder
from openmofi.encoders.scale import fit_scale
from openmofi.engine import Engine, Progress
from openmofi.features.entities import EntityFeatures, embed_entities
from openmofi.features.store import FeatureStore
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.judge.evidence import Evidence, Scorer, gather_evidence, joined
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.read.links import ReadShard, judged_rows, link_arrays
from openmofi.labeling.read.stage import ReadStage
from openmofi.storage import Shard

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
    """

    stage: ReadStage
    shards: tuple[Shard, ...]
    kb: KnowledgeBase
    encoder: Encoder
    entities: EntityFeatures
    template: str

    @property
    def sample(self) -> tuple[Shard, ...]:
        """At least 50 shards, or all where there are fewer, spread evenly: what decisions are fitted on."""
        return self.shards[::max(1, len(self.shards) // _CALIBRATION_SHARDS)]


def read_corpus(shards: Sequence[Shard], kb: KnowledgeBase, encoder: Encoder, settings: LabelSettings,
                cache: str | Path, engine: Engine, progress: Progress, reference: Sequence[str] = ()) -> Corpus:
    """Read what has not been read yet, and embed the entities that occur and those of `reference`.

    Raises:
        OpenMofiError: a shard cannot be read, or the cache cannot be written.
    """
    features = FeatureStore(str(cache), encoder, settings.read, settings.batch_size, settings.max_image_pixels)
    stage = ReadStage.plan(kb, settings.text, features)
    missing = [shard for shard in shards if any(stage.missing(shard))]
    if missing:
        progress.begin("read", len(missing))
        engine.run(stage, missing, progress)
    occurring = occurring_entities(stage, shards)
    if not occurring:
        progress.say(f"None of the texts names an entity of the knowledge base {kb.path}: nothing can be labelled.")
    ids = sorted({*occurring, *reference})
    template = settings.selection.template
    entities = embed_entities(kb, encoder, ids, template, cache, engine, progress)
    return Corpus(stage, tuple(shards), kb, encoder, entities, template)


def occurring_entities(stage: ReadStage, shards: Sequence[Shard]) -> list[str]:
    """Identifiers, sorted, of the entities that some image will judge."""
    entities: set[str] = set()
    for shard in shards:
        links = link_arrays(stage.links(shard, ["links"]).column("links"), stage.text.max_candidates)
        judged = np.zeros(len(links.entity_ids), bool)
        judged[links.entity[links.judged]] = True
        entities.update(links.entity_ids.filter(judged).to_pylist())
    return sorted(entities)


def corpus_evidence(corpus: Corpus, scorer: Scorer, seed: int) -> Evidence:
    """Real pairs and decoys of at most 50,000 pairs, from shards spread evenly over the corpus."""
    parts: list[Evidence] = []
    for shard in corpus.sample:
        read = ReadShard.open(corpus.stage, shard)
        images = scorer.images(shard, read.keys, read.features.values)
        vectors = corpus.kb.vectors(corpus.kb.rows(read.links.entity_ids.to_pylist()))
        parts.append(gather_evidence(read.links, read.usable, images, judged_rows(read.links, corpus.entities),
                                     vectors, seed))
        if sum(part.pairs for part in parts) >= CALIBRATION_PAIRS:
            break
    return joined(parts)


def own_scale(corpus: Corpus, encoder: Encoder, seed: int) -> float:
    """The factor on cosines of an encoder whose own is unknown, fitted to at most 2,048 of the job's pairs.

    Pairs have distinct texts, see `openmofi.encoders.scale`. With fewer than 16 it stays 1.
    """
    texts: dict[str, NDArray[np.floating[Any]]] = {}
    for shard in corpus.sample:
        read = ReadShard.open(corpus.stage, shard)
        captions = read.table.column("text").to_pylist()
        for row in np.flatnonzero(read.usable):
            texts.setdefault(captions[row], read.features.values[row])
        if len(texts) >= _SCALE_PAIRS:
            break
    chosen = list(texts)[:_SCALE_PAIRS]
    if len(chosen) < _LEAST_SCALE_PAIRS:
        return 1.0
    features = np.stack([texts[text] for text in chosen]).astype(np.float32)
    return fit_scale(encoder.project_images(features), encoder.embed_texts(chosen), seed=seed).scale
