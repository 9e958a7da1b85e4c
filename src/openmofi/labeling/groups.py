"""Groups of pairs that are not independent: they share a template, a source, or the image.

Whether one of them shows what its text names says something of the others. So decoys from the same group are the hard
ones, and what is fitted on a pair must not judge another of its group.

Pairs are in one group when they share a template or an image (equal perceptual hashes, unless these come from nearly
empty images), be it by way of other pairs. A source joins what its pairs are in, the smallest source first, unless the
group would hold more than 5 % of the corpus: sources that copy from each other would otherwise make one group of nearly
all. Where it joins nothing, those of its pairs that share no template and no image are a group by themselves.

`GroupMerge` looks twice at the keys of all pairs and keeps which keys belong together; `groups_of` then numbers the
pairs of any block by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from openmofi.arrays import Hashes, Ints
from openmofi.mentions.repeats import RepeatedText, text_hash
from openmofi.schema import GROUPS

LARGEST = 0.05
"""Share of the pairs. A larger source forms no group: it says no more than that they are of this corpus. And no source
makes a larger group of smaller ones."""
_LEAST_WORDS = 3
_SAYS_LITTLE = 8
_BEHIND_HOST = re.compile(r"[/?#]")
_SKETCH_BITS = (16, 27)
_KINDS = ("source", "template", "image")
_HELD = 1 << 20
"""Columns that are gathered at least before equal ones are made one."""
_SALTS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_FACTOR = np.uint64(0xD6E8FEB86659FD93)


def template_key(text: str, repeated: RepeatedText | None) -> int:
    """Hash what a text shares with others of its template: its repeated words, else all; 0 below 3 words."""
    if repeated:
        return repeated.template
    words = text.lower().split()
    return text_hash(" ".join(words)) if len(words) >= _LEAST_WORDS else 0


def source_key(key: str, url: str) -> int:
    """Hash where a pair comes from; 0 where nothing says it.

    Args:
        key: of the pair; its folder counts where there is no `url`.
        url: `Pair.url`; of an address its host counts, of a path its folder, of a collection's name all of it.
    """
    begin = url.find("://")
    end = _BEHIND_HOST.search(url, begin + 3) if begin >= 0 else None
    source = _host(url[: end.start()] if end else url) or url.rpartition("/")[0] or url or key.rpartition("/")[0]
    return _source_hash(source) if source else 0


_source_hash = lru_cache(maxsize=1 << 14)(text_hash)


@lru_cache(maxsize=1 << 14)
def _host(url: str) -> str:
    """Return the host of an address, without `www.`."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


@dataclass(frozen=True)
class PairKeys:
    """The keys of pairs: what they may share with others.

    Attributes:
        values: (3, pairs) uint64 hashes of source, template and image, 0 for nothing; those of different kinds differ.
    """

    values: Hashes

    @classmethod
    def of(cls, links: pa.Table, features: pa.Table) -> PairKeys:
        """Read the keys of a block of rows (`openmofi.schema.LINKS` and `features_schema`)."""
        phash = features["phash"].fill_null(0).to_numpy()
        bits = np.bitwise_count(phash)
        phash = np.where((bits < _SAYS_LITTLE) | (bits > 64 - _SAYS_LITTLE), np.uint64(0), phash)
        raw = np.stack([links["source"].to_numpy(), links["template"].to_numpy(), phash])
        mixed = (raw ^ _SALTS[:, None]) * _FACTOR
        return cls(np.where(raw > 0, mixed ^ (mixed >> np.uint64(32)), np.uint64(0)))


def groups_of(shard: str, keys: Sequence[str], shared: PairKeys, joined: pa.Table) -> Hashes:
    """Return the groups of some pairs, with the same numbers in every block, shard and process.

    Two pairs of the corpus that `joined` was made of have one number if and only if they are in one group, as the head
    of this module has it. The number of a group is a hash that does not change while the corpus does not; a pair that
    is alone has a number of its own, and none is 0. Only templates and images make groups of more than 5 % of the
    pairs. In another corpus the numbers are others: folds by groups are written down (`openmofi.encoders.Folds`).

    Args:
        shard: name of the pairs' shard.
        keys: (pairs,) their keys; rows of a duplicate key have one number.
        shared: (pairs,) what they may share.
        joined: what `GroupMerge` made of the whole corpus.

    Returns:
        (pairs,) uint64.
    """
    groups = np.array([text_hash(f"{shard}\n{key}") for key in keys], np.uint64)
    shared_keys, number = joined["key"].to_numpy(), joined["group"].to_numpy()
    if not len(shared_keys):
        return groups
    # The source first: what a template or an image says comes before it.
    for of_kind in shared.values:
        position = np.minimum(np.searchsorted(shared_keys, of_kind), len(shared_keys) - 1)
        groups = np.where((shared_keys[position] == of_kind) & (of_kind > 0), number[position], groups)
    return groups


