"""Which runs of words may be names: a Bloom filter over the names of a knowledge base, asked for many runs at once.

A walk over a trie of ten million names costs a microsecond and more at each word, most of it waiting for memory; numpy
asks the filter for thousands of runs at a time. What it says is a name in about one of 200 cases is none, so its
answers are looked up; what it denies is none.

Source: B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13 (1970).
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.names import Memo
from openmofi.knowledge.store import NAMES_MARISA
from openmofi.storage import atomic_path
from openmofi.storage.copies import cache_folder
from openmofi.storage.locks import locked

LONGEST = 5
"""Words of the longest run that is asked for as a whole; of longer names the first `LONGEST` words are."""
END = "\n"
"""Between names, and between texts: a word of none."""
_VERSION = 1
_BLOCK = 100_000
_KEPT = 50_000
_BITS_A_NAME = 24
_STEP, _LONGER, _SECOND = (np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xC2B2AE3D27D4EB4F))

_log = logging.getLogger(__name__)


def word_hash(word: str) -> int:
    """64 bits, the same in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little", signed=True)


def runs(hashes: NDArray[np.uint64]) -> Iterable[NDArray[np.uint64]]:
    """Hashes of the runs of 1 to `LONGEST` words that begin at each of n words, (n − length + 1) each."""
    run = hashes
    for length in range(1, LONGEST + 1):
        yield _mixed(run)
        run = run[:-1] * _STEP + hashes[length:]


def _mixed(run: NDArray[np.uint64]) -> NDArray[np.uint64]:
    run = (run ^ (run >> np.uint64(32))) * _STEP
    return run ^ (run >> np.uint64(29))


@dataclass(frozen=True)
class NameFilter:
    """A Bloom filter.

    Attributes:
        bits: (2^m / 8) uint8.
    """

    bits: NDArray[np.uint8]

    def may_be(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """What may be a name in n words: (first word, length) as first · (LONGEST + 1) + LONGEST + 1 − length.

        Sorted by the first word, the longest first; length `LONGEST + 1` says that a longer name may begin there.
        """
        wanted = np.zeros((len(words), LONGEST + 1), bool)
        for length, run in enumerate(runs(words), 1):
            wanted[:len(run), LONGEST + 1 - length] = self._holds(run)
        wanted[:len(run), 0] = self._holds(run * _LONGER)
        return np.flatnonzero(wanted)

    def _holds(self, run: NDArray[np.uint64]) -> NDArray[np.bool_]:
        held = self._set(_places(run, self.bits))
        some = np.flatnonzero(held)
        held[some] = self._set(_places(run[some] * _SECOND, self.bits))
        return held

    def _set(self, places: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return (self.bits[places >> np.uint64(3)] >> (places & np.uint64(7)).astype(np.uint8)) & 1 == 1


def _places(run: NDArray[np.uint64], bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return run >> np.uint64(64 - (len(bits).bit_length() + 2))


def filter_of(names: Iterable[str], count: int) -> NameFilter:
    """The filter of `count` names, read in blocks: 3 bytes a name or more, about 2 seconds a million."""
    bits = np.zeros(_size(count), np.uint8)
    hashes = Memo(word_hash)
    names = iter(names)
    while block := list(itertools.islice(names, _BLOCK)):
        words = " \n ".join(block).split(" ")
        lengths = np.fromiter((name.count(" ") + 1 for name in block), np.int64, len(block))
        starts = np.cumsum(lengths + 1) - lengths - 1
        numbers = np.array(list(map(hashes.__getitem__, words)), np.int64).view(np.uint64)
        for length, run in enumerate(runs(numbers), 1):
            _add(bits, run[starts[lengths == length]])
        _add(bits, run[starts[lengths > LONGEST]] * _LONGER)
    return NameFilter(bits)


def _add(bits: NDArray[np.uint8], run: NDArray[np.uint64]) -> None:
    for each in (run, run * _SECOND):
        places = _places(each, bits)
        np.bitwise_or.at(bits, places >> np.uint64(3), np.uint8(1) << (places & np.uint64(7)).astype(np.uint8))


def open_filter(kb: KnowledgeBase) -> NameFilter:
    """The filter of a knowledge base; of a large one it is kept in the user's cache (`names/`) and mapped from there.

    It is named by the digest of the names, so that it is never another base's; of several processes one makes it.
    Where the cache cannot be written, each process makes its own.
    """
    digest = kb.manifest.counts.get("digests", {}).get(NAMES_MARISA, "")
    if len(kb.names) >= _KEPT and digest:
        with suppress(OpenMofiError, OSError, RuntimeError):  # a RuntimeError where there is no home
            path = cache_folder() / "names" / f"{digest}-{_VERSION}.npy"
            if kept := _mapped(path, len(kb.names)):
                return kept
            with locked(path, lambda: _log.info("another process makes the filter of names; waiting")):
                if kept := _mapped(path, len(kb.names)):
                    return kept
                _log.info("a filter of the %d names of %s is made, once a machine", len(kb.names), kb.path)
                made = filter_of(kb.names.iterkeys(), len(kb.names))
                with atomic_path(path) as temporary, open(temporary, "wb") as handle:
                    np.save(handle, made.bits)
                return made
    return filter_of(kb.names.iterkeys(), len(kb.names))


def _mapped(path: Path, count: int) -> NameFilter | None:
    """A kept filter; none where there is none, or another than one of `count` names."""
    try:
        bits = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception:  # numpy parses a header as Python: what a damaged one raises is of many kinds
        return None
    return NameFilter(bits) if bits.dtype == np.uint8 and bits.shape == (_size(count),) else None


def _size(count: int) -> int:
    """Bytes of a filter of so many names."""
    return 1 << max((count * _BITS_A_NAME).bit_length() - 3, 3)
