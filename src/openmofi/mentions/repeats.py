"""Boilerplate that the texts of many images repeat: runs of words, each determined by those beside it.

A word is *fixed* where the two or three words before it, or behind it, are followed (preceded) by it nearly always
(`FIXED`), in the texts of at least `least_images` distinct images. A *run* is a stretch of fixed words, in which single
other words may stand (the slots of a template); with at least `RUN` fixed words it is boilerplate, and so is a mention
all of whose words are fixed in it, one of them from outside the mention. So neither a frequent name ("red apple") is
boilerplate, since what stands around it varies, nor what fills the slot of a template ("a photo of X, free download"),
nor a word that its language gives away ("brushing her teeth"), since such stretches are short.

**Counting** is by 64-bit hashes of n-grams of 2 to 4 words, once an image. A shard's summary is its n-grams with the
number of images; `RepeatMerge` keeps those in enough images: a count-min sketch of a fixed size (Cormode and
Muthukrishnan, J. Algorithms 55, 2005) finds which these may be, a second pass counts them exactly. Copies of an image
in other shards are told by a 64-bit sketch of the images' hashes (linear counting; Whang et al., TODS 15, 1990).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.arrays import Bools, Hashes, Ints
from openmofi.knowledge.names import Memo
from openmofi.schema import NGRAMS
from openmofi.storage import hash64, read_table_blocks

FIXED = 0.9
"""Least share of the occurrences of two or three words that the same word stands beside."""
RUN = 5
"""Fewest fixed words of a run."""
_LEAST_IMAGES = 10
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SKETCH_BITS = (16, 26)
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)
_LENGTHS = (2, 3, 4)


def least_images(rows: int) -> int:
    """Return in how many images' texts an n-gram must stand to be repeated in a corpus of `rows` pairs.

    A third of the root: 30 of 8,000, 330 of a million, 10,500 of a billion. So the share that is asked for falls as
    the corpus grows, and the numbers from which a share of 90 % is read never get small.
    """
    return max(_LEAST_IMAGES, math.ceil(math.sqrt(rows) / 3))


def text_hash(text: str) -> int:
    """Return 64 bits of a text's BLAKE2b, never 0."""
    return hash64(text.encode()) | 1


_HASHES = Memo(lambda word: text_hash("0" if word.isdigit() else word.lower()))


@dataclass(frozen=True)
class WordHashes:
    """The words of many texts, one after another.

    Attributes:
        hashes: (words,) case does not matter, and all numbers are one.
        row: (words,) ascending number of each one's text.
    """

    hashes: Hashes
    row: Ints

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordHashes:
        """Cut texts into words."""
        cut = [_WORD.findall(text) for text in texts]
        hashes = [_HASHES[word] for words in cut for word in words]
        return cls(np.array(hashes, np.uint64), np.repeat(np.arange(len(cut)), [len(words) for words in cut]))

    def ngrams(self, length: int) -> tuple[Hashes, Ints]:
        """Return hashes of the n-grams of `length` words (2, 3 or 4), and the position of each one's first word."""
        count = max(len(self.hashes) - length + 1, 0)
        first = np.flatnonzero(self.row[:count] == self.row[length - 1 :][:count])
        total = np.full(len(first), length, np.uint64)
        for offset in range(length):
            total = (total ^ self.hashes[first + offset]) * _FACTORS[offset]
        return total ^ (total >> np.uint64(31)), first


def summary(texts: Sequence[str], images: Sequence[str]) -> pa.Table:
    """Summarise the n-grams of a shard, or of a block of its rows (`openmofi.schema.NGRAMS`).

    Args:
        texts: of the usable pairs.
        images: hexadecimal digits of each one's image; equal ones count once.
    """
    words = WordHashes.of(texts)
    distinct, image = np.unique(np.array(images, "U16"), return_inverse=True)
    bits = np.array([1 << (int(digits or "0", 16) % 64) for digits in distinct], np.uint64)
    parts = [words.ngrams(length) for length in _LENGTHS]
    ngram = np.concatenate([hashes for hashes, _ in parts])
    image_of = image[words.row[np.concatenate([first for _, first in parts])]] if len(ngram) else np.zeros(0, np.int64)
    order = np.lexsort((image_of, ngram))
    ngram, image_of = ngram[order], image_of[order]
    new = np.ones(len(ngram), bool)
    new[1:] = (ngram[1:] != ngram[:-1]) | (image_of[1:] != image_of[:-1])
    return _summed(ngram[new], np.ones(int(new.sum()), np.int64), bits[image_of[new]])