@dataclass(frozen=True)
class GroupMerge:
    """Merges pairs' keys to groups that belong together; an `openmofi.engine.two_pass.TwoPass`.

    Memory grows with the keys that several pairs share; a sketch of a fixed size (16 MiB a bitmap at most) leaves out
    nearly all that one pair alone has.

    Attributes:
        pairs: of the corpus.
    """

    pairs: int

    def sketch(self, blocks: Iterable[PairKeys]) -> NDArray[Any]:
        """Return (2, 2^bits / 8) uint8, a bit a cell (`_cell`): whether one pair, or several, have a key in it."""
        bits = int(np.clip(np.ceil(np.log2(max(self.pairs, 1))) + 4, *_SKETCH_BITS))
        seen, shared = cells = np.zeros((2, (1 << bits) // 8), np.uint8)
        for block in blocks:
            cell, count = np.unique(_cell(block.values[block.values > 0], 1 << bits), return_counts=True)
            byte, first = np.unique(cell >> 3, return_index=True)
            if not len(byte):
                continue
            bit = (128 >> (cell & 7)).astype(np.uint8)
            has, several = (np.bitwise_or.reduceat(bits_of, first) for bits_of in (bit, np.where(count > 1, bit, 0)))
            shared[byte] |= several | (seen[byte] & has)
            seen[byte] |= has
        return cells

    def combined(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """Combine two sketches: several have a key where several of one part have, or one of each."""
        first[1] |= second[1] | (first[0] & second[0])
        first[0] |= second[0]
        return first

    def counted(self, blocks: Iterable[PairKeys], sketch: NDArray[Any]) -> pa.Table:
        """Return pairs' distinct keys, 0 in cells that are not shared, and how many pairs have each."""
        parts, held, shared = [(np.zeros((3, 0), np.uint64), np.zeros(0, np.int64))], 0, sketch[1]
        for block in blocks:
            cell = _cell(block.values, 8 * len(shared))
            keys = np.where(shared[cell >> 3] >> (7 - (cell & 7)) & 1, block.values, np.uint64(0))
            parts.append(_summed([(keys, np.ones(keys.shape[1], np.int64))]))
            held += parts[-1][0].shape[1]
            if held >= max(_HELD, parts[0][0].shape[1]):
                parts, held = [_summed(parts)], 0
        keys, pairs = _summed(parts)
        return pa.table({**dict(zip(_KINDS, keys, strict=True)), "pairs": pairs})

    def joined(self, parts: Iterable[pa.Table]) -> pa.Table:
        """Return the groups: keys of one group have one number (`openmofi.schema.GROUPS`)."""
        return _joined(
            *_summed(
                [(np.stack([part[kind].to_numpy() for kind in _KINDS]), part["pairs"].to_numpy()) for part in parts]
            ),
            LARGEST * self.pairs,
        )


def _joined(keys: Hashes, pairs: Ints, largest: float) -> pa.Table:
    """Return the groups of (3, n) distinct keys that (n,) pairs have; none by a source exceeds `largest`."""
    keys = _joining(keys, pairs, largest)
    # 0, which is no key, is the first node.
    node, number = np.unique(np.concatenate([np.zeros(1, np.uint64), keys.reshape(-1)]), return_inverse=True)
    source, template, image = number[1:].reshape(keys.shape)
    both = (template > 0) & (image > 0)
    graph = coo_array((np.ones(int(both.sum()), bool), (template[both], image[both])), shape=(len(node), len(node)))
    label = connected_components(graph, directed=False)[1].astype(np.int64)
    strong = np.where(template > 0, template, image)
    size = np.bincount(label[np.where(strong > 0, strong, source)], pairs, len(node)).astype(np.int64)
    linked = np.flatnonzero((source > 0) & (strong > 0))
    order = linked[np.lexsort((source[linked], np.bincount(source, pairs, len(node))[source[linked]]))]
    root = _joined_by_sources(source[order], label[strong[order]], label, size, largest)[label]
    # The least key of a group is its number.
    _, first, group = np.unique(root[1:], return_index=True, return_inverse=True)
    return pa.Table.from_arrays([pa.array(node[1:]), pa.array(node[1:][first][group])], schema=GROUPS)


def _cell(keys: Hashes, cells: int) -> Ints:
    return (keys & np.uint64(cells - 1)).astype(np.int64)


def _summed(parts: Sequence[tuple[Hashes, Ints]]) -> tuple[Hashes, Ints]:
    keys, inverse = np.unique(np.concatenate([keys for keys, _ in parts], axis=1), axis=1, return_inverse=True)
    pairs = np.concatenate([pairs for _, pairs in parts])
    return keys, np.bincount(inverse.reshape(-1), pairs, keys.shape[1]).astype(np.int64)


def _joining(keys: Hashes, pairs: Ints, most: float) -> Hashes:
    """Return `keys` without those of one pair only, and without sources of more than `most` pairs."""
    joining = []
    for kind, of_kind in enumerate(keys):
        _, inverse = np.unique(of_kind, return_inverse=True)
        count = np.bincount(inverse, pairs)[inverse] if len(pairs) else pairs
        joining.append(np.where((count > 1) & ((kind > 0) | (count <= most)), of_kind, np.uint64(0)))
    return np.stack(joining)


def _joined_by_sources(source: Ints, strong: Ints, label: Ints, size: Ints, most: float) -> Ints:
    """Return (labels,) the label that each one is joined to.

    Args:
        source, strong: (links,) node of a source, and label of what a pair of it is in; those of a source together.
        label: (nodes,) labels.
        size: (labels,) pairs in them.
        most: pairs that a joined group may have.
    """
    root = list(range(len(size)))
    held = size.tolist()

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = number = root[root[number]]
        return number

    for of_source, links in groupby(zip(source.tolist(), strong.tolist(), strict=True), itemgetter(0)):
        members = {find(int(label[of_source])), *(find(number) for _, number in links)}
        if (total := sum(held[number] for number in members)) <= most:
            target = min(members)
            for number in members:
                root[number] = target
            held[target] = total
    return np.array([find(number) for number in range(len(root))], np.int64)
