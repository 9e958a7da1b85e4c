"""The gazetteer: finds names of the knowledge base in texts.

A name may begin and end at token boundaries only (tokens as in `knowledge.names`; in scripts without spaces every
letter is a boundary). **Overlaps**: leftmost, then longest — the text is read from the left; at each token the longest
name that passes the filter wins, and reading goes on behind it.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.arrays import NAMES_MARISA, further_files
from openmofi.knowledge.beside import LANGUAGES_FILE, mask_of
from openmofi.knowledge.layout import LINK_PROBABILITY
from openmofi.knowledge.names import fold_token
from openmofi.mentions.patterns import STOP_NAMES
from openmofi.mentions.words import BlockWords, WordReader, mixed, name_words
from openmofi.schema import Mention
from openmofi.storage import atomic_path, cache_folder, fingerprint, locked

# A walk over a trie of ten million names costs microseconds at each word, most of it waiting for memory; numpy asks
# for
# thousands of runs at a time. A bit for each of many more hashes than there are names denies most runs (a Bloom filter
# with one hash function); what is left is looked for among the hashes themselves, sorted, by their first bits. A run
# that
# is no name has the hash of one in less than one of 10¹² cases with ten million names, so no other look-up follows.
#
# Source: B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13 (1970).

LONGEST = 5
"""Words of the longest run that is asked for as a whole; of longer names the first `LONGEST` words are."""
_VERSION = 2
_BLOCK = 8_000
_KEPT = 50_000
_BITS_A_NAME, _NAMES_A_BUCKET = 16, 8
_STEP, _LONGER = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xC2B2AE3D27D4EB4F)

_log = logging.getLogger(__name__)


def runs(hashes: NDArray[np.uint64]) -> Iterable[NDArray[np.uint64]]:
    """Return hashes of the runs of 1 to `LONGEST` words that begin at each of n words, (n − length + 1) each."""
    run = hashes
    for length in range(1, LONGEST + 1):
        yield mixed(run)
        run = run[:-1] * _STEP + hashes[length:]


@dataclass(frozen=True)
class NameFilter:
    """A set of names by their hashes.

    Attributes:
        hashes: (m) uint64, ascending, of names; of longer ones, of the first `LONGEST` words.
        bits: (2^b / 8) uint8: which first b bits a hash has.
        buckets: (2^k + 1) uint32: where the hashes with each first k bits begin.
    """

    bits: NDArray[np.uint8]
    buckets: NDArray[np.uint32]
    hashes: NDArray[np.uint64]

    def names(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Find names in n words: (first word, length) as first · (LONGEST + 1) + LONGEST + 1 − length.

        Sorted by the first word, the longest first; length `LONGEST + 1` says that a longer name may begin there.
        """
        by_length = list(runs(words))
        by_length.append(by_length[-1] * _LONGER)
        run = np.concatenate(by_length)
        position = np.concatenate(
            [np.arange(len(of_length)) * (LONGEST + 1) + LONGEST - number for number, of_length in enumerate(by_length)]
        )
        may_be = np.flatnonzero(self._may_hold(run))
        return np.sort(position[may_be[self._holds(run[may_be])]])

    def _may_hold(self, runs: NDArray[np.uint64]) -> NDArray[np.bool_]:
        bit = _first_bits(runs, len(self.bits) * 8)
        return (self.bits[bit >> 3] >> (bit & 7).astype(np.uint8)) & 1 == 1

    def _holds(self, runs: NDArray[np.uint64]) -> NDArray[np.bool_]:
        held = np.zeros(len(runs), bool)
        bucket = _first_bits(runs, len(self.buckets) - 1)
        position, end = self.buckets[bucket].astype(np.int64), self.buckets[bucket + 1]
        open_rows = np.flatnonzero(position < end)
        while len(open_rows):
            there = self.hashes[position[open_rows]]
            held[open_rows] = there == runs[open_rows]
            position[open_rows] += 1
            open_rows = open_rows[(there < runs[open_rows]) & (position[open_rows] < end[open_rows])]
        return held


