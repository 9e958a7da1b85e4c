"""Linkers by name."""

from __future__ import annotations

from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.linking.coherence import CoherenceLinker
from openmofi.linking.prior import PriorLinker
from openmofi.linking.protocol import Linker

LINKERS = ("prior", "coherence")


def open_linker(name: str, kb: KnowledgeBase) -> Linker:
    """A linker with default settings.

    Raises:
        UsageError: there is no such linker.
    """
    if name == "prior":
        return PriorLinker(kb)
    if name == "coherence":
        return CoherenceLinker(kb)
    raise UsageError(f"There is no linker {name!r}.", f"Choose one of {', '.join(LINKERS)}.")
