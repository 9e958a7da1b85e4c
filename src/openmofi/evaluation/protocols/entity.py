"""Entity recognition (visual entity linking): from an image to the entity of a knowledge base that it shows.

Three ways, see `openmofi.evaluation.metrics.entities`: `images` (nearest images of a labelled dataset), `text` (name
and description of each entity) and `both`. Entities that have labelled images in the dataset are `seen`, the others
`unseen`; `harmonic_mean` of both accuracies is OVEN's headline (Hu et al. 2023, arXiv 2302.11154).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openmofi.config import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Settings
from openmofi.dataset.audit.truth import read_truth
from openmofi.dataset.tables import Folder
from openmofi.encoders import describe
from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.images import ImageSource, Load, shard_source
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.features import data_fingerprint, require_texts
from openmofi.evaluation.metrics.bootstrap import Doubles, bootstrap_interval
from openmofi.evaluation.metrics.entities import IMAGES, Labelled, Recognised, recognise
from openmofi.evaluation.metrics.ranking import Floats, Ints
from openmofi.evaluation.metrics.zero_shot import class_embeddings
from openmofi.evaluation.protocol import EvaluationProtocol, Failure, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.knowledge import KnowledgeBase
from openmofi.storage import Shard, expand_shards, fingerprint

SEEN, UNSEEN = "seen", "unseen"
TEXTS = ("{name}", "{name}: {description}")
_SCALE = 100.0
"""CLIP's greatest logit scale, for encoders whose own is not known."""


@dataclass(frozen=True)
class EntitySettings(Settings):
    """Settings of `entity`; paths are relative to the data folder.

    Attributes:
        queries: folders or tar shards of the images to recognise.
        truth: the Parquet table of `schema.TRUTH` that says what they show.
        dataset: of `openmofi dataset build`: the labelled images.
        kb: of `openmofi kb build`: names and descriptions.
        candidates: entities to choose from: `known`: those of the dataset and of the queries' truth; `kb`: all of the
            knowledge base.
        k: neighbours.
        temperature: of their weights.
        logit_scale: of texts; 0: the encoder's own, or 100 where it is not known.
        text_weight: share of the texts in `both`.
    """

    queries: tuple[str, ...] = ("world/pages/heldout_pages", "world/retrieval")
    truth: str = "world/truth.parquet"
    dataset: str = "dataset"
    kb: str = "kb"
    candidates: Literal["known", "kb"] = "known"
    k: PositiveInt = 20
    temperature: PositiveFloat = 0.07
    logit_scale: NonNegativeFloat = 0.0
    text_weight: Fraction = 0.5



@dataclass(frozen=True)
class _Asked:
    """Queries whose entity is known: rows of `images`, and the entity of each."""

    images: EmbeddedImages
    rows: Ints
    entities: list[str]


@dataclass(frozen=True)
class _Index:
    """Labelled images and the entities of each."""

    images: EmbeddedImages
    entities: list[list[str]]


