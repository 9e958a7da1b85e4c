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
    check_linker(name)
    return PriorLinker(kb) if name == "prior" else CoherenceLinker(kb)


def check_linker(name: str) -> None:
    """Check a linker's name without opening it.

    Raises:
        UsageError: there is no such linker.
    """
    if name not in LINKERS:
        raise UsageError(f"There is no linker {name!r}.", f"Choose one of {', '.join(LINKERS)}.")
