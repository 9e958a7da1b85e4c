"""The job's own links and features as training data: what a caption names is a bag, its image shows some of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.encoders.companions import FITTED
from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.read.links import LinkArrays, ReadShard, judged_rows, rank_in_run, starts_of
from openmofi.labeling.read.stage import ReadStage
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
        groups: (n,) uint64, see `openmofi.labeling.read.groups`.
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


def collect_bags(stage: ReadStage, shards: Sequence[Shard], entities: EntityFeatures, max_pairs: int) -> Bags:
    """Read back the links and features of `shards`, as many pairs as `max_pairs`, shard by shard in order.

    Pairs whose text names nothing keep an empty bag: an objective on whole captions uses them all the same.
    """
    parts: list[Bags] = []
    total = 0
    for read in (block for shard in shards for block in ReadShard.blocks(stage, shard)):
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