def measure(subject: Subject) -> Measured:
    """See this module's head."""
    settings: EntitySettings = subject.settings
    asked = _asked(subject, settings)
    index = _index(subject, subject.data / settings.dataset)
    kb = KnowledgeBase.open(subject.data / settings.kb)
    seen = {entity for some in index.entities for entity in some}
    codes = _candidates(kb, seen, set(asked.entities), settings.candidates)
    labelled = Labelled.of(index.images.embeddings, [[codes[one] for one in some] for some in index.entities])
    texts = _texts(subject, kb, list(codes))
    scale = settings.logit_scale or _known_scale(subject)
    found = recognise(asked.images.embeddings[asked.rows], np.array([codes.get(one, -1) for one in asked.entities]),
                      len(codes), labelled, texts, k=settings.k, temperature=settings.temperature, logit_scale=scale,
                      text_weight=settings.text_weight)
    parts = np.array([SEEN if entity in seen else UNSEEN for entity in asked.entities])
    values = {f"top{k}_{way}": ((ranks > 0) & (ranks <= k)).astype(np.float64)
              for way, ranks in found.ranks.items() for k in (1, 5)}
    contents = set(index.images.contents)
    return Measured(
        **_figures(values, parts, asked.entities), interval_over="entities", items=_items(asked, parts, values),
        counts={"queries": len(asked.rows), "queries_without_truth": len(asked.images.keys) - len(asked.rows),
                "queries_of_unseen_entities": int((parts == UNSEEN).sum()), "labelled_images": len(index.images.keys),
                "entities": len(codes), "entities_seen": len(seen), "entities_not_in_kb": sum(
                    entity not in codes for entity in set(asked.entities)),
                "queries_also_labelled": sum(asked.images.contents[row] in contents for row in asked.rows.tolist())},
        data_fingerprint=fingerprint([
            data_fingerprint([_only(asked.images, asked.rows), index.images], [asked.entities, index.entities]),
            kb.fingerprint, settings.candidates]),
        images=[asked.images, index.images], facts={"texts": texts is not None, "logit_scale": scale},
        failures=_worst(subject, asked, found, list(codes), kb))


def _asked(subject: Subject, settings: EntitySettings) -> _Asked:
    shards = expand_shards([str(subject.data / one) for one in settings.queries])
    images = subject.features.embed(shards)
    place = subject.data / settings.truth
    table = read_truth(place, sorted({shard.name for shard in shards}), None)
    known = {(shard, key): entity for shard, key, entity in
             zip(*(table[name].to_pylist() for name in ("shard", "key", "entity")), strict=True) if entity}
    places = list(zip(images.shards, images.keys, strict=True))
    rows = [row for row, where in enumerate(places) if where in known]
    if not rows:
        raise OpenMofiError(f"{place} knows none of the {len(places):,} images.", "Give their truth table.")
    return _Asked(images, np.array(rows, np.int64), [known[places[row]] for row in rows])


def _index(subject: Subject, folder: Path) -> _Index:
    """Embed the labelled images alone."""
    opened = Folder.open(folder, "dataset")
    labels: dict[tuple[str, str], list[str]] = {}
    sources = []
    for shard in opened.shards:
        table = opened.read(shard, ["key", "entities"])
        of = dict(zip(table["key"].to_pylist(), table["entities"].to_pylist(), strict=True))
        source = _only_keys(shard, set(of))
        labels |= {(source.name, key): entities for key, entities in of.items()}
        if of:
            sources.append(source)
    if not sources:
        raise OpenMofiError(f"The dataset {folder} has no images.", "Label more pairs, or keep more classes.")
    images = subject.features.embed(sources)
    return _Index(images, [labels[place] for place in zip(images.shards, images.keys, strict=True)])


def _only_keys(shard: Shard, keys: set[str]) -> ImageSource:
    whole = shard_source(shard)

    def read() -> Iterator[tuple[str, Load]]:
        yield from ((key, load) for key, load in whole.read() if key in keys)

    # Queries may come from a shard of the same name.
    return ImageSource(f"labelled-{shard.name}", fingerprint([whole.stamp, sorted(keys)]), read)


def _candidates(kb: KnowledgeBase, seen: set[str], asked: set[str], which: str) -> dict[str, int]:
    """Entity → code, in the order of the knowledge base.

    Raises:
        OpenMofiError: the dataset has entities that the knowledge base has not.
    """
    names = sorted(seen | asked)
    rows = kb.rows(names)
    lost = next((name for name, row in zip(names, rows.tolist(), strict=True) if row < 0 and name in seen), None)
    if lost is not None:
        raise OpenMofiError(f"The dataset has the entity {lost!r}, and the knowledge base {kb.path} has not.",
                            "Give the knowledge base that the dataset was labelled with.")
    chosen = np.arange(len(kb)) if which == "kb" else np.unique(rows[rows >= 0])
    return {entity: code for code, entity in enumerate(kb.ids(chosen))}


