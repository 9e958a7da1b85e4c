"""How often names stand in texts at all."""

from __future__ import annotations

from itertools import islice

import marisa_trie
import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge.names import Memo, piece_pattern

LONGEST = 120
"""Characters of a name; longer ones are not looked for."""
Found = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(n) ids of names in their trie, (n) how often each was counted."""


def words(name: str) -> int:
    """How many words a name has; what is written without spaces is one."""
    return len("".join(letter if letter.isalnum() else " " for letter in name).split())


class Occurrences:
    """Counts the names of one language in texts, as they are spelt, also those that overlap or stand in longer ones.

    A name begins and ends where a word, a letter of a script without spaces, or a sign does.

    Args:
        names: as texts spell them, single spaces between words; no two alike.
    """

    def __init__(self, names: marisa_trie.Trie) -> None:
        self._trie = names
        self._held: dict[str, int] = {}
        self._roles = Memo(self._role_of)

    def _role_of(self, piece: str) -> int:
        """0: no name begins so; 1: it is a name, and begins no other; 2: it begins others."""
        names = [*islice(self._trie.iterkeys(piece), 2)]
        return 1 if names == [piece] else 2 if names else 0

    def add(self, text: str) -> None:
        """Count the names in a text."""
        spans = [match.span() for match in piece_pattern().finditer(text)]
        ends = {end for _, end in spans}
        roles, prefixes, held = self._roles, self._trie.prefixes, self._held
        for start, end in spans:
            piece = text[start:end]
            if not (role := roles[piece]):
                continue
            for name in prefixes(text[start : start + LONGEST]) if role == 2 else (piece,):
                if start + len(name) in ends:
                    held[name] = held.get(name, 0) + 1

    def taken(self) -> Found:
        """What was counted since the last call."""
        found = (
            np.fromiter((self._trie[name] for name in self._held), np.int64, len(self._held)),
            np.fromiter(self._held.values(), np.int64, len(self._held)),
        )
        self._held.clear()
        return found
