"""Linkers by name."""

from __future__ import annotations

from pathlib import Path

from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.linking.coherence import CoherenceLinker
from openmofi.linking.prior import PriorLinker
from openmofi.linking.protocol import Linker

LINKERS = ("prior", "coherence", "fusion:PATH")
_FUSION = "fusion:"


def open_linker(name: str, kb: KnowledgeBase) -> Linker:
    """A linker with default settings.

    Raises:
        UsageError: the name is unknown.
        OpenMofiError: its path holds no fusion decoder.
    """
    check_linker(name)
    if name.startswith(_FUSION):
        from openmofi.linking.fusion.linker import FusionLinker

        return FusionLinker(kb, Path(name.removeprefix(_FUSION)))
    return PriorLinker(kb) if name == "prior" else CoherenceLinker(kb)


def check_linker(name: str) -> None:
    """Check a linker's name without opening it.

    Raises:
        UsageError: the name is unknown.
    """
    fusion = name.startswith(_FUSION) and name != _FUSION
    if name not in LINKERS[:2] and not fusion:
        raise UsageError(f"unknown value {name!r} for linker; use {LINKERS[0]}, {LINKERS[1]} or {LINKERS[2]}.")


def linker_fingerprint(name: str) -> str:
    """Identifies a linker by its name, a fusion decoder by its content instead of its path.

    Raises:
        UsageError: the name is unknown.
        OpenMofiError: its path holds no fusion decoder.
    """
    check_linker(name)
    if not name.startswith(_FUSION):
        return name
    from openmofi.linking.fusion.store import fusion_fingerprint

    return _FUSION + fusion_fingerprint(name.removeprefix(_FUSION))