def _texts(subject: Subject, kb: KnowledgeBase, entities: list[str]) -> Floats | None:
    """(entities, d) the mean of both texts' embeddings, or `None` for encoders of images alone."""
    if subject.features.choice != "joint":
        return None
    try:
        require_texts(subject.encoder, "entity")
    except UsageError:
        return None
    found = [kb.entity(row) for row in kb.rows(entities).tolist()]
    sides = [class_embeddings([text.format(name=one.name, description=one.description or one.name) for one in found],
                              ["{}"], subject.encoder.embed_texts) for text in TEXTS]
    return normalised(np.mean(sides, axis=0, dtype=np.float32))


def _known_scale(subject: Subject) -> float:
    return float(describe(subject.encoder)["logit_scale"] or _SCALE)


def _figures(values: dict[str, Doubles], parts: np.ndarray, entities: list[str]) -> dict[str, Any]:
    """Metrics and intervals: of all queries, of seen and of unseen entities; the harmonic mean of these two."""
    groups = np.array(entities)
    metrics, intervals = {}, {}
    for name, hits in values.items():
        for part in ("", SEEN, UNSEEN):
            rows = np.ones(len(hits), bool) if not part else parts == part
            if rows.any():
                place = f"{part}/{name}" if part else name
                metrics[place] = float(hits[rows].mean())
                intervals[place] = bootstrap_interval(hits[rows], groups[rows])
        both = [metrics.get(f"{part}/{name}") for part in (SEEN, UNSEEN)]
        if name.startswith("top1_") and both[0] is not None and both[1] is not None:
            total = both[0] + both[1]
            metrics[f"harmonic_mean_{name}"] = 2 * both[0] * both[1] / total if total else 0.0
    return {"metrics": metrics, "intervals": intervals}


def _items(asked: _Asked, parts: np.ndarray, values: dict[str, Doubles]) -> Any:
    names = [f"{asked.images.shards[row]}/{asked.images.keys[row]}" for row in asked.rows.tolist()]
    return items_table(names, asked.entities, values, parts.tolist())


def _only(images: EmbeddedImages, rows: Ints) -> EmbeddedImages:
    kept = rows.tolist()
    return EmbeddedImages([images.shards[row] for row in kept], [images.keys[row] for row in kept],
                          images.embeddings[rows], images.refused, [images.contents[row] for row in kept])


def _worst(subject: Subject, asked: _Asked, found: Recognised, entities: list[str],
           kb: KnowledgeBase) -> list[Failure]:
    """Queries whose entity ranks last by the best of the ways, unranked ones first."""
    way = next(reversed(found.ranks))
    ranks = np.where(found.ranks[way] > 0, found.ranks[way], len(entities) + 1)
    codes, shares = found.first[way]
    failures = []
    for row in np.argsort(-ranks, kind="stable")[: subject.failures].tolist():
        place, true = int(asked.rows[row]), asked.entities[row]
        answers = [(entities[code], float(share)) for code, share in
                   zip(codes[row].tolist(), shares[row].tolist(), strict=True) if code >= 0]
        failures.append(Failure(
            (asked.images.shards[place], asked.images.keys[place]), _name(kb, true), float(-ranks[row]),
            [(None, _name(kb, entity), share, entity == true) for entity, share in answers]))
    return failures


def _name(kb: KnowledgeBase, entity: str) -> str:
    row = int(kb.rows([entity])[0])
    return kb.entity(row).name if row >= 0 else entity


PROTOCOL = EvaluationProtocol(
    name="entity", version=1, headline=f"top1_{IMAGES}", settings=EntitySettings, measure=measure,
    score="rank of its entity, negated",
    rule="Images that cannot be read are neither queries nor in the index; queries of unknown truth are left out. A "
         "query whose entity is not among the candidates counts as wrong.",
    data="Your own dataset, or the demo's (make demo). Layout: DIR/dataset (openmofi dataset build), DIR/kb (openmofi "
         "kb build), DIR/world with images and truth.parquet; each may lie elsewhere, see the settings.")
