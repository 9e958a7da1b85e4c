"""The linker `reranker:PATH-OR-URL`, as entry points name it."""

from openmofi.knowledge import KnowledgeBase
from openmofi.linking import Linker, LinkerKind


def _open(kb: KnowledgeBase, argument: str) -> Linker:
    from openmofi.plugins.reranker.linker import RerankerLinker, open_reranker

    return RerankerLinker(kb, open_reranker(argument))


def _fingerprint(argument: str) -> str:
    from openmofi.plugins.reranker.linker import reranker_fingerprint

    return reranker_fingerprint(argument)


LINKER = LinkerKind("PATH-OR-URL", _open, _fingerprint)