def _first_bits(runs: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    return (runs >> np.uint64(64 - (count.bit_length() - 1))).astype(np.int64)


def filter_of(names: Iterable[str]) -> NameFilter:
    """Build the filter of names: 10 to 13 bytes a name, and about a second a million."""
    names, hashed = iter(names), [np.zeros(0, np.uint64)]
    while block := list(islice(names, _BLOCK)):
        words, first, lengths = name_words(block)
        for length, run in enumerate(runs(words), 1):
            hashed.append(run[first[lengths == length]])
        hashed.append(run[first[lengths > LONGEST]] * _LONGER)
    hashes = np.concatenate(hashed)
    hashes.sort()  # numpy's own `unique` would hash them
    hashes = hashes[np.diff(hashes, prepend=hashes[:1] ^ np.uint64(1)) != 0]
    count = max(len(hashes), 1)
    bits = np.zeros(1 << max((count * _BITS_A_NAME).bit_length() - 3, 3), np.uint8)
    bit = _first_bits(hashes, len(bits) * 8)
    np.bitwise_or.at(bits, bit >> 3, np.uint8(1) << (bit & 7).astype(np.uint8))
    size = 2 << (count // _NAMES_A_BUCKET).bit_length()
    buckets = np.searchsorted(_first_bits(hashes, size), np.arange(size + 1)).astype(np.uint32)
    return NameFilter(bits, buckets, hashes)


def open_filter(names: Callable[[], Iterator[str]], count: int, key: str) -> NameFilter:
    """Open the filter of names; a large one is kept in the user's cache (`names/`) and mapped from there.

    Of several processes one makes it. Where the cache cannot be written, each process makes its own.

    Args:
        names: gives them.
        count: how many they are at most.
        key: identifies them; "" where nothing does, which keeps nothing.
    """
    if count >= _KEPT and key:
        with suppress(OpenMofiError, OSError, RuntimeError):  # a RuntimeError where there is no home
            path = cache_folder() / "names" / f"{key}-{_VERSION}.npy"
            if stored := _mapped(path):
                return stored
            with locked(path, lambda: _log.info("another process makes the filter of names; waiting")):
                if stored := _mapped(path):
                    return stored
                _log.info("a filter of %d names is made, once a machine", count)
                made = filter_of(names())
                with atomic_path(path) as temporary, open(temporary, "wb") as handle:
                    np.save(handle, _packed(made))
                return _mapped(path) or made
    return filter_of(names())


def _packed(made: NameFilter) -> NDArray[np.uint64]:
    """Pack a filter into one array: its sizes, bits, buckets and hashes."""
    parts: Sequence[NDArray[np.generic]] = (made.bits, np.resize(made.buckets, len(made.buckets) + 1), made.hashes)
    return np.concatenate(
        [
            np.array([len(made.bits), len(made.buckets), len(made.hashes)], np.uint64),
            *(part.view(np.uint64) for part in parts),
        ]
    )


def _mapped(path: Path) -> NameFilter | None:
    """Map a stored filter; `None` where there is none or it is damaged."""
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


GAZETTEER = "gazetteer"
# So many texts, or characters of them, are read at once.
_TEXTS, _CHARACTERS = 256, 1 << 17
# A syllable of these scripts is seldom a word; a Han letter often is.
_HAN = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class GazetteerSettings:
    """What counts as a mention.

    Attributes:
        min_link_probability: a name that is a mention less often than this in texts is ignored.
        stop_names: keys that are never a mention; parts of longer names are not affected.
        max_name_length: in characters of the key; longer names are not searched, so that a text costs time
            linear in its length.
        languages: codes; names of none of them are ignored. Empty takes all names.
    """

    min_link_probability: float = 0.1
    stop_names: frozenset[str] = STOP_NAMES
    max_name_length: int = 200
    languages: tuple[str, ...] = ()


class GazetteerDetector:
    """Finds names of a knowledge base; case, plurals, hyphens and punctuation do not matter.

    Left out: names on the stop list, names below the least link probability, single letters (but for Han), and names
    without a letter ("1984", "10 000").
    """

    name = GAZETTEER

    def __init__(self, kb: KnowledgeBase, settings: GazetteerSettings | None = None) -> None:
        """Open the names of a base.

        Raises:
            UsageError: the base has no names of one of `settings.languages`, or does not know them.
        """
        self.settings = settings or GazetteerSettings()
        self._names = kb.names
        wanted = self.settings.languages
        self._wanted = mask_of(kb.languages, wanted, kb.path) if wanted else np.uint64(0)
        self._masks = kb.languages.masks if wanted and kb.languages else None
        self._probabilities = kb.link_probabilities
        self._least = float(np.float32(self.settings.min_link_probability))
        self._filter = open_filter(self._accepted, len(kb.names), _filter_key(kb, self.settings))
        self._words = WordReader()

    def _accepted(self) -> Iterator[str]:
        """Yield the names that count as a mention."""
        likely = self._probabilities >= np.float32(self._least)
        if self._masks is not None:
            likely &= (self._masks & self._wanted) != 0
        return (key for key, number in self._names.iteritems() if likely[number] and self._passes(key))

    def _is_accepted(self, key: str) -> bool:
        number = self._names[key]
        return (
            self._probabilities[number] >= self._least
            and self._passes(key)
            and (self._masks is None or bool(self._masks[number] & self._wanted))
        )

    def _passes(self, key: str) -> bool:
        return (
            key not in self.settings.stop_names
            and (len(key) <= self.settings.max_name_length or " " not in key)
            and (len(key) > 1 or _HAN.match(key) is not None)
            and (key[0].isalpha() or any(letter.isalpha() for letter in key))
        )

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """Return each text's mentions, by start; `surface` is the text's own spelling."""
        return [mentions for block in _blocks(texts) for mentions in self._detect(block)]

    def _detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        words = self._words.read(texts)
        spans = np.array(self._spans(words), np.int64).reshape(-1, 2)
        text_of = words.text_of[spans[:, 0]]
        starts, ends = words.starts[spans[:, 0]], words.ends[spans[:, 1]]
        surfaces = [words.text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        offsets = words.text_starts[text_of]
        mentions = list(
            map(Mention, (starts - offsets).tolist(), (ends - offsets).tolist(), surfaces, repeat(GAZETTEER))
        )
        cuts = np.searchsorted(text_of, np.arange(len(texts) + 1)).tolist()
        return [mentions[first:last] for first, last in pairwise(cuts)]

    def _spans(self, words: BlockWords) -> list[tuple[int, int]]:
        """Return (first word, last word) of each mention."""
        first, shorter = np.divmod(self._filter.names(words.hashes), LONGEST + 1)
        last = first + (LONGEST - shorter)
        if words.whole:  # a word of a token of several is none by itself
            begins, ends = words.whole
            begins_and_ends = begins[first] & (ends[last] | (shorter == 0))
            first, last = first[begins_and_ends], last[begins_and_ends]
        spans = []
        free = 0
        for start, end in zip(first.tolist(), last.tolist(), strict=True):
            if start >= free and (end - start < LONGEST or (end := self._longer(words, start))):
                free = end + 1
                spans.append((start, end))
        return spans

    def _longer(self, words: BlockWords, first: int) -> int:
        """Return the last word of the longest name, over `LONGEST` words, that begins with a word; else 0."""
        beyond = min(
            first + self.settings.max_name_length,
            int(np.searchsorted(words.text_of, words.text_of[first], side="right")) - 1,
        )
        tokens = dict.fromkeys(zip(words.starts[first:beyond].tolist(), words.ends[first:beyond].tolist(), strict=True))
        text = " ".join(fold_token(words.text[start:end]) for start, end in tokens) + " "
        for name in reversed(self._names.prefixes(text[: self.settings.max_name_length])):
            last = first + name.count(" ")
            if (
                last >= first + LONGEST
                and text[len(name)] == " "
                and (not words.whole or words.whole[1][last])
                and self._is_accepted(name)
            ):
                return last
        return 0


def _filter_key(kb: KnowledgeBase, settings: GazetteerSettings) -> str:
    """Return a key of the names that count as a mention; "" where the base has no digests."""
    digests = kb.manifest.counts.get("digests", {})
    if NAMES_MARISA not in digests or LINK_PROBABILITY not in digests:
        return ""
    settings_of_filter = [
        digests.get(file, "")
        for file in (NAMES_MARISA, *further_files(kb.manifest.counts), LINK_PROBABILITY, LANGUAGES_FILE)
    ]
    return fingerprint(
        [
            settings_of_filter,
            settings.min_link_probability,
            sorted(settings.stop_names),
            settings.max_name_length,
            sorted(settings.languages),
        ]
    )


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield texts in blocks that are read at once; a text longer than a block is one by itself."""
    start = characters = 0
    for number, text in enumerate(texts):
        if number - start == _TEXTS or characters > _CHARACTERS:
            yield texts[start:number]
            start, characters = number, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]
