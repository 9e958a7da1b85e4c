"""Groups of pairs that are not independent: they share a template, a source, or the image.

Whether one of them shows what its text names says something of the others. So decoys from the same group are the hard
ones, and what is fitted on a pair must not judge another of its group.

Pairs are in one group when they share a template or an image (equal perceptual hashes, unless these come from nearly
empty images), be it by way of other pairs. A source joins what its pairs are in, the smallest source first, unless the
group would hold more than 5 % of the corpus: sources that copy from each other would otherwise make one group of nearly
all. Where it joins nothing, those of its pairs that share no template and no image are a group by themselves.

`openmofi.labeling.group_merge` finds which keys of a corpus belong together; `groups_of` then numbers the pairs of any
block by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from openmofi.arrays import Hashes, Ints
from openmofi.mentions.repeats import RepeatedText, text_hash

LARGEST = 0.05
"""Share of the pairs. A larger source forms no group: it says no more than that they are of this corpus. And no source
makes a larger group of smaller ones."""
_LEAST_WORDS = 3
_SAYS_LITTLE = 8
_BEHIND_HOST = re.compile(r"[/?#]")
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
        joined: what `openmofi.labeling.group_merge.merge_groups` made of the whole corpus.

    Returns:
        (pairs,) uint64.
    """
    groups = np.array([text_hash(f"{shard}\n{key}") for key in keys], np.uint64)
    number = joined["group"].to_numpy()
    # The source first: what a template or an image says comes before it.
    for position in positions_in(joined["key"].to_numpy(), shared.values):
        groups = np.where(position >= 0, number[position], groups) if len(number) else groups
    return groups


def positions_in(ascending: Hashes, keys: Hashes) -> Ints:
    """Return the position of each key in ascending ones, in the shape of `keys`; −1 where it is not there."""
    # Sorted ones are looked up in the order of mapped pages, and several times as fast.
    distinct, inverse = np.unique(keys, return_inverse=True)
    position = np.searchsorted(ascending, distinct)
    there = position < len(ascending)
    there[there] = ascending[position[there]] == distinct[there]
    return np.where(there, position, -1)[inverse.reshape(keys.shape)]
