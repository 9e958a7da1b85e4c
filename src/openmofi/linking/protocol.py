"""The interface of linkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openmofi.schema import Link, Mention


class Linker(Protocol):
    """Decides which entity a mention means, from the text alone."""

    name: str

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """For each text the candidates of all its mentions, by mention and then by descending score.

        A mention whose name is not in the knowledge base has no link. The scores of a mention's candidates
        sum to at most 1; the rest to 1 is the probability of NIL (none of them).
        """
