"""Entity recognition (visual entity linking): from an image to the entity of a knowledge base that it shows.

Three ways, see `openmofi.plugins.protocols.entity`: `images` (nearest images of a labelled dataset), `text` (names
and descriptions of entities, and reference images where the base has some) and `both`. Entities that have labelled
images in the dataset are `seen`, the others `unseen`; `harmonic_mean` of both accuracies is OVEN's headline (Hu et al.
2023, arXiv 2302.11154).

Data: Your own dataset, or the demo's (make world). Layout: DIR/dataset (openmofi dataset build), DIR/kb (openmofi kb
build), DIR/world with images and truth.parquet; the settings change these paths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import softmax

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.bootstrap import bootstrap_interval
from openmofi.config import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Settings
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import CosineIndex, nearest_rows, own_ranks
from openmofi.evaluation.metrics.zero_shot import entity_embeddings
from openmofi.evaluation.protocol import (
    Answer,
    EvaluationProtocol,
    Failure,
    ImageId,
    Measured,
    Subject,
    data_fingerprint,
)
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages, ImageSource, Load, shard_source
from openmofi.features.notes import noted_read
from openmofi.features.references import References, spaced
from openmofi.features.store import content_digits
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.protocols.labels import entities_of
from openmofi.schema import Pair
from openmofi.storage import expand_shards, fingerprint

# By images: each of the K nearest labelled images gives its entities the weight exp(cosine / T); an entity's share of
# the total weight is its probability (as in `openmofi.evaluation.metrics.ranking`, for images with several labels). By
# texts: softmax of the cosines with the entities' texts, times a logit scale. By both: the weighted mean of the two
# probabilities. An entity without labelled images has probability 0 by images, so results are reported apart for seen
# and unseen entities.
#
# Where all neighbours agree, their entity wins by both unless the text weight exceeds one half: a larger text weight
# helps unseen entities and hurts seen ones. Entities rank by probability, of equal ones the first code first; an entity
# of probability 0 is not ranked.

IMAGES, TEXT, BOTH = "images", "text", "both"
_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class RankedEntities:
    """The outcome of `recognise`, for each way: `IMAGES`, and with texts `TEXT` and `BOTH`.

    Attributes:
        ranks: way → (queries,) rank from 1 of the true entity; 0 where it is not ranked.
        first: way → (queries, few) codes of the first answers, −1 for none, and their probabilities.
    """

    ranks: dict[str, Ints]
    first: dict[str, tuple[Ints, NDArray[np.float64]]]


def recognise(
    queries: Floats,
    true: Ints,
    count: int,
    labelled: Floats,
    codes: Sequence[Sequence[int]],
    texts: Floats | None,
    *,
    k: int,
    temperature: float,
    logit_scale: float,
    text_weight: float,
    few: int = 5,
) -> RankedEntities:
    """Rank the entities for each query.

    Args:
        queries: (q, d) L2-normalised.
        true: (q,) code of each query's entity; −1 for an entity that has no code.
        count: number of entities; codes are smaller.
        labelled: (n, d) the labelled images, L2-normalised.
        codes: (n,) of the entities of each labelled image.
        texts: (count, d) L2-normalised; `None`: by images alone.
        k: neighbours.
        temperature: T.
        logit_scale: multiplies cosines with texts.
        text_weight: of the probability by texts in the mean of both.
        few: number of first answers to return.
    """
    index, block = CosineIndex.of(labelled), max(1, _BLOCK_BYTES // (8 * count))
    ranks: dict[str, list[Ints]] = {}
    first: dict[str, list[tuple[Ints, NDArray[Any]]]] = {}
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        ways = {
            IMAGES: np.concatenate(
                [_shares(scores, codes, count, k, temperature) for _, scores in index.blocks(queries[rows])]
            )
        }
        if texts is not None:
            ways[TEXT] = softmax((queries[rows] @ texts.T).astype(np.float64) * logit_scale, axis=1)
            ways[BOTH] = (1 - text_weight) * ways[IMAGES] + text_weight * ways[TEXT]
        for way, shares in ways.items():
            true_shares = shares[np.arange(len(shares)), true[rows]]
            ranked = (true[rows] >= 0) & (true_shares > 0)
            ranks.setdefault(way, []).append(np.where(ranked, own_ranks(shares, np.maximum(true[rows], 0)), 0))
            nearest, best = nearest_rows(shares, few)
            first.setdefault(way, []).append((np.where(best > 0, nearest, -1), best))
    return RankedEntities(
        {way: np.concatenate(parts) for way, parts in ranks.items()},
        {
            way: (np.concatenate([rows for rows, _ in parts]), np.concatenate([best for _, best in parts]))
            for way, parts in first.items()
        },
    )


def _shares(
    scores: Floats,
    codes: Sequence[Sequence[int]],
    count: int,
    k: int,
    temperature: float,
) -> NDArray[np.float64]:
    """(rows, images) cosines → (rows, count) each entity's share of the total weight."""
    rows, cosines = nearest_rows(scores, k)
    weights = np.exp((cosines - cosines[:, :1]).astype(np.float64) / temperature)
    shares = np.zeros((len(scores), count))
    for row, (neighbours, weight) in enumerate(zip(rows.tolist(), weights, strict=True)):
        of_neighbours = [codes[neighbour] for neighbour in neighbours]
        np.add.at(
            shares[row],
            np.concatenate(of_neighbours).astype(np.int64),
            np.repeat(weight, [len(of_image) for of_image in of_neighbours]),
        )
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


