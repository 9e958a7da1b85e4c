"""Which runs of words are names: 64-bit hashes of the names of a knowledge base, asked for many runs at once.

A walk over a trie of ten million names costs microseconds at each word, most of it waiting for memory; numpy asks for
thousands of runs at a time. A bit for each of many more hashes than there are names denies most runs (a Bloom filter
with one hash function); what is left is looked for among the hashes themselves, sorted, by their first bits. A run that
is no name has the hash of one in less than one of 10¹² cases with ten million names, so no other look-up follows.

Source: B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13 (1970).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.mentions.words import mixed, name_words
from openmofi.storage import atomic_path
from openmofi.storage.atomic import locked
from openmofi.storage.copies import cache_folder

LONGEST = 5
"""Words of the longest run that is asked for as a whole; of longer names the first `LONGEST` words are."""
_VERSION = 2
_BLOCK = 8_000
_KEPT = 50_000
_BITS_A_NAME, _NAMES_A_BUCKET = 16, 8
_STEP, _LONGER = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xC2B2AE3D27D4EB4F)

_log = logging.getLogger(__name__)


def runs(hashes: NDArray[np.uint64]) -> Iterable[NDArray[np.uint64]]:
    """Hashes of the runs of 1 to `LONGEST` words that begin at each of n words, (n − length + 1) each."""
    run = hashes
    for length in range(1, LONGEST + 1):
        yield mixed(run)
        run = run[:-1] * _STEP + hashes[length:]


@dataclass(frozen=True)
class NameFilter:
    """Hashes of names.

    Attributes:
        hashes: (m) uint64, ascending, of names; of longer ones, of the first `LONGEST` words.
        bits: (2^b / 8) uint8: which first b bits a hash has.
        buckets: (2^k + 1) uint32: where the hashes with each first k bits begin.
    """

    bits: NDArray[np.uint8]
    buckets: NDArray[np.uint32]
    hashes: NDArray[np.uint64]

    def names(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """What is a name in n words: (first word, length) as first · (LONGEST + 1) + LONGEST + 1 − length.

        Sorted by the first word, the longest first; length `LONGEST + 1` says that a longer name may begin there.
        """
        asked = list(runs(words))
        asked.append(asked[-1] * _LONGER)
        run = np.concatenate(asked)
        place = np.concatenate(
            [np.arange(len(of_length)) * (LONGEST + 1) + LONGEST - number for number, of_length in enumerate(asked)]
        )
        may_be = np.flatnonzero(self._may_hold(run))
        found: NDArray[np.int64] = np.sort(place[may_be[self._holds(run[may_be])]])
        return found

    def _may_hold(self, runs: NDArray[np.uint64]) -> NDArray[np.bool_]:
        places = _first_bits(runs, len(self.bits) * 8)
        return (self.bits[places >> 3] >> (places & 7).astype(np.uint8)) & 1 == 1

    def _holds(self, runs: NDArray[np.uint64]) -> NDArray[np.bool_]:
        held = np.zeros(len(runs), bool)
        bucket = _first_bits(runs, len(self.buckets) - 1)
        place, end = self.buckets[bucket].astype(np.int64), self.buckets[bucket + 1]
        asked = np.flatnonzero(place < end)
        while len(asked):
            there = self.hashes[place[asked]]
            held[asked] = there == runs[asked]
            place[asked] += 1
            asked = asked[(there < runs[asked]) & (place[asked] < end[asked])]
        return held


def _first_bits(runs: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    return (runs >> np.uint64(64 - (count.bit_length() - 1))).astype(np.int64)


def filter_of(names: Iterable[str]) -> NameFilter:
    """The filter of names: 10 to 13 bytes a name, and about a second a million."""
    names, found = iter(names), [np.zeros(0, np.uint64)]
    while block := list(islice(names, _BLOCK)):
        words, first, lengths = name_words(block)
        for length, run in enumerate(runs(words), 1):
            found.append(run[first[lengths == length]])
        found.append(run[first[lengths > LONGEST]] * _LONGER)
    hashes = np.concatenate(found)
    hashes.sort()  # numpy's own `unique` would hash them
    hashes = hashes[np.diff(hashes, prepend=hashes[:1] ^ np.uint64(1)) != 0]
    count = max(len(hashes), 1)
    bits = np.zeros(1 << max((count * _BITS_A_NAME).bit_length() - 3, 3), np.uint8)
    places = _first_bits(hashes, len(bits) * 8)
    np.bitwise_or.at(bits, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))
    size = 2 << (count // _NAMES_A_BUCKET).bit_length()
    buckets = np.searchsorted(_first_bits(hashes, size), np.arange(size + 1)).astype(np.uint32)
    return NameFilter(bits, buckets, hashes)


def open_filter(names: Callable[[], Iterator[str]], count: int, key: str) -> NameFilter:
    """The filter of names; a large one is kept in the user's cache (`names/`) and mapped from there.

    Of several processes one makes it. Where the cache cannot be written, each process makes its own.

    Args:
        names: gives them.
        count: how many they are at most.
        key: identifies them; "" where nothing does, which keeps nothing.
    """
    if count >= _KEPT and key:
        with suppress(OpenMofiError, OSError, RuntimeError):  # a RuntimeError where there is no home
            path = cache_folder() / "names" / f"{key}-{_VERSION}.npy"
            if kept := _mapped(path):
                return kept
            with locked(path, lambda: _log.info("another process makes the filter of names; waiting")):
                if kept := _mapped(path):
                    return kept
                _log.info("a filter of %d names is made, once a machine", count)
                made = filter_of(names())
                with atomic_path(path) as temporary, open(temporary, "wb") as handle:
                    np.save(handle, _packed(made))
                return _mapped(path) or made
    return filter_of(names())


def _packed(made: NameFilter) -> NDArray[np.uint64]:
    """A filter as one array: its sizes, bits, buckets and hashes."""
    parts: Sequence[NDArray[np.generic]] = (made.bits, np.resize(made.buckets, len(made.buckets) + 1), made.hashes)
    return np.concatenate(
        [
            np.array([len(made.bits), len(made.buckets), len(made.hashes)], np.uint64),
            *(part.view(np.uint64) for part in parts),
        ]
    )


def _mapped(path: Path) -> NameFilter | None:
    """A kept filter, or none where there is none or it is damaged."""
    try:
        packed = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        bits, buckets, hashes = map(int, packed[:3])
        ends = np.cumsum([3, bits // 8, (buckets + 1) // 2, hashes])
        if packed.dtype != np.uint64 or packed.shape != (ends[-1],):
            return None
        parts = [packed[start:end] for start, end in pairwise(ends)]
        return NameFilter(parts[0].view(np.uint8), parts[1].view(np.uint32)[:buckets], parts[2])
    except Exception:  # numpy parses a header as Python: what a damaged one raises is of many kinds
        return None
