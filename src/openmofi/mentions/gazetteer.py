"""The gazetteer: names of the knowledge base, found in texts by a walk over its trie.

A name may begin and end at token boundaries only (tokens as in `knowledge.names`; in scripts without spaces every
letter is a boundary). **Overlaps**: leftmost, then longest — the text is read from the left; at each token the longest
name that passes the filter wins, and reading goes on behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.names import Memo, fold_token, token_pattern
from openmofi.mentions.stopwords import STOP_NAMES
from openmofi.schema import Mention

GAZETTEER = "gazetteer"
_ALONE, _STARTS = 1, 2
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
        self._probabilities = kb.link_probabilities
        self._tokens = Memo(fold_token)
        self._roles = Memo(self._role)
        self._accepted = Memo(self._accepts)

    def _role(self, key: str) -> int:
        """Bit 1: the key of one token is an acceptable name; bit 2: it begins a longer name."""
        longer = next(self._names.iterkeys(key + " "), None) is not None
        return (_ALONE if self._accepts(key) else 0) | (_STARTS if longer else 0)

    def _accepts(self, key: str) -> bool:
        """Whether a key of the knowledge base passes the filter; false for an unknown key."""
        number = self._names.get(key, -1)
        if number < 0 or key in self.settings.stop_names:
            return False
        if len(key) == 1 and not _HAN.match(key):
            return False
        if not any(letter.isalpha() for letter in key):
            return False
        return bool(self._probabilities[number] >= self.settings.min_link_probability)

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, by start; `surface` is the text's own spelling."""
        return [self._detect(text) for text in texts]

    def _detect(self, text: str) -> list[Mention]:
        tokens = token_pattern(text).findall(text)
        keys = list(map(self._tokens.__getitem__, tokens))
        roles = list(map(self._roles.__getitem__, keys))
        # Most texts without a mention end here, and only texts with one pay for finding its position.
        spans = self._spans(keys, roles) if any(roles) else None
        if not spans:
            return []
        # Between tokens stands nothing that a token begins with, so the next occurrence is the token itself.
        starts, end = [], 0
        for token in tokens[:spans[-1][1] + 1]:
            start = text.find(token, end)
            starts.append(start)
            end = start + len(token)
        mentions = []
        for first, last in spans:
            start, end = starts[first], starts[last] + len(tokens[last])
            mentions.append(Mention(start, end, text[start:end], GAZETTEER))
        return mentions

    def _spans(self, keys: list[str], roles: list[int]) -> list[tuple[int, int]]:
        """(first token, last token) of each mention."""
        # The last space lets a name that ends the text end at a space like any other.
        joined = " ".join(keys) + " "
        spans = []
        free = start = 0
        for first, role in enumerate(roles):
            if role and first >= free:
                more = self._longest(joined, start) if role & _STARTS else ""
                if more:
                    last = _last_token(keys, first, more)
                    spans.append((first, last))
                    free = last + 1
                elif role & _ALONE:
                    spans.append((first, first))
                    free = first + 1
            start += len(keys[first]) + 1
        return spans

    def _longest(self, joined: str, start: int) -> str:
        """The longest acceptable name of at least two tokens that begins at character `start`; `""` if none."""
        names = self._names.prefixes(joined[start:start + self.settings.max_name_length])
        for name in reversed(names):
            if joined[start + len(name)] == " " and " " in name and self._accepted[name]:
                return str(name)
        return ""


def _last_token(keys: list[str], first: int, name: str) -> int:
    """The token in which a name ends that begins with token `first`.

    Mostly that many tokens on as the name has spaces; but the key of one token may itself hold a space ("½" → "1 2").
    """
    last, length = first, len(keys[first])
    while length < len(name):
        last += 1
        length += len(keys[last]) + 1
    return last
