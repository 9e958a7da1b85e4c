"""The gazetteer: names of the knowledge base in texts.

A name may begin and end at token boundaries only (tokens as in `knowledge.names`; in scripts without spaces every
letter is a boundary). **Overlaps**: leftmost, then longest — the text is read from the left; at each token the longest
name that passes the filter wins, and reading goes on behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np

from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.files.languages import LANGUAGES_FILE, mask_of
from openmofi.knowledge.files.tries import NAMES_MARISA, further_files
from openmofi.knowledge.layout import LINK_PROBABILITY
from openmofi.knowledge.names import fold_token
from openmofi.mentions.name_filter import LONGEST, open_filter
from openmofi.mentions.patterns import STOP_NAMES
from openmofi.mentions.words import WordReader, Words
from openmofi.schema import Mention
from openmofi.storage import fingerprint

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
        """The names that count as a mention."""
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
        """For each text its mentions, by start; `surface` is the text's own spelling."""
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

    def _spans(self, words: Words) -> list[tuple[int, int]]:
        """(first word, last word) of each mention."""
        first, shorter = np.divmod(self._filter.names(words.hashes), LONGEST + 1)
        last = first + (LONGEST - shorter)
        if words.whole:  # a word of a token of several is none by itself
            begins, ends = words.whole
            kept = begins[first] & (ends[last] | (shorter == 0))
            first, last = first[kept], last[kept]
        spans = []
        free = 0
        for start, end in zip(first.tolist(), last.tolist(), strict=True):
            if start >= free and (end - start < LONGEST or (end := self._longer(words, start))):
                free = end + 1
                spans.append((start, end))
        return spans

    def _longer(self, words: Words, first: int) -> int:
        """The last word of the longest name, of more than `LONGEST` words, that begins with a word; else 0."""
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
    """Identifies the names that count as a mention; "" where the base has no digests."""
    digests = kb.manifest.counts.get("digests", {})
    if NAMES_MARISA not in digests or LINK_PROBABILITY not in digests:
        return ""
    own = [
        digests.get(file, "")
        for file in (NAMES_MARISA, *further_files(kb.manifest.counts), LINK_PROBABILITY, LANGUAGES_FILE)
    ]
    return fingerprint(
        [
            own,
            settings.min_link_probability,
            sorted(settings.stop_names),
            settings.max_name_length,
            sorted(settings.languages),
        ]
    )


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts in blocks that are read at once; a longer text than such a block is one."""
    start = characters = 0
    for place, text in enumerate(texts):
        if place - start == _TEXTS or characters > _CHARACTERS:
            yield texts[start:place]
            start, characters = place, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]
