"""The linker `fusion:PATH` and the protocols that judge linkers, as entry points name them."""

from pathlib import Path

from openmofi.knowledge import KnowledgeBase
from openmofi.linking import Linker, LinkerKind


def _open(kb: KnowledgeBase, path: str) -> Linker:
    from openmofi.plugins.fusion.linker import FusionLinker

    return FusionLinker(kb, Path(path))


def _fingerprint(path: str) -> str:
    from openmofi.plugins.fusion.store import fusion_fingerprint

    return fusion_fingerprint(path)


LINKER = LinkerKind("PATH", _open, _fingerprint)
PROTOCOLS = {
    "disambiguation": (
        "openmofi.plugins.fusion.disambiguation",
        "which entity a mention means, as ZELDA; accuracy; needs a linker",
    ),
    "linking": (
        "openmofi.plugins.fusion.linking",
        "texts to annotations with a knowledge base, as GERBIL; micro F1; needs a linker",
    ),
}
"""Name → (module, description in one line)."""