def _summed(ngram: Hashes, images: Ints, sketch: Hashes) -> pa.Table:
    """Sum up rows to one an n-gram; `ngram` is ascending."""
    starts = np.flatnonzero(np.concatenate([[True], ngram[1:] != ngram[:-1]])) if len(ngram) else np.zeros(0, np.int64)
    columns = (
        ngram[starts],
        np.add.reduceat(images, starts) if len(starts) else images,
        np.bitwise_or.reduceat(sketch, starts) if len(starts) else sketch,
    )
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=NGRAMS)


def ngram_blocks(paths: Sequence[str]) -> Iterator[pa.Table]:
    """Read the n-grams of tables of texts (`openmofi.schema.TEXTS`)."""
    for path in paths:
        for block in read_table_blocks(path, ["ngrams"]):
            yield pa.Table.from_arrays(block["ngrams"].combine_chunks().flatten().flatten(), schema=NGRAMS)


@dataclass(frozen=True)
class RepeatMerge:
    """Merges the shards' summaries to the n-grams that the whole corpus repeats; memory does not grow with it.

    A `openmofi.engine.two_pass.TwoPass`.

    Attributes:
        pairs: usable ones of the corpus.
        ngrams: rows of all summaries.
    """

    pairs: int
    ngrams: int

    @property
    def _bits(self) -> int:
        # A cell holds an eighth of what is asked for, in the mean.
        cells = 8 * max(self.ngrams, 1) / least_images(self.pairs)
        return int(np.clip(math.ceil(math.log2(max(cells, 1))), *_SKETCH_BITS))

    def sketch(self, blocks: Iterable[pa.Table]) -> NDArray[Any]:
        """Return (2, 2^bits) uint32: the images of each cell's n-grams, by two hashes; at most 2^32 - 1."""
        cells = np.zeros((2, 1 << self._bits), np.uint32)
        for table in blocks:
            ngram, images = table["ngram"].to_numpy(), table["images"].to_numpy()
            for number in range(2):
                # A part has fewer than 2^32 n-grams in all; their sum over parts may be more.
                np.add.at(cells[number], _cell(ngram, number, self._bits), images.astype(np.uint32))
        return cells

    def combined(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of two sketches."""
        first += second
        first[first < second] = np.iinfo(np.uint32).max
        return first

    def counted(self, blocks: Iterable[pa.Table], sketch: NDArray[Any]) -> pa.Table:
        """Return the n-grams that may stand with enough images."""
        least, bits = least_images(self.pairs), self._bits
        tables, held = [NGRAMS.empty_table()], 0
        for table in blocks:
            ngram = table["ngram"].to_numpy()
            estimate = np.minimum(*(sketch[number][_cell(ngram, number, bits)] for number in range(2)))
            tables.append(table.filter(pa.array(estimate >= least)))
            held += len(tables[-1])
            if held >= max(_HELD_ROWS, len(tables[0])):
                tables, held = [_joined(tables)], 0
        return _joined(tables)

    def joined(self, parts: Iterable[pa.Table]) -> pa.Table:
        """Return the n-grams that stand with enough images, which are distinct enough."""
        least, joined = least_images(self.pairs), _joined(list(parts))
        distinct = np.bitwise_count(joined["sketch"].to_numpy())
        # Half as many distinct images as there should be are enough, since bits of the sketch meet; at 60 it is full.
        wanted = min(60.0, 64 * (1 - math.exp(-least / 128)))
        return joined.filter(pa.array((joined["images"].to_numpy() >= least) & (distinct >= wanted)))


_HELD_ROWS = 1 << 18
"""Rows that are gathered at least before they are summed."""


def _cell(ngram: Hashes, number: int, bits: int) -> Ints:
    return ((ngram >> np.uint64(32 * number)) & np.uint64((1 << bits) - 1)).astype(np.int64)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    table = pa.concat_tables([NGRAMS.empty_table(), *tables])
    ngram, images, sketch = (table[name].to_numpy() for name in NGRAMS.names)
    order = np.argsort(ngram, kind="stable")
    return _summed(ngram[order], images[order], sketch[order])


@dataclass(frozen=True)
class RepeatedText:
    """The repeated parts of a text.

    Attributes:
        words: (start, end) characters of each word.
        before, behind: of each word of a run, whether the words before it, or behind it, fix it; both false elsewhere.
        template: hash of its fixed words in runs; 0 where there are none.
        pieces: its runs, as they stand in the text from the first to the last word.
    """

    words: Sequence[tuple[int, int]]
    before: Bools
    behind: Bools
    template: int
    pieces: tuple[str, ...]

    def holds(self, start: int, end: int) -> bool:
        """Whether the characters `start` to `end` are the same in all occurrences of what stands around them."""
        inside = [number for number, (first, last) in enumerate(self.words) if first < end and last > start]
        if not inside:
            return False
        fixed = all(self.before[number] or self.behind[number] for number in inside)
        return bool(fixed and (self.before[inside[0]] or self.behind[inside[-1]]))


@dataclass(frozen=True)
class Repeats:
    """The repeated n-grams of a corpus (`openmofi.schema.NGRAMS`), as `merge` gives them."""

    table: pa.Table

    @cached_property
    def _ngrams(self) -> tuple[Hashes, Ints]:
        return self.table["ngram"].to_numpy(), self.table["images"].to_numpy()

    def _images(self, ngram: Hashes) -> Ints:
        """Return in how many images' texts n-grams stand; 0 for those that are not repeated."""
        ngrams, images = self._ngrams
        if not len(ngrams):
            return np.zeros(len(ngram), np.int64)
        position = np.minimum(np.searchsorted(ngrams, ngram), len(ngrams) - 1)
        return np.where(ngrams[position] == ngram, images[position], 0)

    def of_texts(self, texts: Sequence[str]) -> dict[int, RepeatedText]:
        """Find what is repeated in texts: number of a text → its repeated parts; texts without any are left out."""
        words = WordHashes.of(texts)
        before, behind, together = self._fixed(words)
        run = _runs(before | behind, together, words.row)
        before, behind = before & (run >= 0), behind & (run >= 0)
        starts = np.searchsorted(words.row, np.arange(len(texts) + 1))
        marked = {}
        for row in np.unique(words.row[run >= 0]).tolist():
            part = slice(int(starts[row]), int(starts[row + 1]))
            marked[row] = _repeated(texts[row], words.hashes[part], before[part], behind[part], run[part])
        return marked

    def _fixed(self, words: WordHashes) -> tuple[Bools, Bools, Bools]:
        """(words,) whether the two or three words before fix each one, whether those behind do, and whether it and the
        next one are a repeated bigram.
        """
        before, behind = np.zeros(len(words.hashes), bool), np.zeros(len(words.hashes), bool)
        together, shorter = np.zeros(len(words.hashes), bool), np.zeros(0, np.int64)
        for length in _LENGTHS:
            ngrams, first = words.ngrams(length)
            images = np.zeros(len(words.hashes), np.int64)
            images[first] = self._images(ngrams)
            if length == 2:
                together = images > 0
            else:
                first = first[images[first] > 0]
                before[first + length - 1] |= images[first] >= FIXED * shorter[first]
                behind[first] |= images[first] >= FIXED * shorter[first + 1]
            shorter = images
        return before, behind, together


def _runs(fixed: Bools, together: Bools, row: Ints) -> Ints:
    """Return (words,) the number of the run that each word stands in, slots included; −1 outside.

    A phrase of a run may also stand freely beside one: neighbours that are no repeated bigram are of two runs.
    """
    run = np.full(len(fixed), -1, np.int64)
    position = np.flatnonzero(fixed)
    if not len(position):
        return run
    gap = np.diff(position)
    apart = (gap > 2) | ((gap == 1) & ~together[position[:-1]]) | (np.diff(row[position]) != 0)
    new = np.concatenate([[True], apart])
    starts = np.flatnonzero(new)
    counts = np.diff(np.append(starts, len(position)))
    for start, count in zip(starts[counts >= RUN].tolist(), counts[counts >= RUN].tolist(), strict=True):
        run[position[start] : position[start + count - 1] + 1] = start
    return run


def _repeated(text: str, hashes: Hashes, before: Bools, behind: Bools, run: Ints) -> RepeatedText:
    words = [match.span() for match in _WORD.finditer(text)]
    pieces = []
    for number in np.unique(run[run >= 0]):
        inside = np.flatnonzero(run == number)
        pieces.append(text[words[inside[0]][0] : words[inside[-1]][1]])
    template = hash64(hashes[before | behind].tobytes()) | 1
    return RepeatedText(words, before, behind, template, tuple(pieces))
