"""Linking by commonness alone."""

from __future__ import annotations

from collections.abc import Sequence

from openmofi.knowledge import KnowledgeBase
from openmofi.linking.candidates import CandidateLookup, links_of
from openmofi.linking.link_settings import LinkSettings
from openmofi.schema import Link, Mention


class PriorLinker:
    """P(entity | mention) = commonness × link probability; the rest to 1 is NIL. The text does not matter."""

    name = "prior"

    def __init__(self, kb: KnowledgeBase, settings: LinkSettings | None = None) -> None:
        self.settings = settings or LinkSettings()
        self._lookup = CandidateLookup(kb, self.settings)

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
        return [links_of([(name, None) for name in names]) for names in self._lookup.of_texts(texts, mentions)]
