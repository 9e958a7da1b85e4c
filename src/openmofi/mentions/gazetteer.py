"""The gazetteer: names of the knowledge base in texts.

A name may begin and end at token boundaries only (tokens as in `knowledge.names`; in scripts without spaces every
letter is a boundary). **Overlaps**: leftmost, then longest — the text is read from the left; at each token the longest
name that passes the filter wins, and reading goes on behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.names import Memo, fold_token, token_pattern
from openmofi.mentions.name_filter import END, LONGEST, open_filter, word_hash
from openmofi.mentions.stopwords import STOP_NAMES
from openmofi.schema import Mention

GAZETTEER = "gazetteer"
# So many texts, or characters of them, are read at once.
_TEXTS, _CHARACTERS = 256, 1 << 17
# A syllable of these scripts is seldom a word; a Han letter often is.
_HAN = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")
# ASCII: letters in lower case, all but letters and digits as a space; "'", "+" and "#" may be part of a token.
_PLAIN = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else 32 for code in range(256))


@dataclass(frozen=True)
class GazetteerSettings:
    """What counts as a mention.

    Attributes:
        min_link_probability: a name that is a mention less often than this in texts is ignored.
        stop_names: keys that are never a mention; parts of longer names are not affected.
        max_name_length: in characters of the key; longer names are not searched, so that a text costs time
            linear in its length.
    """

    min_link_probability: float = 0.1
    stop_names: frozenset[str] = STOP_NAMES
    max_name_length: int = 200


class GazetteerDetector:
    """Finds names of a knowledge base; case, plurals, hyphens and punctuation do not matter.

    Left out: names on the stop list, names below the least link probability, single letters (but for Han), and names
    without a letter ("1984", "10 000").
    """

    name = GAZETTEER

    def __init__(self, kb: KnowledgeBase, settings: GazetteerSettings | None = None) -> None:
        self.settings = settings or GazetteerSettings()
        self._names = kb.names
        # Plain floats of the same float32 values: a numpy scalar costs several times as much.
        self._probabilities = kb.link_probabilities.data
        self._least = float(np.float32(self.settings.min_link_probability))
        self._filter = open_filter(kb)
        self._keys = Memo(_hashed_key)
        self._single = Memo(self._accepts)

    def _accepts(self, key: str) -> bool:
        """Whether a key of the knowledge base passes the filter; false for an unknown key."""
        number = self._names.get(key, -1)
        return (number >= 0 and self._probabilities[number] >= self._least and key not in self.settings.stop_names
                and (len(key) > 1 or _HAN.match(key) is not None)
                and (key[0].isalpha() or any(letter.isalpha() for letter in key)))

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, by start; `surface` is the text's own spelling."""
        return [mentions for block in _blocks(texts) for mentions in self._detect(block)]

    def _detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        read = [_tokens(text) for text in texts]
        spans = self._spans([token for _, tokens in read for token in (*tokens, END)])
        mentions: list[list[Mention]] = []
        offset = number = 0
        for text, (plain, tokens) in zip(texts, read, strict=True):
            beyond, of_text = offset + len(tokens), []
            while number < len(spans) and spans[number][0] < beyond:
                of_text.append((spans[number][0] - offset, spans[number][1] - offset))
                number += 1
            mentions.append(_mentions(text, plain, tokens, of_text) if of_text else [])
            offset = beyond + 1
        return mentions

    def _spans(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """(first token, last token) of each mention in texts with `END` behind each."""
        words, hashes = zip(*map(self._keys.__getitem__, tokens), strict=True)
        token_of: Sequence[int] = range(len(words))
        joined = " ".join(words)
        if joined.count(" ") >= len(words):  # the key of one token may itself hold a space ("½" → "1 2")
            token_of = [token for token, key in enumerate(words) for _ in range(key.count(" ") + 1)]
            words = tuple(joined.split(" "))
            hashes = tuple(map(word_hash, words))
        spans = []
        free = 0
        for place in self._filter.may_be(np.array(hashes, np.int64).view(np.uint64)).tolist():
            first, shorter = divmod(place, LONGEST + 1)
            token = token_of[first]
            if token < free or (first and token_of[first - 1] == token):
                continue
            length = LONGEST + 1 - shorter
            if length == 1:
                # A word of a token of several is none by itself; `END` stands behind the last.
                length = int(self._single[words[first]] and token_of[first + 1] > token)
            elif length <= LONGEST:
                name = " ".join(words[first:first + length])
                searched = len(name) <= self.settings.max_name_length or token_of[first + length - 1] == token
                length = length if searched and self._accepts(name) else 0
            else:
                length = self._longer(words[first:first + self.settings.max_name_length])
            if length:
                free = token_of[first + length - 1] + 1
                spans.append((token, free - 1))
        return spans

    def _longer(self, words: Sequence[str]) -> int:
        """The number of words of the longest acceptable name, if more than `LONGEST`, that they begin with; else 0."""
        text = " ".join(words) + " "
        for name in reversed(self._names.prefixes(text[:self.settings.max_name_length])):
            length: int = name.count(" ") + 1
            if length > LONGEST and text[len(name)] == " " and self._accepts(name):
                return length
        return 0


def _hashed_key(token: str) -> tuple[str, int]:
    key = fold_token(token)
    return key, word_hash(key)


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


def _tokens(text: str) -> tuple[str, list[str]]:
    """The tokens of a text, and the text as they stand in it: mostly in lower case, and blank between them."""
    if text.isascii() and "'" not in text and "+" not in text and "#" not in text:  # faster than the pattern
        plain = text.encode().translate(_PLAIN).decode()
        return plain, plain.split()
    return text, token_pattern(text).findall(text)


def _mentions(text: str, plain: str, tokens: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[Mention]:
    """Mentions of a text by (first token, last token)."""
    # Between tokens stands nothing that a token begins with, so the next occurrence is the token itself.
    starts, end = [], 0
    for token in tokens[:spans[-1][1] + 1]:
        start = plain.find(token, end)
        starts.append(start)
        end = start + len(token)
    mentions = []
    for first, last in spans:
        start, end = starts[first], starts[last] + len(tokens[last])
        mentions.append(Mention(start, end, text[start:end], GAZETTEER))
    return mentions