SEEN, UNSEEN = "seen", "unseen"
_SCALE = 100.0
"""CLIP's largest logit scale, for encoders whose own is unknown."""


@dataclass(frozen=True)
class EntitySettings(Settings):
    """Settings of `entity`; paths are relative to the data folder.

    Attributes:
        queries: folders or tar shards of the images to recognise.
        truth: Parquet table of `schema.TRUTH` with the entities of the queries.
        dataset: folder of `openmofi dataset build` with the labelled images.
        kb: folder of `openmofi kb build`, for names, descriptions and reference images.
        candidates: `known`: the entities of the dataset and of the queries; `kb`: all entities of the knowledge base.
        k: number of neighbours.
        temperature: of their weights.
        logit_scale: of texts; 0: the encoder's own, or 100 where it is unknown.
        text_weight: weight of the texts in `both`.
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


def measure(subject: Subject) -> Measured:
    """See the module."""
    settings: EntitySettings = subject.settings
    embedded, queries, entities = _queries(subject, settings)
    labelled, labels = _dataset(subject, subject.data / settings.dataset)
    kb = KnowledgeBase.open(subject.data / settings.kb)
    seen = {entity for of_image in labels for entity in of_image}
    codes = _candidates(kb, seen, set(entities), settings.candidates)
    texts = _texts(subject, kb, list(codes))
    scale = settings.logit_scale or float(subject.encoder.logit_scale or _SCALE)
    recognised = recognise(
        queries.embeddings,
        np.array([codes.get(entity, -1) for entity in entities]),
        len(codes),
        labelled.embeddings,
        [[codes[entity] for entity in of_image] for of_image in labels],
        texts,
        k=settings.k,
        temperature=settings.temperature,
        logit_scale=scale,
        text_weight=settings.text_weight,
    )
    parts = np.array([SEEN if entity in seen else UNSEEN for entity in entities])
    values = {
        f"top{k}_{way}": ((ranks > 0) & (ranks <= k)).astype(np.float64)
        for way, ranks in recognised.ranks.items()
        for k in (1, 5)
    }
    ids, contents = queries.ids, set(labelled.contents)
    return Measured(
        **_metrics(values, parts, entities),
        interval_over="entities",
        items=items_table([f"{source}/{key}" for source, key in ids], entities, values, parts.tolist()),
        counts={
            "queries": len(ids),
            "queries_without_truth": len(embedded.keys) - len(ids),
            "queries_of_unseen_entities": int((parts == UNSEEN).sum()),
            "labelled_images": len(labelled.keys),
            "entities": len(codes),
            "entities_seen": len(seen),
            "entities_not_in_kb": sum(entity not in codes for entity in set(entities)),
            "queries_also_labelled": sum(content in contents for content in queries.contents),
        },
        data_fingerprint=fingerprint(
            [data_fingerprint([queries, labelled], [entities, labels]), kb.fingerprint, settings.candidates]
        ),
        images=[embedded, labelled],
        facts={"texts": texts is not None, "logit_scale": scale},
        failures=_worst(ids, entities, recognised, list(codes), kb, subject.failures),
    )


def _queries(subject: Subject, settings: EntitySettings) -> tuple[EmbeddedImages, EmbeddedImages, list[str]]:
    """All embedded images, those whose entity is known, and (n,) the entities of these."""
    shards = expand_shards([str(subject.data / path) for path in settings.queries])
    images = subject.features.embed(shards)
    path = subject.data / settings.truth
    truth, ids = entities_of(path, (shard.name for shard in shards)), images.ids
    rows = [row for row, image in enumerate(ids) if image in truth]
    if not rows:
        raise OpenMofiError(f"{path} has none of the {len(ids):,} images.", "Give the truth table of these images.")
    with_truth = EmbeddedImages(
        [images.shards[row] for row in rows],
        [images.keys[row] for row in rows],
        images.embeddings[rows],
        images.refused,
        [images.contents[row] for row in rows],
    )
    return images, with_truth, [truth[ids[row]] for row in rows]


def _dataset(subject: Subject, folder: Path) -> tuple[EmbeddedImages, list[list[str]]]:
    """The labelled images of a dataset, and no others of its shards, embedded; and the entities of each."""
    opened, read = Folder.open(folder, "dataset"), noted_read(folder)
    labels: dict[tuple[str, str], list[str]] = {}
    sources = []
    for shard in opened.shards:
        table = opened.read(shard, ["key", "entities"])
        entities = dict(zip(table["key"].to_pylist(), table["entities"].to_pylist(), strict=True))
        source = _only_keys(shard_source(shard, read), set(entities))
        labels |= {(source.name, key): of_image for key, of_image in entities.items()}
        if entities:
            sources.append(source)
    if not sources:
        raise OpenMofiError(f"The dataset {folder} has no images.", "Label more pairs, or keep more classes.")
    images = subject.features.embed(sources)
    return images, [labels[image] for image in images.ids]


def _only_keys(whole: ImageSource, keys: set[str]) -> ImageSource:
    def read() -> Iterator[tuple[str, Load]]:
        yield from ((key, load) for key, load in whole.read() if key in keys)

    # Queries may come from a shard of the same name.
    return ImageSource(f"labelled-{whole.name}", fingerprint([whole.stamp, sorted(keys)]), read)


def _candidates(kb: KnowledgeBase, seen: set[str], queried: set[str], candidates: str) -> dict[str, int]:
    """Entity → code, in the order of the knowledge base.

    Raises:
        OpenMofiError: the knowledge base lacks entities of the dataset.
    """
    names = sorted(seen | queried)
    rows = kb.rows(names)
    missing = next((name for name, row in zip(names, rows.tolist(), strict=True) if row < 0 and name in seen), None)
    if missing is not None:
        raise OpenMofiError(
            f"The knowledge base {kb.path} lacks the entity {missing!r} of the dataset.",
            "Give the knowledge base that the dataset was labelled with.",
        )
    chosen = np.arange(len(kb)) if candidates == "kb" else np.unique(rows[rows >= 0])
    return {entity: code for code, entity in enumerate(kb.ids(chosen))}


def _texts(subject: Subject, kb: KnowledgeBase, ids: list[str]) -> Floats | None:
    """(entities, d) the embeddings of their texts; `None` for encoders of images alone."""
    if subject.features.choice != "joint" or not subject.encoder.has_texts:
        return None
    entities = [kb.entity(row) for row in kb.rows(ids).tolist()]
    texts = entity_embeddings(
        [(entity.name, entity.description or entity.name) for entity in entities], subject.encoder.embed_texts
    )
    return texts if kb.images is None else _with_images(subject, kb.images, ids, texts)


def _with_images(subject: Subject, images: pa.Table, ids: list[str], texts: Floats) -> Floats:
    """The same mixed with the reference images of the entities, see `openmofi.features.references`."""
    codes = pc.fill_null(pc.index_in(images["id"], value_set=pa.array(ids)), -1).to_numpy()
    places = np.flatnonzero(codes >= 0)
    places = places[np.argsort(codes[places], kind="stable")]

    def read() -> Iterator[tuple[str, Load]]:
        for place in places.tolist():
            yield str(place), lambda place=place: Pair(str(place), images["image"][place].as_py(), "")  # type: ignore[misc]

    if len(np.unique(codes[places])) < 2:
        return texts
    stamp = fingerprint([[content_digits(image) for image in images["image"].to_pylist()], places.tolist()])
    embedded = subject.features.embed([ImageSource("references", stamp, read)])
    rows, owners = np.unique(codes[[int(key) for key in embedded.keys]], return_inverse=True)
    chosen = spaced(len(rows))
    fitted = References.fitted(rows, [embedded.embeddings], owners, chosen, texts[rows[chosen]], texts.mean(axis=0))
    return fitted.applied(np.arange(len(ids)), texts)


def _metrics(values: dict[str, Doubles], parts: np.ndarray, entities: list[str]) -> dict[str, Any]:
    """Metrics and intervals of all queries, of seen and of unseen entities; the harmonic mean of these two."""
    groups = np.array(entities)
    metrics, intervals = {}, {}
    for name, hits in values.items():
        for part in ("", SEEN, UNSEEN):
            rows = parts == part if part else np.ones(len(hits), bool)
            if rows.any():
                metric = f"{part}/{name}" if part else name
                metrics[metric] = float(hits[rows].mean())
                intervals[metric] = bootstrap_interval(hits[rows], groups[rows])
        seen, unseen = (metrics.get(f"{part}/{name}") for part in (SEEN, UNSEEN))
        if name.startswith("top1_") and seen is not None and unseen is not None:
            metrics[f"harmonic_mean_{name}"] = 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0
    return {"metrics": metrics, "intervals": intervals}


def _worst(
    ids: list[ImageId], true: list[str], recognised: RankedEntities, entities: list[str], kb: KnowledgeBase, count: int
) -> list[Failure]:
    """The queries whose entity ranks last in the last of the ways; unranked entities come first."""
    way = next(reversed(recognised.ranks))
    ranks = np.where(recognised.ranks[way] > 0, recognised.ranks[way], len(entities) + 1)
    codes, shares = recognised.first[way]
    return [
        Failure(
            ids[row],
            _name(kb, true[row]),
            float(-ranks[row]),
            [
                Answer(None, _name(kb, entities[code]), float(share), entities[code] == true[row])
                for code, share in zip(codes[row].tolist(), shares[row].tolist(), strict=True)
                if code >= 0
            ],
        )
        for row in np.argsort(-ranks, kind="stable")[:count].tolist()
    ]


def _name(kb: KnowledgeBase, entity: str) -> str:
    row = int(kb.rows([entity])[0])
    return kb.entity(row).name if row >= 0 else entity


PROTOCOL = EvaluationProtocol(
    name="entity",
    version=1,
    headline=f"top1_{IMAGES}",
    settings=EntitySettings,
    measure=measure,
    score="rank of its entity, negated",
    by_class=True,
    rule="Images that cannot be read are neither queries nor in the index; queries without truth are left out. A "
    "query whose entity is not among the candidates counts as wrong.",
)
