"""The job's own links and features as training data: what a caption names is a bag, its image shows some of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import chain
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from msgspec import Meta

from openmofi.arrays import Array, Floats, Halves, Hashes, Ints
from openmofi.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ProperFraction, Settings
from openmofi.encoders import Head
from openmofi.encoders.companions import FITTED
from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.tables import LinkArrays, ReadShard, Tables, judged_rows, rank_in_run, starts_of
from openmofi.storage import Shard

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

    features: Halves
    bag: Ints
    weight: Array
    texts: list[str]
    keys: list[str]
    shards: list[str]
    groups: Hashes

    def fitted(self, fold: Ints) -> pa.Table:
        """Return what is kept of the pairs (`FITTED`); `fold` (n,) is the fold of each."""
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


def balanced_folds(groups: Hashes, count: int) -> Ints:
    """Return (n,) folds, 0 … `count` − 1, of pairs with the group numbers `groups` (n,).

    All of a group fall into one fold: the largest group first, each into the fold that holds the fewest pairs by then.
    """
    _, of_group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    fold = np.empty(len(sizes), np.int64)
    held = [(0, number) for number in range(count)]
    for group in np.argsort(-sizes, kind="stable"):
        pairs, fold[group] = held[0]
        heapreplace(held, (pairs + int(sizes[group]), int(fold[group])))
    return fold[of_group]


def _padded(links: LinkArrays, entities: EntityFeatures, pairs: int) -> tuple[Ints, Array]:
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


@dataclass(frozen=True)
class Inputs:
    """The training data of heads.

    Attributes:
        images: (n, features) float16 or float32, from what the heads start.
        texts: (entities, features) float32, of the entities' texts.
        captions: (n, features) float32 of the captions; `None` for partial labels.
        bags: gives the bags, weights and folds.
        image_head, text_head: before training.
        adapter: whether the heads' output is added to their input.
    """

    images: Floats
    texts: Array
    captions: Array | None
    bags: Bags
    image_head: Head
    text_head: Head
    adapter: bool
