"""A light adapter over an encoder, or projection heads over frozen backbones, fitted on the job's own links.

Two objectives over the same pages, neither of which sees a truth: `partial_labels` (MIL-NCE: what a caption names is a
bag, its image shows some of it) and `alt_text` (plain contrastive on the captions, as in the paper).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from heapq import heapreplace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from msgspec import Meta
from numpy.typing import NDArray

from openmofi.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ProperFraction, Settings
from openmofi.encoders import Array, ClassVectors, Encoder, Folds, Head, open_encoder, save_heads
from openmofi.encoders.companions import FITTED, FOLDS_FILE
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.decide import ADAPTER, other_texts
from openmofi.labeling.label_job import LabelJob
from openmofi.labeling.tables import LinkArrays, ReadShard, Tables, judged_rows, rank_in_run, starts_of
from openmofi.storage import Shard, exists
from openmofi.storage.folders import written_folder

_BAG = 24


@dataclass(frozen=True)
class Bags:
    """Usable pairs of many shards.

    Attributes:
        features: (n, feature_dim) float16, image backbone features.
        bag: (n, k) int64 rows of an `EntityFeatures`, padded with −1.
        weight: (n, k) float32 link scores, 0 where padded.
        texts: n captions.
        keys: n keys of the pairs.
        shards: n fingerprints of the pairs' shards.
        groups: (n,) uint64, see `openmofi.labeling.groups`.
    """

    features: NDArray[np.float16]
    bag: NDArray[np.int64]
    weight: NDArray[np.float32]
    texts: list[str]
    keys: list[str]
    shards: list[str]
    groups: NDArray[np.uint64]

    def fitted(self, fold: NDArray[np.int64]) -> pa.Table:
        """What is written down of them (`FITTED`); `fold` (n,) is the fold of each."""
        return pa.Table.from_arrays(
            [pa.array(self.shards).dictionary_encode(), pa.array(self.keys, pa.string()), pa.array(fold, pa.int8())],
            schema=FITTED,
        )

    def __len__(self) -> int:
        return len(self.features)


def collect_bags(tables: Tables, shards: Sequence[Shard], entities: EntityFeatures, max_pairs: int) -> Bags:
    """Read back the links and features of `shards`, as many pairs as `max_pairs`, shard by shard in order.

    Pairs whose text names nothing keep an empty bag: an objective on whole captions uses them all the same.
    """
    parts: list[Bags] = []
    total = 0
    for read in (block for shard in shards for block in ReadShard.blocks(tables, shard)):
        rows = np.flatnonzero(read.usable)[: max_pairs - total]
        bag, weight = _padded(read.links, entities, len(read.table))
        texts, keys = (read.table.column(name).take(pa.array(rows)).to_pylist() for name in ("text", "key"))
        parts.append(
            Bags(
                read.features.values[rows].astype(np.float16),
                bag[rows],
                weight[rows],
                texts,
                keys,
                [read.shard.fingerprint] * len(rows),
                read.groups[rows],
            )
        )
        total += len(rows)
        if total >= max_pairs:
            break
    arrays = ([getattr(part, name) for part in parts] for name in ("features", "bag", "weight", "groups"))
    features, bags, weights, groups = map(np.concatenate, arrays)
    texts, keys, fingerprints = (
        list(chain.from_iterable(getattr(part, name) for part in parts)) for name in ("texts", "keys", "shards")
    )
    return Bags(features, bags, weights, texts, keys, fingerprints, groups)


def balanced_folds(groups: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """(n,) the fold, 0 … `count` − 1, of pairs with the group numbers `groups` (n,).

    All of a group fall into one fold: the largest group first, each into the fold that holds the fewest pairs by then.
    """
    _, of_group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    fold = np.empty(len(sizes), np.int64)
    held = [(0, number) for number in range(count)]
    for group in np.argsort(-sizes, kind="stable"):
        pairs, fold[group] = held[0]
        heapreplace(held, (pairs + int(sizes[group]), int(fold[group])))
    return fold[of_group]


def _padded(links: LinkArrays, entities: EntityFeatures, pairs: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    bag = np.full((pairs, _BAG), -1, np.int64)
    weight = np.zeros((pairs, _BAG), np.float32)
    index = np.flatnonzero(links.judged)
    # The strongest links of a pair come first, so that a bag that overflows loses its weakest.
    order = index[np.lexsort((index, -links.link_score[index], links.pair[index]))]
    pair = links.pair[order]
    slot = rank_in_run(starts_of(pair))
    keep = slot < _BAG
    bag[pair[keep], slot[keep]] = judged_rows(links, entities)[links.entity[order[keep]]]
    weight[pair[keep], slot[keep]] = links.link_score[order[keep]]
    return bag, weight


@dataclass(frozen=True)
class HeadSettings(Settings):
    """How heads are fitted.

    Attributes:
        objective: `partial_labels` or `alt_text`.
        dim: of the joint space (an adapter keeps its base's).
        batch_size, epochs, learning_rate, weight_decay: of AdamW with a one-cycle schedule.
        feature_dropout: share of the image features that are zeroed in a training step; what keeps the heads from
            learning single pages by heart.
        stay: of an adapter: weight of the mean 1 − cosine of image embeddings to those of its base. 10 has the least
            loss on held-out groups, summed over the sample world's pages and Openclipart's (of 0, 10, 30).
        classes: entities in a step's softmax besides the batch's own.
        class_vectors: learn a vector of each entity beyond its text (`partial_labels` only).
        folds: cross-fitted copies, see `openmofi.labeling.calibrate.evidence`; 0 for none.
        scale: the initial logit scale; learned, at most 100.
        max_pairs: at most so many pairs are used.
        seed: of initialisation, batches, dropout and sampled classes.
    """

    objective: Literal["partial_labels", "alt_text"] = "partial_labels"
    dim: PositiveInt = 512
    batch_size: PositiveInt = 512
    epochs: NonNegativeInt = 5
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.5
    feature_dropout: ProperFraction = 0.5
    stay: NonNegativeFloat = 10.0
    classes: NonNegativeInt = 2048
    class_vectors: bool = True
    folds: Annotated[int, Meta(ge=0, le=100)] = 4
    scale: PositiveFloat = 30.0
    max_pairs: PositiveInt = 1_000_000
    seed: NonNegativeInt = 0


ADAPTER_SETTINGS = HeadSettings(learning_rate=5e-4)


@dataclass(frozen=True)
class Inputs:
    """What heads are fitted on.

    Attributes:
        images: (n, features) float16 or float32, from what the heads start.
        texts: (entities, features) float32, of the entities' texts.
        captions: (n, features) float32 of the captions; `None` for partial labels.
        bags: gives the bags, weights and folds.
        image_head, text_head: before training.
        adapter: whether the heads' output is added to their input.
    """

    images: NDArray[np.floating[Any]]
    texts: Array
    captions: Array | None
    bags: Bags
    image_head: Head
    text_head: Head
    adapter: bool


def adapt(job: LabelJob) -> None:
    """Fit a light adapter over the encoder on the job's own links, where one is asked for; fitted once, then opened.

    Where the pairs do not allow one, the job says so and goes on without.
    """
    if job.known and (note := other_texts(job.known.calibration, job.settings)):
        job.running.progress.say(note)
    if not job.settings.adapt or not len(job.entities):
        return
    folder, progress = f"{job.out}/{ADAPTER}", job.running.progress
    if not exists(f"{folder}/{FOLDS_FILE}"):
        bags = collect_bags(job.tables, job.shards, job.entities, ADAPTER_SETTINGS.max_pairs)
        try:
            with written_folder(folder, FOLDS_FILE) as local:
                losses = fit_heads(
                    job.encoder, bags, job.entities, ADAPTER_SETTINGS, local, adapter=True, progress=progress
                )
        except OpenMofiError as error:
            progress.say(f"The job goes on without an adapter: {error.message}")
            return
        progress.say(f"adapter: loss {losses['first_loss']:.3f} → {losses['loss']:.3f} on {len(bags):,} pairs")
    job.adapted = open_encoder(f"run:{folder}", bases=[job.encoder])


def fit_heads(
    encoder: Encoder,
    bags: Bags,
    entities: EntityFeatures,
    settings: HeadSettings,
    folder: str | Path,
    *,
    adapter: bool,
    progress: Progress,
) -> dict[str, float]:
    """Train heads over `encoder` and write them as a `run:` encoder, with its folds, to `folder`.

    With `adapter` the heads start as a change of nothing over the encoder's own joint space.

    Args:
        encoder: the frozen base.
        bags: the pages.
        entities: the entities that the bags name.
        settings: see `HeadSettings`.
        folder: gets the encoder, `classes.parquet`, `folds/`, `folds.parquet`, `folds.json`.
        adapter: see above.
        progress: receives every epoch.

    Returns:
        Mean `loss` of the last epoch and `first_loss` of the first, of the heads fitted on all pages.

    Raises:
        OpenMofiError: too few pairs with a link, or all but one of one group.
    """
    from openmofi.labeling.adapt_loop import train

    linked = (bags.bag >= 0).any(axis=1)
    if linked.sum() < max(2, settings.folds):
        raise OpenMofiError(f"Only {linked.sum()} usable pairs have a link: nothing can be fitted.", "Give more pairs.")
    inputs = _inputs(encoder, bags, entities, settings, adapter)
    rows = np.flatnonzero(linked) if inputs.captions is None else np.arange(len(bags))
    fold = balanced_folds(bags.groups, settings.folds) if settings.folds else np.zeros(len(bags), np.int64)
    if settings.folds and len(rows) - np.bincount(fold[rows]).max() < 2:
        raise OpenMofiError(
            f"The {len(rows)} pairs to fit on share a template or the image: heads that were fitted "
            "on some of them cannot judge the others.",
            "Give pairs of more sources, or do not adapt.",
        )
    progress.begin("heads", settings.epochs * (settings.folds + 1))
    results = {}
    for part in range(-1, settings.folds):
        path = Path(folder) if part < 0 else Path(folder) / "folds" / str(part)
        chosen = rows if part < 0 else rows[fold[rows] != part]
        trained = train(inputs, chosen, settings, settings.seed + part + 1, progress)
        if trained.classes is not None:
            ClassVectors(entities.ids, trained.classes).save(path)
        save_heads(
            path,
            base=encoder,
            image_head=trained.image,
            text_head=trained.text,
            logit_scale=trained.scale,
            settings=asdict(settings),
            adapter=adapter,
        )
        if part < 0:
            results = {"loss": trained.loss, "first_loss": trained.first_loss}
    if settings.folds:
        Folds(settings.folds, bags.fitted(fold)).save(folder)
    return results


def _inputs(encoder: Encoder, bags: Bags, entities: EntityFeatures, settings: HeadSettings, adapter: bool) -> Inputs:
    captions = encoder.text_features(bags.texts) if settings.objective == "alt_text" else None
    if adapter:
        captions = None if captions is None else encoder.project_texts(captions)
        images = encoder.project_images(bags.features.astype(np.float32))
        texts = encoder.project_texts(entities.features)
        dim = images.shape[1]
        heads = [Head.initial(dim, dim, seed=settings.seed + side, zero=True) for side in (0, 1)]
        return Inputs(images, texts, captions, bags, heads[0], heads[1], adapter)
    sample = bags.features[:: max(1, len(bags) // 50_000)].astype(np.float32)
    image_head = Head.initial(
        sample.shape[1],
        settings.dim,
        seed=settings.seed,
        mean=sample.mean(axis=0),
        std=sample.std(axis=0) + np.float32(1e-3),
    )
    text_head = Head.initial(entities.features.shape[1], settings.dim, seed=settings.seed + 1)
    return Inputs(bags.features, entities.features, captions, bags, image_head, text_head, adapter)
