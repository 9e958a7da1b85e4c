"""Which entity a mention means, from the text alone: candidates, context coherence."""

from openmofi.linking.candidates import PriorLinker
from openmofi.linking.coherence import CoherenceLinker
from openmofi.linking.linkers import LinkerKind, check_linker, linker_fingerprint, linker_forms, open_linker
from openmofi.linking.protocol import CoherenceSettings, Linker, LinkSettings

__all__ = [
    "CoherenceLinker",
    "CoherenceSettings",
    "LinkSettings",
    "Linker",
    "LinkerKind",
    "PriorLinker",
    "check_linker",
    "linker_fingerprint",
    "linker_forms",
    "open_linker",
]
