"""Which entity a mention means, from the text alone: candidates, context coherence."""

from openmofi.linking.coherence import CoherenceLinker
from openmofi.linking.link_settings import CoherenceSettings, LinkSettings
from openmofi.linking.linkers import LinkerKind, check_linker, linker_fingerprint, linker_forms, open_linker
from openmofi.linking.prior import PriorLinker
from openmofi.linking.protocol import Linker

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
