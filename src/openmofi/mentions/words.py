"""The words of many texts at once, as 64-bit hashes of their keys, without an object of Python for each.

Tokens and keys are those of `openmofi.knowledge.names`. Whatever that module says of a character alone is asked once
and kept in a table; numpy does the rest for all characters of a block. What depends on more than single characters
(plurals, letters that fold into several, apostrophes and combining marks inside a word) is folded by that module, a
token at a time.

The hash of a word is Σ r(cᵢ)·pⁱ modulo 2⁶⁴, mixed, with a random number r(c) for each character (R. M. Karp and
M. O. Rabin, "Efficient randomized pattern-matching algorithms", IBM J. Res. Dev. 31, 1987); so that of any stretch of
a text comes from two prefix sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge.names import ENDINGS, IRREGULAR_WORDS, Memo, fold_token, token_pattern

_T = TypeVar("_T", bound=np.generic)
END = "\n"
"""Between texts, and between names: a word of none."""
_CODES = 0x110000
_BITS = (1 << 64) - 1
_POWER = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# What a character is: unseen; between tokens; a letter that folds into one letter, or not; a letter that is a token,
# likewise; what may stand inside a token or at its end; what may be either.
_UNSEEN, _BETWEEN, _LETTER, _ODD_LETTER, _ALONE, _ODD_ALONE, _INSIDE, _EITHER = range(8)
_PLAIN = np.array([kind in (_BETWEEN, _LETTER, _ALONE) for kind in range(8)])


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finaliser of SplitMix64: each bit of the result depends on all bits."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(_FIRST)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(_SECOND)
    return numbers ^ (numbers >> np.uint64(31))


def _mixed(number: int) -> int:
    number = (number ^ number >> 30) * _FIRST & _BITS
    number = (number ^ number >> 27) * _SECOND & _BITS
    return number ^ number >> 31


def _random(codes: NDArray[np.int64]) -> NDArray[np.uint64]:
    return mixed((codes.astype(np.uint64) + np.uint64(1)) * np.uint64(_POWER))


_LETTER_HASH = Memo(lambda letter: _mixed((ord(letter) + 1) * _POWER & _BITS))


def word_hash(word: str) -> int:
    """Return the hash of a word, the same in every process; 0..2⁶⁴ − 1."""
    total, power = 0, 1
    for letter in word:
        total += _LETTER_HASH[letter] * power
        power = power * _POWER & _BITS
    return _mixed(total & _BITS)


def hashes_of_spans(
    letters: NDArray[np.uint64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.uint64]:
    """Return (n,) hashes of spans of (m,) letters' random numbers."""
    powers, inverses = _powers(1 << max(len(letters).bit_length(), 12))
    sums = np.zeros(len(letters) + 1, np.uint64)
    np.cumsum(letters * powers[: len(letters)], out=sums[1:])
    return mixed((sums[ends] - sums[starts]) * inverses[starts])


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    inverse = pow(_POWER, -1, 1 << 64)
    powers, inverses = np.full(count, _POWER, np.uint64), np.full(count, inverse, np.uint64)
    powers[0] = inverses[0] = 1
    return powers.cumprod(dtype=np.uint64), inverses.cumprod(dtype=np.uint64)


def name_words(names: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Return words of n keys: hashes with `END`'s after each name's words, (n,) first words, (n,) word counts."""
    codes = _codes(END.join(names) + END)
    between = np.flatnonzero((codes == ord(" ")) | (codes == ord(END)))
    last = codes[between] == ord(END)
    hashes = hashes_of_spans(_random(codes), np.concatenate([[0], between[:-1] + 1]), between)
    lengths = np.diff(np.flatnonzero(last), prepend=-1)
    words = np.full(len(hashes) + len(names), word_hash(END), np.uint64)
    words[np.arange(len(hashes)) + np.cumsum(last) - last] = hashes
    return words, np.cumsum(lengths + 1) - lengths - 1, lengths


def _codes(text: str) -> NDArray[np.int64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)


@dataclass(frozen=True)
class BlockWords:
    """The words of a block of texts, with a word `END` behind those of each text.

    Attributes:
        text: the texts, `END` behind each.
        hashes: (n) uint64.
        starts, ends: (n) the word's token in `text`, in characters.
        text_starts: (texts + 1) characters: where each text begins in `text`; last, the length of `text`.
        text_of: (n) the text's number.
        whole: (n) whether the word is a token's first, and (n) whether it is its last; `None` where all are both.
    """

    text: str
    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    text_starts: NDArray[np.int64]
    text_of: NDArray[np.int64]
    whole: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None


class WordReader:
    """Reads words; keeps what it has learned of characters and tokens."""

    def __init__(self) -> None:
        self._kinds = np.zeros(_CODES, np.uint8)
        self._random = np.zeros(_CODES, np.uint64)
        self._latin = np.zeros(_CODES, np.uint8)
        self._keys = Memo(_key_hashes)
        self._endings = np.zeros((27, 27), bool)
        for ending in ENDINGS:
            self._endings[tuple(ord(letter) - ord("a") + 1 for letter in ending)] = True
        self._irregular = np.zeros(1 << 12, bool)
        self._irregular[[word_hash(word) >> 52 for word in IRREGULAR_WORDS]] = True
        self._learn(np.arange(128))

    def read(self, texts: Sequence[str]) -> BlockWords:
        """Read the words of texts."""
        text = END.join((*texts, ""))
        codes = _codes(text)
        kinds = self._kinds[codes]
        if not kinds.all():
            self._learn(np.unique(codes[kinds == _UNSEEN]))
            kinds = self._kinds[codes]
        text_starts = np.fromiter(accumulate((len(each) + 1 for each in texts), initial=0), np.int64, len(texts) + 1)
        starts, ends, odd = self._tokens(texts, text_starts, codes, kinds)
        hashes = hashes_of_spans(self._random[codes], starts, ends)
        lengths = ends - starts
        last, last_but_one = self._latin[codes[ends - 1]], self._latin[codes[ends - 2]]
        odd |= (lengths > 3) & (self._endings[last_but_one, last] | self._irregular[hashes >> np.uint64(52)])
        numbers = np.flatnonzero(odd)
        keys = [
            self._keys[text[start:end]]
            for start, end in zip(starts[numbers].tolist(), ends[numbers].tolist(), strict=True)
        ]
        hashes[numbers] = np.array([key[0] for key in keys], np.uint64)
        whole = None
        if several := [(number, key) for number, key in zip(numbers.tolist(), keys, strict=True) if len(key) > 1]:
            hashes, starts, ends, whole = _spread(several, hashes, starts, ends)
        return _with_ends(text, hashes, starts, ends, text_starts, whole)

    def _tokens(
        self, texts: Sequence[str], text_starts: NDArray[np.int64], codes: NDArray[np.int64], kinds: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return starts and ends of the tokens, and which of them must be folded as a whole."""
        letter = (kinds == _LETTER) | (kinds == _ODD_LETTER)
        alone = (kinds == _ALONE) | (kinds == _ODD_ALONE)
        within = letter | alone
        # `END` is the last character, so what is rolled around the end is no letter.
        joined = letter & np.roll(letter, 1)
        starts = np.flatnonzero(within & ~joined)
        ends = np.flatnonzero(within & ~np.roll(joined, -1)) + 1
        odd_places = np.flatnonzero(~_PLAIN[kinds])
        if not len(odd_places):
            return starts, ends, np.zeros(len(starts), bool)
        doubtful = odd_places[(kinds[odd_places] == _EITHER) | (kinds[odd_places] == _INSIDE) & within[odd_places - 1]]
        if len(doubtful):
            numbers = np.unique(np.searchsorted(text_starts, doubtful, side="right") - 1)
            starts, ends = _matched(texts, text_starts, numbers, starts, ends)
        odd = np.zeros(len(starts) + 1, bool)
        tokens = np.searchsorted(starts, odd_places, side="right") - 1
        odd[tokens[(tokens >= 0) & (odd_places < ends[tokens])] if len(starts) else tokens[:0]] = True
        return starts, ends, odd[:-1]

    def _learn(self, codes: NDArray[np.int64]) -> None:
        """Ask the patterns and the folding about characters."""
        pattern = token_pattern("é").fullmatch
        for code in codes.tolist():
            letter = chr(code)
            alone, behind = bool(pattern(letter)), bool(pattern("a" + letter))
            folded = fold_token(letter) if alone else ""
            plain = (
                len(folded) == 1
                and bool(pattern(folded))
                and bool(pattern("a" + folded)) == behind
                and (not behind or fold_token(f"a{letter}a") == f"a{folded}a")
            )
            if alone and behind:
                kind = _EITHER if pattern("の" + letter) else _LETTER if plain else _ODD_LETTER
            elif alone:
                kind = _ALONE if plain else _ODD_ALONE
            else:
                kind = _INSIDE if behind or pattern(f"a{letter}a") else _BETWEEN
            if plain:
                self._random[code] = _LETTER_HASH[folded]
                self._latin[code] = ord(folded) - ord("a") + 1 if "a" <= folded <= "z" else 0
            self._kinds[code] = kind


def _key_hashes(token: str) -> tuple[int, ...]:
    return tuple(map(word_hash, fold_token(token).split(" ")))


def _matched(
    texts: Sequence[str],
    text_starts: NDArray[np.int64],
    numbers: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return starts and ends of tokens; those of some texts are found anew, by the pattern."""
    unchanged = ~np.isin(np.searchsorted(text_starts, starts, side="right") - 1, numbers)
    spans = [
        np.array([match.span() for match in token_pattern(texts[number]).finditer(texts[number])], np.int64).reshape(
            -1, 2
        )
        + text_starts[number]
        for number in numbers.tolist()
    ]
    matched = np.concatenate(spans)
    starts, ends = np.concatenate([starts[unchanged], matched[:, 0]]), np.concatenate([ends[unchanged], matched[:, 1]])
    order = np.argsort(starts)
    return starts[order], ends[order]


def _spread(
    several: Sequence[tuple[int, tuple[int, ...]]],
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Spread tokens to words, where the keys of some have several ("½" → "1 2")."""
    counts = np.ones(len(hashes), np.int64)
    counts[[number for number, _ in several]] = [len(key) for _, key in several]
    tokens = np.repeat(np.arange(len(hashes)), counts)
    first = np.cumsum(counts) - counts
    spread = hashes[tokens]
    for number, key in several:
        spread[first[number] : first[number] + len(key)] = key
    begins = np.zeros(len(spread), bool)
    begins[first] = True
    return spread, starts[tokens], ends[tokens], (begins, np.roll(begins, -1))


def _with_ends(
    text: str,
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    text_starts: NDArray[np.int64],
    whole: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None,
) -> BlockWords:
    """Return words with `END` behind those of each text."""
    counts = np.diff(np.searchsorted(starts, text_starts)) + 1
    text_of = np.repeat(np.arange(len(counts)), counts)
    is_word = np.ones(len(text_of), bool)
    is_word[np.cumsum(counts) - 1] = False

    def widened(values: NDArray[_T], fill: int) -> NDArray[_T]:
        wide = np.full(len(text_of), fill, values.dtype)
        wide[is_word] = values
        return wide

    return BlockWords(
        text,
        widened(hashes, word_hash(END)),
        widened(starts, 0),
        widened(ends, 0),
        text_starts,
        text_of,
        whole and (widened(whole[0], True), widened(whole[1], True)),
    )
